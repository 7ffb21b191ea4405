"""What this server does not do, for anyone or for a reader: told before the engine hears of it.

The engine's own grants and its read-only mode stand behind these rules; the rules give the clear text, and cover what
grants do not: INTO OUTFILE, several statements at once, and engines that spoil the next start.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from deploy.embedded.clickhouse.tokens import Kind, Token

ACCESS_DENIED: Final = 497
READONLY: Final = 164
SYNTAX_ERROR: Final = 62
NOT_IMPLEMENTED: Final = 48

# Engines that reach out of the data directory. Kafka, RabbitMQ and NATS fail to be created and then keep the whole
# server from starting.
_ENGINES: Final = """
    kafka rabbitmq nats filelog file url s3 s3queue gcs oss cosn azureblobstorage azurequeue hdfs hive mysql
    materializedmysql postgresql materializedpostgresql mongodb redis sqlite odbc jdbc distributed executable
    executablepool python iceberg icebergs3 deltalake hudi paimon arrowflight ytsaurus datalakecatalog filesystem
    externaldistributed backup
"""
# Functions that read or write outside it, or reach into this process.
_FUNCTIONS: Final = """
    file filecluster url urlcluster remote remotesecure cluster clusterallreplicas executable python mysql postgresql
    mongodb redis sqlite odbc jdbc input disk gcs oss cosn hudi hudicluster arrowflight ytsaurus prometheusquery
"""
ENGINES: Final = frozenset(_ENGINES.split())
FUNCTIONS: Final = frozenset(_FUNCTIONS.split())
# Families of functions by the beginning of their names: s3, s3Cluster.
STEMS: Final = ("s3", "hdfs", "azureblobstorage", "iceberg", "deltalake", "paimon")
SOURCES: Final = frozenset({"clickhouse", "null"})

_READ_WORDS: Final = frozenset(
    ("SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "SET", "USE", "CHECK")
)


class Refused(Exception):  # noqa: N818 - an answer, not a fault of the server
    """A statement that will not run; `code` is what ClickHouse would say."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def refuse_many(tokens: Sequence[Token]) -> None:
    """Refuse a second statement: the engine would run both."""
    if any(each.says(";") for each in tokens):
        raise Refused(SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed): send one statement at a time")


def refuse_reader(first: str) -> None:
    """Refuse what changes anything, for a login that may only read; `first` is the statement's ruling keyword."""
    if first not in _READ_WORDS:
        raise Refused(READONLY, f"Cannot execute query in readonly mode: this login may only read, and {first} writes")


def refuse_reaching_out(tokens: Sequence[Token]) -> None:
    """Refuse every way out of the data directory that stands in a statement.

    Raises:
        Refused: names the first way found.
    """
    for reason in (*_engines(tokens), *_sources(tokens), *_files(tokens), *_calls(tokens)):
        raise Refused(ACCESS_DENIED, f"{reason}; this server reads and writes its own data directory alone")


def _engines(tokens: Sequence[Token]) -> Iterator[str]:
    for token, after, next_but_one in zip(tokens, tokens[1:], [*tokens[2:], None], strict=False):
        named = next_but_one if after.says("=") and next_but_one is not None else after
        if token.says("ENGINE") and named.name.lower() in ENGINES:
            yield f"the engine {named.name} is not available"


def _sources(tokens: Sequence[Token]) -> Iterator[str]:
    for token, bracket, named in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if token.says("SOURCE") and bracket.says("(") and named.name.lower() not in SOURCES:
            yield f"a dictionary from {named.name} is not available"


def _files(tokens: Sequence[Token]) -> Iterator[str]:
    for token, after in pairwise(tokens):
        if (token.says("INTO") and after.says("OUTFILE")) or (token.says("FROM") and after.says("INFILE")):
            yield f"{token.text} {after.text} is not allowed"


def _calls(tokens: Sequence[Token]) -> Iterator[str]:
    for before, token, after in zip([None, *tokens], tokens, tokens[1:], strict=False):
        is_table = before is not None and before.says(".", "INTO")  # db.file, INSERT INTO file (columns)
        if is_table or not after.says("(") or token.kind not in (Kind.WORD, Kind.QUOTED):
            continue
        if token.name.lower() in FUNCTIONS or token.name.lower().startswith(STEMS):
            yield f"the function {token.name}() is not allowed"
