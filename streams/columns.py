"""Columns of a block: numbers as arrays, lists as flat values and lengths, words as numbers of a dictionary (pure).

A block of a hundred thousand values is moved, sorted and written as a whole; nothing here works row by row. Every kind
has a length, slices, and `tolist` for people and tests.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.signedinteger[Any]]
_WORD_CODE: Final = np.int32


class Ragged(msgspec.Struct, frozen=True, eq=False):
    """A column of lists of integers, end to end."""

    lengths: Ints  # one a row
    values: Ints  # sum(lengths) of them

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.lengths.size

    @property
    def starts(self) -> Ints:
        """Return where each row begins among the values."""
        return np.cumsum(self.lengths, dtype=np.int64) - self.lengths

    def __getitem__(self, rows: slice) -> "Ragged":
        """Return the rows of a slice; of consecutive ones the values are a view."""
        first, _, step = rows.indices(len(self))
        if step != 1:
            return self.take(np.arange(len(self))[rows])
        lengths = self.lengths[rows]
        start = int(self.lengths[:first].sum())
        return Ragged(lengths, self.values[start : start + int(lengths.sum())])

    def take(self, rows: Ints) -> "Ragged":
        """Return the rows at these positions, in their order."""
        lengths = self.lengths[rows]
        return Ragged(lengths, self.values[positions(self.starts[rows], lengths)])

    def tolist(self) -> list[list[int]]:
        """Return the rows as lists."""
        every, edges = self.values.tolist(), [0, *np.cumsum(self.lengths).tolist()]
        return [every[start:end] for start, end in pairwise(edges)]


class Words(msgspec.Struct, frozen=True, eq=False):
    """A column of few different texts."""

    words: tuple[str, ...]
    codes: Ints  # one a row, each the position of its word

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.codes.size

    def __getitem__(self, rows: slice) -> "Words":
        """Return the rows of a slice; the codes are a view."""
        return Words(self.words, self.codes[rows])

    def take(self, rows: Ints) -> "Words":
        """Return the rows at these positions, in their order."""
        return Words(self.words, self.codes[rows])

    def tolist(self) -> list[str]:
        """Return the rows as texts."""
        return [self.words[code] for code in self.codes.tolist()]


Column = NDArray[Any] | Ragged | Words
Columns = dict[str, Column]  # by name, all of one length
Readable = Mapping[str, Column]  # the same, to be read alone


class Stacked(Mapping[str, Column]):
    """Blocks of the same columns as one, rows in the order given; a column is joined when it is asked for."""

    def __init__(self, parts: Iterable[Readable]) -> None:
        self._parts = [part for part in parts if row_count(part) > 0]

    def __getitem__(self, name: str) -> Column:
        """Return a column of all."""
        return _joined([part[name] for part in self._parts])

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self._parts[0] if self._parts else ())

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self._parts[0]) if self._parts else 0


def positions(starts: Ints, lengths: Ints) -> Ints:
    """Return the positions start, start + 1, ... of each run, one run after the other."""
    ends = np.cumsum(lengths, dtype=np.int64)
    total = int(ends[-1]) if ends.size > 0 else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)


def words_of(values: Sequence[str]) -> Words:
    """Return texts as a column."""
    code = {word: number for number, word in enumerate(dict.fromkeys(values))}
    return Words(tuple(code), np.fromiter((code[value] for value in values), dtype=_WORD_CODE, count=len(values)))


def repeated(word: str, count: int) -> Words:
    """Return one text in every row."""
    return Words((word,), np.zeros(count, dtype=_WORD_CODE))


def ragged_of(rows: Sequence[Sequence[int]]) -> Ragged:
    """Return lists as a column."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return Ragged(lengths, np.fromiter((each for row in rows for each in row), np.int64, count=int(lengths.sum())))


def array_of(values: Sequence[Any]) -> Column:
    """Return texts, lists of integers or numbers as a column; nothing is a column of no number."""
    first = values[0] if len(values) > 0 else 0
    if isinstance(first, str):
        return words_of(values)
    return ragged_of(values) if isinstance(first, list | tuple) else np.array(values, dtype=np.int64)


def row_count(columns: Mapping[str, Any]) -> int:
    """Return the number of rows; 0 where there is no column."""
    return len(next(iter(columns.values()), ()))


def cut(columns: Readable, start: int, end: int) -> Columns:
    """Return the rows from `start` up to `end`, not included."""
    return {name: column[start:end] for name, column in columns.items()}


def take(columns: Readable, rows: Ints) -> Columns:
    """Return the rows at these positions, in their order."""
    return {name: _taken(column, rows) for name, column in columns.items()}


def joined(parts: Iterable[Readable]) -> Columns:
    """Return blocks of the same columns as one, rows in the order given; {} when none has a row."""
    return dict(Stacked(parts))


def row_at(columns: Readable, row: int, *names: str) -> tuple[Any, ...]:
    """Return what a row has in these columns."""
    one = cut(columns, row, row + 1)
    return tuple(one[name].tolist()[0] for name in names)


def lists(columns: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return every column as a list."""
    return {name: column.tolist() for name, column in columns.items()}


def _taken(column: Column, rows: Ints) -> Column:
    return column.take(rows) if isinstance(column, Ragged | Words) else column[rows]


def _joined(parts: Sequence[Any]) -> Column:
    if len(parts) == 1:
        only: Column = parts[0]
        return only
    if isinstance(parts[0], Ragged):
        return Ragged(_end_to_end([part.lengths for part in parts]), _end_to_end([part.values for part in parts]))
    return _joined_words(parts) if isinstance(parts[0], Words) else _end_to_end(parts)


def _end_to_end(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return arrays as one, as narrow as the first where all fit; numpy itself makes floats of signed and unsigned."""
    kind = parts[0].dtype
    if any(part.dtype != kind and not _fits(part, kind) for part in parts):
        return np.concatenate(parts, dtype=np.int64, casting="same_kind")
    return np.concatenate(parts, dtype=kind, casting="unsafe")


def _fits(values: NDArray[Any], kind: np.dtype[Any]) -> bool:
    """Return whether every value is one of an integer type."""
    if kind.kind not in "iu" or values.dtype.kind not in "iub":
        return False
    held = np.iinfo(kind)
    return values.size == 0 or bool(held.min <= values.min() and values.max() <= held.max)


def _joined_words(parts: Sequence[Words]) -> Words:
    code = {word: number for number, word in enumerate(dict.fromkeys(word for part in parts for word in part.words))}
    maps = [np.array([code[word] for word in part.words], dtype=_WORD_CODE) for part in parts]
    codes = [known[part.codes] if part.codes.size > 0 else part.codes for known, part in zip(maps, parts, strict=True)]
    return Words(tuple(code), np.concatenate(codes))
