"""INSERT: does it bring its rows itself, or do they follow as blocks, and into which columns?"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from deploy.embedded.clickhouse.refusals import NOT_IMPLEMENTED, SYNTAX_ERROR, Refused
from deploy.embedded.clickhouse.tokens import Kind, Token

_NO_END: Final = "Syntax error: expected VALUES, FORMAT or SELECT after the table of INSERT"
_INLINE: Final = "data inside INSERT ... FORMAT is not taken here; send blocks, VALUES or a SELECT"
_INTO_FUNCTION: Final = "INSERT INTO FUNCTION is not available"


class Insert(NamedTuple):
    """The head of an INSERT whose rows follow as blocks."""

    head: str  # the text before VALUES or FORMAT, its SETTINGS included
    table: str  # as written
    columns: tuple[str, ...] | None  # None: all that can be written
    expression: str | None  # the list as written where it is not plain names, as (* EXCEPT a)


def read_insert(sql: str, tokens: Sequence[Token]) -> Insert | None:
    """Return the head when blocks follow; None when the statement holds its rows (VALUES (...) or SELECT).

    Raises:
        Refused: no source of rows (62), data of another format inside (48), INSERT INTO FUNCTION (48).
    """
    for at, token in enumerate(tokens):
        if token.depth != 0 or at < 2:  # INSERT t: at least two words stand before any source
            continue
        if token.says("SELECT", "WITH", "WATCH") or _opens_select(tokens, at):
            return None
        if token.says("VALUES"):
            return _head(sql, tokens[:at]) if at + 1 == len(tokens) else None
        if token.says("FORMAT") and at + 1 < len(tokens):
            return _formatted(sql, tokens, at)
    raise Refused(SYNTAX_ERROR, _NO_END)


def _opens_select(tokens: Sequence[Token], at: int) -> bool:
    return tokens[at].says("(") and at + 1 < len(tokens) and tokens[at + 1].says("SELECT", "WITH", "(")


def _formatted(sql: str, tokens: Sequence[Token], at: int) -> Insert | None:
    if at + 2 == len(tokens):
        return _head(sql, tokens[:at])
    if tokens[at + 1].says("VALUES"):
        return None
    raise Refused(NOT_IMPLEMENTED, _INLINE)


def _head(sql: str, tokens: Sequence[Token]) -> Insert:
    """Read INSERT [INTO] [TABLE] [db.]table [(columns)] [SETTINGS ...]."""
    start = 1 + tokens[1].says("INTO")
    start += _is_word_table(tokens, start)
    if start + 1 < len(tokens) and tokens[start].says("FUNCTION") and not tokens[start + 1].says("(", "."):
        raise Refused(NOT_IMPLEMENTED, _INTO_FUNCTION)
    end = start + 1
    while end + 1 < len(tokens) and tokens[end].says("."):
        end += 2
    if end > len(tokens):
        raise Refused(SYNTAX_ERROR, _NO_END)
    table = sql[tokens[start].start : tokens[end - 1].end]
    columns, expression = _columns(sql, tokens[end:])
    return Insert(sql[: tokens[-1].end], table, columns, expression)


def _is_word_table(tokens: Sequence[Token], at: int) -> bool:
    """Say whether TABLE at `at` is the keyword; a table may be called table."""
    return at + 1 < len(tokens) and tokens[at].says("TABLE") and not tokens[at + 1].says("(", ".", "SETTINGS")


def _columns(sql: str, tokens: Sequence[Token]) -> tuple[tuple[str, ...] | None, str | None]:
    if not tokens or not tokens[0].says("("):
        return None, None
    close = next(i for i, each in enumerate(tokens) if each.says(")") and each.depth == tokens[0].depth)
    inside = tokens[1:close]
    named = all(each.kind in (Kind.WORD, Kind.QUOTED) for each in inside[::2])
    if named and all(each.says(",") for each in inside[1::2]):
        return tuple(each.name for each in inside[::2]), None
    return None, sql[tokens[0].end : tokens[close].start]
