"""What the ClickHouse datasource of Grafana makes of a panel's text before it asks: macros, then variables.

Written to the plugin's documented contract (macros of version 4.20): both ends of a time filter are inclusive.
"""

import re
from collections.abc import Mapping, Sequence

MACRO = re.compile(r"\$__(?P<name>timeFilter|fromTime|toTime|interval_s)\b")


def expand(sql: str, *, from_s: int, to_s: int, variables: Mapping[str, str | Sequence[str]]) -> str:
    """Return the statement that reaches the store.

    Raises:
        ValueError: a macro or a variable that is not known here.
    """
    for name, value in variables.items():
        sql = sql.replace(f"${{{name}:singlequote}}", _quoted(value))
    while (found := MACRO.search(sql)) is not None:
        sql = _macro(sql, found, from_s, to_s)
    if "${" in sql or "$__" in sql:
        raise ValueError(f"not expanded: {sql}")
    return sql


def _quoted(value: str | Sequence[str]) -> str:
    values = [value] if isinstance(value, str) else value
    return ",".join("'" + each.replace("\\", "\\\\").replace("'", "\\'") + "'" for each in values)


def _macro(sql: str, found: re.Match[str], from_s: int, to_s: int) -> str:
    name, start, end = found["name"], found.start(), found.end()
    if name == "interval_s":
        return sql[:start] + "10" + sql[end:]
    if name != "timeFilter":
        return sql[:start] + f"toDateTime({from_s if name == 'fromTime' else to_s})" + sql[end:]
    argument, end = _argument(sql, end)
    return f"{sql[:start]}{argument} >= toDateTime({from_s}) AND {argument} <= toDateTime({to_s}){sql[end:]}"


def _argument(sql: str, start: int) -> tuple[str, int]:
    """Return what stands between the parentheses that open at `start`, nested ones included, and where they end."""
    depth = 0
    for place in range(start, len(sql)):
        depth += (sql[place] == "(") - (sql[place] == ")")
        if depth == 0:
            return sql[start + 1 : place], place + 1
    raise ValueError(f"unbalanced parentheses: {sql[start:]}")
