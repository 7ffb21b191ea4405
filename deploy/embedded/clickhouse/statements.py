"""One statement of a client: its kind, its parts that the server must know, and whether it may run at all."""

from enum import Enum
from itertools import pairwise
from typing import Final, NamedTuple

from deploy.embedded.clickhouse.inserts import Insert, read_insert
from deploy.embedded.clickhouse.refusals import (
    SYNTAX_ERROR,
    Refused,
    refuse_many,
    refuse_reaching_out,
    refuse_reader,
)
from deploy.embedded.clickhouse.tokens import Kind, Token, TokenError, tokenize

# A word before FORMAT after which `format` is a name, as in ORDER BY format.
_WORDS_BEFORE_NAME: Final = """
    SELECT DISTINCT BY AS FROM JOIN ON USING WHERE PREWHERE HAVING AND OR NOT IN LIKE CASE WHEN THEN ELSE BETWEEN
    INTERVAL ALL ANY UNION EXCEPT INTERSECT INTO TABLE LIMIT OFFSET
"""
_BEFORE_NAME: Final = frozenset(_WORDS_BEFORE_NAME.split())


class StatementKind(Enum):
    """How the engine is asked and what the client hears."""

    SELECT = "select"  # streamed
    SHOW = "show"  # few rows, may run twice
    INSERT_BLOCKS = "insert blocks"  # the rows follow as blocks
    OTHER = "other"  # run once, rows if there are any


class Statement(NamedTuple):
    """A statement that may run; `sql` without a trailing FORMAT and without a last semicolon."""

    kind: StatementKind
    sql: str
    insert: Insert | None = None
    sets: tuple[tuple[str, str], ...] = ()  # SET name = value, the value as written


def read_statement(sql: str, *, readonly: bool) -> Statement:
    """Read one statement.

    Raises:
        Refused: with the engine's own code: not SQL (62), several statements (62), not for this login (164), or a
            thing that nobody may do here (48, 497).
    """
    try:
        tokens = tokenize(sql)
    except TokenError as err:
        raise Refused(SYNTAX_ERROR, str(err)) from err
    tokens, sql = _one(tokens, sql)
    first = _ruling_word(tokens)
    if readonly:
        refuse_reader(first)
    refuse_reaching_out(tokens)
    return _understand(sql, tokens, first)


def _understand(sql: str, tokens: list[Token], first: str) -> Statement:
    if tokens[0].says("INSERT"):
        insert = read_insert(sql, tokens)
        return Statement(StatementKind.OTHER if insert is None else StatementKind.INSERT_BLOCKS, sql, insert)
    if first in ("SELECT", "WITH", "FROM"):
        return Statement(StatementKind.SELECT, _without_format(sql, tokens))
    if first in ("SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN"):
        return Statement(StatementKind.SHOW, _without_format(sql, tokens))
    return Statement(StatementKind.OTHER, sql, sets=_sets(sql, tokens) if first == "SET" else ())


def _one(tokens: list[Token], sql: str) -> tuple[list[Token], str]:
    """Drop the last semicolons and refuse any other."""
    while tokens and tokens[-1].says(";"):
        sql = sql[: tokens[-1].start]
        tokens = tokens[:-1]
    if not tokens:
        raise Refused(SYNTAX_ERROR, "Empty query")
    refuse_many(tokens)
    return tokens, sql


def _ruling_word(tokens: list[Token]) -> str:
    """Return the keyword that rules the statement, upper case; brackets before it do not count."""
    ruling = next((each for each in tokens if not each.says("(")), tokens[0])
    word = ruling.text.upper()
    if word == "WITH" and any(each.depth == 0 and each.says("INSERT") for each in tokens):
        return "INSERT"
    return word


def _without_format(sql: str, tokens: list[Token]) -> str:
    """Cut a trailing `FORMAT name`: the protocol has one format. Settings after it stay."""
    for at in range(len(tokens) - 2, 0, -1):
        if tokens[at].depth == 0 and tokens[at].says("FORMAT") and _is_clause(tokens, at):
            return f"{sql[: tokens[at].start]} {sql[tokens[at + 1].end :]}"
    return sql


def _is_clause(tokens: list[Token], at: int) -> bool:
    before, name = tokens[at - 1], tokens[at + 1]
    after = tokens[at + 2] if at + 2 < len(tokens) else None
    names_something = before.kind is not Kind.SIGN or before.text in (")", "]", "}", "*")
    if not names_something or (before.kind is Kind.WORD and before.text.upper() in _BEFORE_NAME):
        return False
    return name.kind is Kind.WORD and not name.says("ASC", "DESC") and (after is None or after.says("SETTINGS"))


def _sets(sql: str, tokens: list[Token]) -> tuple[tuple[str, str], ...]:
    """Read SET a = 1, b = 'x'; anything else (SET ROLE, SET PROFILE) changes no setting that must be kept."""
    cuts = [0, *(i for i, each in enumerate(tokens) if each.depth == 0 and each.says(",")), len(tokens)]
    pairs = []
    for start, end in pairwise(cuts):
        part = tokens[start + 1 : end]
        if len(part) >= 3 and part[1].says("="):
            pairs.append((part[0].name, sql[part[2].start : part[-1].end]))
    return tuple(pairs)
