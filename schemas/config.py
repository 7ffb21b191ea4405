"""TOML text -> a frozen struct, or one error that names the file, the line, the table and the remedy."""

import difflib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import inspect

from schemas.errors import ConfigError

T = TypeVar("T")
Path = tuple[str | int, ...]  # ("node", 3, "lat"): the keys and positions from the root of the file

_AT: Final = re.compile(r"(?P<what>.*) - at `\$(?P<path>.*)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")
_MISSING: Final = re.compile(r"Object missing required field `(?P<key>.+)`")


class UnknownKey(NamedTuple):
    """A key that no field has, and the names that are known in its place."""

    path: Path
    key: str
    known: tuple[str, ...]


def load(text: str, struct_type: type[T], *, source: str) -> T:
    """Parse TOML text into `struct_type`, strictly.

    Args:
        text: the whole file; reading it is the caller's.
        struct_type: a msgspec struct with `forbid_unknown_fields`.
        source: what to call the file in an error.

    Raises:
        ConfigError: not TOML, a key twice, an unknown key (all of them are listed, each with the nearest known
            name), a missing key, a value of the wrong type, a number that is not finite.
    """
    tree = _parse(text, source)
    unknown = list(_unknown_keys(tree, inspect.type_info(struct_type), ()))
    if unknown:
        raise ConfigError("\n".join(_say_unknown(text, tree, each, source) for each in unknown))
    try:
        return msgspec.convert(tree, struct_type, strict=True)
    except msgspec.ValidationError as err:
        raise ConfigError(_say_invalid(text, tree, str(err), source)) from err


def nearest(word: str, known: Sequence[str]) -> str:
    """Return a remedy for an unknown word: the nearest known one, else what is known."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known: {', '.join(sorted(known)[:12])}" if known else "none is known here"


def place(source: str, line: int | None) -> str:
    """Return `file:line`, or the file alone where the line is not known."""
    return source if line is None else f"{source}:{line}"


def lines_of(text: str, pattern: str) -> list[int]:
    """Return the lines, from 1, that match a regular expression."""
    return [number for number, line in enumerate(text.splitlines(), 1) if re.search(pattern, line)]


def table_name(path: Path) -> str:
    """Return a path as people read it: `node[3].lat`; `the top level` for the root."""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return name.lstrip(".") or "the top level"


class _NotFiniteError(Exception):
    """A value that TOML allows and no setting can mean."""


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise _NotFiniteError(written)
    return number


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=_finite)
    except _NotFiniteError as err:
        line = lines_of(text, r"(^|[=\[,\s])[+-]?(nan|inf)\b")
        raise ConfigError(
            f"{place(source, line[0] if line else None)}: {err} is no number; write a finite one"
        ) from err
    except tomllib.TOMLDecodeError as err:
        found = re.search(r"\(at line (\d+)", str(err))
        where = place(source, int(found[1]) if found else None)
        raise ConfigError(f"{where}: not valid TOML: {err}; a key or table may stand once only") from err


def _unknown_keys(value: object, kind: inspect.Type, path: Path) -> Iterator[UnknownKey]:
    match kind:
        case inspect.StructType() if isinstance(value, dict):
            yield from _unknown_in_struct(value, kind, path)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item) if isinstance(value, list):
            for index, each in enumerate(value):
                yield from _unknown_keys(each, item, (*path, index))
        case inspect.DictType(value_type=item) if isinstance(value, dict):
            for key, each in value.items():
                yield from _unknown_keys(each, item, (*path, key))
        case inspect.UnionType(types=types):
            yield from _unknown_keys(value, _chosen(value, types), path)
        case inspect.Metadata(type=inner):
            yield from _unknown_keys(value, inner, path)
        case _:
            return  # a scalar has no keys


def _unknown_in_struct(value: dict[str, Any], kind: inspect.StructType, path: Path) -> Iterator[UnknownKey]:
    fields = {field.encode_name: field.type for field in kind.fields}
    known = (*fields, *((kind.tag_field,) if kind.tag_field is not None else ()))
    for key, each in value.items():
        if key in fields:
            yield from _unknown_keys(each, fields[key], (*path, key))
        elif key not in known and kind.forbid_unknown_fields:
            yield UnknownKey(path, key, known)


def _chosen(value: object, types: Sequence[inspect.Type]) -> inspect.Type:
    """Return the member of a union that this value means: by its tag, else the only one that is not a scalar."""
    structs = [kind for kind in types if isinstance(kind, inspect.StructType)]
    if isinstance(value, dict) and len(structs) > 1:
        tagged = [kind for kind in structs if kind.tag_field and value.get(kind.tag_field) == kind.tag]
        return tagged[0] if tagged else inspect.AnyType()
    wanted: tuple[type[inspect.Type], ...] = (inspect.ListType, inspect.VarTupleType)
    if isinstance(value, dict):
        wanted = (inspect.StructType, inspect.DictType)
    return next((kind for kind in types if isinstance(kind, wanted)), inspect.AnyType())


def _say_unknown(text: str, tree: Mapping[str, Any], unknown: UnknownKey, source: str) -> str:
    where = place(source, _line(text, tree, (*unknown.path, unknown.key)))
    return f"{where}: {table_name(unknown.path)}: unknown key `{unknown.key}`; {nearest(unknown.key, unknown.known)}"


def _say_invalid(text: str, tree: Mapping[str, Any], message: str, source: str) -> str:
    found = _AT.match(message)
    what, path = (found["what"], _steps(found["path"])) if found else (message, ())
    where = place(source, _line(text, tree, path))
    missing = _MISSING.match(what)
    if missing:
        return f"{where}: {table_name(path)}: `{missing['key']}` is missing; write it"
    return f"{where}: {table_name(path)}: {what[:1].lower()}{what[1:]}"


def _steps(path: str) -> Path:
    steps: list[str | int] = []
    for found in _STEP.finditer(path):
        index = found["index"]
        steps.append(found["key"] if index is None else int(index) if index.isdigit() else index)
    return tuple(steps)


def _line(text: str, tree: Mapping[str, Any], path: Path) -> int | None:
    """Return the line a path is written on, or None: tomllib keeps no positions, so it is searched for.

    The key is looked for inside the entry that holds it; a guess that could be wrong is not given.
    """
    lines = text.splitlines()
    first, end = _entry_lines(lines, tree, path)
    key = path[-1] if path and isinstance(path[-1], str) else None
    if key is None:
        return first + 1 if end - first < len(lines) else None
    written = re.compile(rf"""(^|[\s{{,.])["']?{re.escape(key)}["']?\s*=""")
    hits = [number for number in range(first, end) if written.search(lines[number])]
    return hits[0] + 1 if len(hits) == 1 or (hits and (first, end) != (0, len(lines))) else None


def _entry_lines(lines: list[str], tree: Mapping[str, Any], path: Path) -> tuple[int, int]:
    """Return the half-open range of lines of the table or array entry on the way to a path; else of all lines."""
    whole = (0, len(lines))
    if not path or not isinstance(path[0], str):
        return whole
    index = path[1] if len(path) > 1 and isinstance(path[1], int) else None
    header = re.compile(rf"^\s*\[{{1,2}}\s*{re.escape(path[0])}\s*\]")
    starts = [number for number, line in enumerate(lines) if header.match(line)]
    position = index if index is not None else 0
    if position < len(starts):
        ends = (number for number in range(starts[position] + 1, len(lines)) if re.match(r"\s*\[+\s*\w", lines[number]))
        return starts[position], next(ends, len(lines))
    return _inline_entry(lines, tree, path[0], index) or whole


def _inline_entry(lines: list[str], tree: Mapping[str, Any], table: str, index: int | None) -> tuple[int, int] | None:
    """Return the line of `{ id = "x", ... }`, an entry on one line, found by its id."""
    entry = tree[table][index] if index is not None and isinstance(tree.get(table), list) else None
    name = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        return None
    written = re.compile(rf"""[{{,]\s*id\s*=\s*["']{re.escape(name)}["']""")
    hits = [number for number, line in enumerate(lines) if written.search(line)]
    return (hits[0], hits[0] + 1) if len(hits) == 1 else None
