"""Settings of one query that must not outlive it: which SET leads from what the engine has to what a query wants."""

import re
from collections.abc import Mapping
from typing import Final

# A session's tag is kept in log_comment (KILL QUERY finds it there), and the wire has one form of block.
OWN_NAMES: Final = frozenset({"log_comment"})
OWN_STEMS: Final = ("output_format_native_", "input_format_native_")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")


class SettingNameError(ValueError):
    """A name that no setting can have."""


def kept(wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a query as SQL literals, without those that belong to the server.

    Raises:
        SettingNameError: a name that is not a word.
    """
    for name in wanted:
        if not _NAME.fullmatch(name):
            raise SettingNameError(f"Unknown setting '{name[:80]}'")
    return {
        name: literal(value)
        for name, value in wanted.items()
        if name not in OWN_NAMES and not name.startswith(OWN_STEMS)
    }


def step(applied: Mapping[str, str], wanted: Mapping[str, str], base: Mapping[str, str]) -> str | None:
    """Return the SET that turns `applied` into `wanted`, or None when they are equal.

    Args:
        applied: what the last query set, as SQL literals.
        wanted: what this query sets.
        base: what holds without either: the profile, then the session's own SET statements; a name that is not in
            it goes back to the engine's default.
    """
    changed = {name: value for name, value in wanted.items() if applied.get(name) != value}
    left = {name: base.get(name, "DEFAULT") for name in applied if name not in wanted}
    pairs = ", ".join(f"{name} = {value}" for name, value in {**left, **changed}.items())
    return f"SET {pairs}" if pairs else None


def literal(value: str) -> str:
    """Return a text as an SQL string."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
