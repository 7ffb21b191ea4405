"""The structure and the enums of a board, checked against the types that the official model declares.

Grafana's JSON Schemas and the model are generated from one source; the schemas are in no package, the types are.
"""

import enum
import typing
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Literal, Union


def misfits(value: object, hint: object, at: str = "board") -> Iterator[str]:
    """Yield where a decoded board holds what the declared type does not allow."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint in (Any, object):  # of a panel's kind: the decoder knew which, where the declaration does not
        yield from _of_class(value, type(value), at)
    elif origin in (Union, UnionType):
        yield from _of_any(value, parts, at)
    elif origin in (list, dict) and isinstance(value, origin):
        items = value if isinstance(value, dict) else dict(enumerate(value))
        yield from _of_items(items, parts[-1], at)
    elif isinstance(hint, type):
        yield from _of_class(value, hint, at)
    elif origin is not Literal or value not in parts:
        yield from _misfit(value, hint, at)


def _of_any(value: object, parts: tuple[object, ...], at: str) -> Iterator[str]:
    """Yield the faults of the branch that is the value's own class, else of the one that fits best."""
    own = [part for part in parts if part is type(value)]
    faults = [list(misfits(value, part, at)) for part in own or parts]
    yield from min(faults, key=len)


def _of_items(items: Mapping[Any, object], hint: object, at: str) -> Iterator[str]:
    for key, item in items.items():
        yield from misfits(item, hint, f"{at}[{key}]")


def _of_class(value: object, kind: type, at: str) -> Iterator[str]:
    if issubclass(kind, enum.Enum):
        yield from () if value in {each.value for each in kind} else _misfit(value, kind, at)
    elif kind in (int, float):  # JSON has one kind of number; a flag is none
        fits = isinstance(value, (int, kind)) and not isinstance(value, bool)
        yield from () if fits else _misfit(value, kind, at)
    elif isinstance(value, dict) and hasattr(kind, "from_json"):  # what the decoder left as it was
        yield from _of_class(kind.from_json(value), kind, at)
    elif not isinstance(value, kind):
        yield from _misfit(value, kind, at)
    else:
        yield from (
            fault
            for name, hint in _fields(kind).items()
            for fault in misfits(getattr(value, name), hint, f"{at}.{name}")
        )


def _misfit(value: object, hint: object, at: str) -> Iterator[str]:
    yield f"{at}: {value!r} is no {getattr(hint, '__name__', hint)}"


def _fields(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind) if kind.__module__.startswith("grafana_foundation_sdk.") else {}
