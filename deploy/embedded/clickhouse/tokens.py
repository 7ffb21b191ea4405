"""SQL text -> tokens, as ClickHouse cuts it: quotes, comments and heredocs cannot hide or fake a word."""

import re
from enum import Enum
from functools import reduce
from typing import Final, NamedTuple


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    QUOTED = "quoted identifier"
    STRING = "string"
    NUMBER = "number"
    SIGN = "sign"


class Token(NamedTuple):
    """A piece of SQL: where it stands, and how many brackets enclose it."""

    kind: Kind
    text: str
    start: int
    end: int
    depth: int

    def says(self, *words: str) -> bool:
        """Say whether this is one of the keywords (upper case) or signs."""
        return self.kind in (Kind.WORD, Kind.SIGN) and self.text.upper() in words

    @property
    def name(self) -> str:
        """The identifier that a word or a quoted identifier means."""
        return _unquote(self.text) if self.kind is Kind.QUOTED else self.text


class TokenError(ValueError):
    """A quote, comment or heredoc that never ends; `at` is its place, from 1."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(f"Syntax error: the {what} that begins at position {at} has no end")


_PIECE: Final = re.compile(
    r"""
    (?P<skip> \s+ | --[^\n]* | \#[ !][^\n]* | /\*.*?\*/ )
  | (?P<heredoc> \$(?P<tag>[A-Za-z0-9_]*)\$ .*? \$(?P=tag)\$ )
  | (?P<string> '(?:[^'\\]|\\.|'')*' | \u2018[^\u2019]*\u2019 )
  | (?P<quoted> `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" | \u201c[^\u201d]*\u201d )
  | (?P<number> (?:0[xX][0-9A-Fa-f_]+ | \d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?) )
  | (?P<word> [A-Za-z_][A-Za-z0-9_$]* )
  | (?P<open> /\* | ['`"\u2018\u201c] )
  | (?P<sign> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS: Final = {
    "heredoc": Kind.STRING,
    "string": Kind.STRING,
    "quoted": Kind.QUOTED,
    "number": Kind.NUMBER,
    "word": Kind.WORD,
    "sign": Kind.SIGN,
}
_ESCAPES: Final = (("\\`", "`"), ('\\"', '"'), ("``", "`"), ('""', '"'), ("\\\\", "\\"))


def tokenize(sql: str) -> list[Token]:
    """Cut SQL into tokens, comments left out.

    Raises:
        TokenError: a quote or a comment is not closed.
    """
    tokens: list[Token] = []
    depth = 0
    for found in _PIECE.finditer(sql):
        group = str(found.lastgroup if found.lastgroup != "tag" else "heredoc")
        if group == "skip":
            continue
        if group == "open":
            raise TokenError("comment" if found[0] == "/*" else "quote", found.start() + 1)
        depth -= found[0] in (")", "]", "}")
        tokens.append(Token(_KINDS[group], found[0], found.start(), found.end(), depth))
        depth += found[0] in ("(", "[", "{")
    return tokens


def _unquote(text: str) -> str:
    return reduce(lambda name, pair: name.replace(*pair), _ESCAPES, text[1:-1])
