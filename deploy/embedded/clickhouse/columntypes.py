"""Names of column types -> layouts: what one must know to find the end of a column in FORMAT Native."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

MAX_DEPTH: Final = 32

_NAMES: Final = {
    1: "UInt8 Int8 Bool Enum8 Nothing",
    2: "UInt16 Int16 Enum16 Date BFloat16",
    4: "UInt32 Int32 Float32 Date32 DateTime Time Decimal32 IPv4",
    8: "UInt64 Int64 Float64 DateTime64 Time64 Decimal64",
    16: "UInt128 Int128 Decimal128 UUID IPv6",
    32: "UInt256 Int256 Decimal256",
}
_SIZES_BYTES: Final = {name: size for size, names in _NAMES.items() for name in names.split()}
_TYPE: Final = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\((.*)\))?\s*", re.DOTALL)
_NAMED: Final = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*|`(?:[^`\\]|\\.)*`)\s+(?=[A-Za-z_])")
_PIECE: Final = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`|[(),]|[^'`(),]+", re.DOTALL)
# DateTime('UTC') and what holds it; DateTime64 keeps its zone in FORMAT Native, DateTime loses it.
_ZONED: Final = re.compile(r"\bDateTime\('")


class UnknownLayoutError(ValueError):
    """A type whose columns cannot be measured, or a text that is no type at all."""


class Fixed(NamedTuple):
    """Every value takes `size_bytes`."""

    size_bytes: int


class Strings(NamedTuple):
    """A varint length before every value."""


class Nullable(NamedTuple):
    """A byte a row, then the values."""

    inner: "Layout"


class Array(NamedTuple):
    """An end offset a row, eight bytes each, then the elements of all rows."""

    inner: "Layout"


class Tuple(NamedTuple):
    """One column after the other."""

    items: tuple["Layout", ...]


class LowCardinality(NamedTuple):
    """A dictionary, then an index a row."""

    inner: "Layout"


Layout = Fixed | Strings | Nullable | Array | Tuple | LowCardinality


def has_zone(type_name: str) -> bool:
    """Say whether FORMAT Native drops a time zone from this type."""
    return _ZONED.search(type_name) is not None


@lru_cache(maxsize=4096)
def layout(type_name: str, depth: int = 0) -> Layout:
    """Return the layout of a column type.

    Raises:
        UnknownLayoutError: no type, nested deeper than `MAX_DEPTH`, or one that is not measured here
            (AggregateFunction, JSON, Variant, Dynamic).
    """
    found = _TYPE.fullmatch(type_name)
    if found is None or depth > MAX_DEPTH:
        raise UnknownLayoutError(f"`{type_name[:80]}` is no column type")
    name, arguments = found[1], _arguments(found[2] or "")
    if name in _SIZES_BYTES:
        return Fixed(_SIZES_BYTES[name])
    if name.startswith("Interval"):
        return Fixed(8)
    return _composite(name, arguments, type_name, depth + 1)


def _composite(name: str, arguments: list[str], type_name: str, depth: int) -> Layout:
    match name, arguments:
        case "String", []:
            return Strings()
        case "FixedString", [size]:
            return Fixed(_whole(size))
        case "Decimal", [precision, _]:
            return Fixed(_decimal_bytes(_whole(precision)))
        case "SimpleAggregateFunction", [_, inner]:
            return layout(inner, depth)
        case "Tuple" | "Nested", [_, *_]:
            items = Tuple(tuple(layout(_NAMED.sub("", item, count=1), depth) for item in arguments))
            return items if name == "Tuple" else Array(items)
        case _:
            return _wrapped(name, [layout(each, depth) for each in arguments], type_name)


def _wrapped(name: str, items: list[Layout], type_name: str) -> Layout:
    match name, items:
        case "Nullable", [inner]:
            return Nullable(inner)
        case "Array", [inner]:
            return Array(inner)
        case "LowCardinality", [inner]:
            return LowCardinality(inner.inner if isinstance(inner, Nullable) else inner)  # NULL is the first key
        case "Map", [key, value]:
            return Array(Tuple((key, value)))
        case _:
            raise UnknownLayoutError(f"columns of type `{type_name[:80]}` cannot be measured by this server")


def _arguments(text: str) -> list[str]:
    return [part.strip() for part in _split(text)] if text.strip() else []


def _split(text: str) -> Iterator[str]:
    """Yield what stands between the commas outside brackets and quotes."""
    depth, part = 0, ""
    for found in _PIECE.finditer(text):
        piece = found[0]
        depth += (piece == "(") - (piece == ")")
        if piece == "," and depth == 0:
            yield part
            part = ""
        else:
            part += piece
    if depth != 0:
        raise UnknownLayoutError(f"`{text[:80]}`: a bracket is missing")
    yield part


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise UnknownLayoutError(f"`{text[:80]}` is no size")
    return int(text)


def _decimal_bytes(precision: int) -> int:
    return next((size for most, size in ((9, 4), (18, 8), (38, 16)) if precision <= most), 32)
