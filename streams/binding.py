"""Values into the text of a query: four exact types and lists of them, nothing else (pure).

The driver would let a dict, bytes, or an int with its own `__str__` into the text as they are, which is an injection;
so a value of any other type is an error here.
"""

import math
import re
from collections.abc import Mapping
from typing import Final

Scalar = str | int | float | bool
Param = Scalar | list[str] | list[int] | list[float] | list[bool]

_PLACEHOLDER: Final = re.compile(r"%\((?P<name>\w+)\)s|%%")
_ESCAPES: Final = str.maketrans(
    {
        "\b": "\\b",
        "\f": "\\f",
        "\r": "\\r",
        "\n": "\\n",
        "\t": "\\t",
        "\0": "\\0",
        "\a": "\\a",
        "\v": "\\v",
        "\\": "\\\\",
        "'": "\\'",
    }
)


def bind(text: str, params: Mapping[str, Param], *, name: str) -> str:
    """Return the query with every `%(name)s` replaced by a literal and `%%` by `%`.

    Args:
        text: the query.
        params: one value for each placeholder; no other.
        name: what to call the query in an error.

    Raises:
        ValueError: a placeholder without a value, a value without a placeholder, a number that is not finite.
        TypeError: a value of another type.
    """
    wanted = {found["name"] for found in _PLACEHOLDER.finditer(text) if found["name"] is not None}
    if wanted != params.keys():
        missing, unknown = sorted(wanted - params.keys()), sorted(params.keys() - wanted)
        raise ValueError(f"query {name}: parameters without a value: {missing}; values it does not take: {unknown}")
    literals = {key: literal(value, where=f"query {name}: {key}") for key, value in params.items()}
    return _PLACEHOLDER.sub(lambda found: "%" if found["name"] is None else literals[found["name"]], text)


def literal(value: Param, *, where: str) -> str:
    """Return a value as ClickHouse reads it.

    Raises:
        ValueError: a number that is not finite.
        TypeError: not exactly str, int, float, bool or a list of those.
    """
    kind = type(value)
    if kind is list:
        return f"[{', '.join(_scalar(each, where) for each in value)}]"  # type: ignore[union-attr]  # it is a list
    return _scalar(value, where)


def _scalar(value: object, where: str) -> str:
    kind = type(value)  # exact: a subclass may print itself as anything
    if kind is str:
        return f"'{str(value).translate(_ESCAPES)}'"
    if kind is bool:
        return "true" if value is True else "false"
    if kind is int:
        return str(value)
    if kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]  # it is a float
            raise ValueError(f"{where}: {value} is not finite")
        return repr(value)
    raise TypeError(f"{where}: a {kind.__name__} cannot be bound; only str, int, float, bool and lists of them")
