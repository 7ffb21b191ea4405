"""A column that is written in the engine's format reads back as it was, and what does not fit is refused."""

import io
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.columns import Columns, Ragged, Words, array_of, cut, joined, lists, take, words_of
from streams.native import decode, encode

WIDTH = {"UInt8": 8, "UInt16": 16, "UInt32": 32, "UInt64": 63}
WORDS = [uuid.UUID(int=number << 70 | number) for number in range(4)]


class Bytes(io.BytesIO):
    """A source as the driver's buffers are: texts have their length before them."""

    def read_strings(self, count: int, /, *, encoding: str) -> list[str]:
        return [self.read(self._varint()).decode(encoding) for _ in range(count)]

    def _varint(self) -> int:
        number, shift = 0, 0
        while True:
            byte = self.read(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number


def again(spec: str, column: Any) -> list[Any]:  # noqa: ANN401 - any column
    content = encode(spec, column)
    assert content is not None
    source = Bytes(content)
    found: list[Any] = decode(spec, len(column), source).tolist()
    assert source.read() == b""
    return found


def numbers(spec: str) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, 2 ** WIDTH[spec] - 1), max_size=20)


@given(st.sampled_from(sorted(WIDTH)).flatmap(lambda spec: st.tuples(st.just(spec), numbers(spec))))
def test_numbers_come_back(case: tuple[str, list[int]]) -> None:
    spec, values = case
    assert again(spec, np.array(values, dtype=np.int64)) == values


@given(st.lists(numbers("UInt16"), max_size=6))
def test_lists_come_back(rows: list[list[int]]) -> None:
    column = Ragged(
        np.array([len(row) for row in rows], dtype=np.int64), np.array([v for r in rows for v in r], np.int64)
    )
    assert again("Array(UInt16)", column) == rows


@given(st.lists(st.text(max_size=200), max_size=12), st.integers(0, 300))
def test_words_come_back_whatever_the_size_of_their_dictionary(texts: list[str], more: int) -> None:
    texts = texts + [f"word {number}" for number in range(more)]
    assert again("LowCardinality(String)", words_of(texts)) == texts


@given(st.lists(st.sampled_from(WORDS), max_size=9))
def test_uuids_come_back(values: list[uuid.UUID]) -> None:
    texts = [str(value) for value in values]
    assert again("UUID", words_of(texts)) == texts


@pytest.mark.parametrize(
    ("spec", "column", "told"),
    [
        ("UInt8", np.array([0, 256]), "256 does not fit UInt8"),
        ("UInt32", np.array([-1, 5]), "-1 does not fit UInt32"),
        ("Array(UInt16)", Ragged(np.array([1]), np.array([1 << 16])), "65536 does not fit UInt16"),
        ("Float64", np.array([1]), "numbers for a column of Float64"),
        ("UInt8", Ragged(np.array([1]), np.array([1])), "lists for a column of UInt8"),
        ("UInt8", Words(("a",), np.array([0])), "words for a column of UInt8"),
        ("UUID", Words(("a",), np.array([0])), "badly formed"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(spec: str, column: Any, told: str) -> None:  # noqa: ANN401 - any column
    with pytest.raises(ValueError, match=told):
        encode(spec, column)


@pytest.mark.parametrize("spec", ["String", "Float64", "Array(String)", "Nullable(UInt8)"])
def test_a_type_that_is_not_read_here_is_told(spec: str) -> None:
    with pytest.raises((ValueError, TypeError), match="not read as an array"):
        decode(spec, 1, Bytes(b"\1" + bytes(20)))


rows = st.lists(
    st.tuples(st.integers(0, 9), st.lists(st.integers(0, 99), max_size=3), st.sampled_from("abc")), min_size=1
)


def columns_of(held: list[tuple[int, list[int], str]]) -> Columns:
    numbers_, ragged, texts = zip(*held, strict=True)
    return {"number": array_of(numbers_), "list": array_of(ragged), "text": array_of(texts)}


def rows_of(columns: Columns) -> list[tuple[int, list[int], str]]:
    return list(zip(*lists(columns).values(), strict=True)) if columns else []


@given(rows, st.data())
def test_columns_are_cut_taken_and_joined_as_their_rows_are(held: list[Any], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(held)))
    some = data.draw(st.lists(st.sampled_from(range(len(held)))))
    block = columns_of(held)
    assert rows_of(block) == held
    assert rows_of(cut(block, at, len(held))) == held[at:]
    assert rows_of(take(block, np.array(some, dtype=np.int64))) == [held[each] for each in some]
    assert rows_of(joined((cut(block, 0, at), {}, cut(block, at, len(held))))) == held
    assert rows_of({name: column[::2] for name, column in block.items()}) == held[::2]


def test_numbers_of_64_bits_stay_whole_when_signed_and_unsigned_meet() -> None:
    large = (1 << 62) + 1
    parts: list[Columns] = [{"n": np.array([large], dtype=np.uint64)}, {"n": np.array([3], dtype=np.int64)}]
    assert lists(joined(parts)) == {"n": [large, 3]}
