"""Statements as tokens: nothing hides in a quote or a comment, and nothing in one is taken for real."""

import pytest

from deploy.embedded.clickhouse.inserts import Insert
from deploy.embedded.clickhouse.refusals import Refused
from deploy.embedded.clickhouse.statements import Statement, StatementKind, read_statement
from deploy.embedded.clickhouse.tokens import TokenError, tokenize


def read(sql: str, *, readonly: bool = False) -> Statement:
    return read_statement(sql, readonly=readonly)


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT 1", StatementKind.SELECT),
        ("/* INSERT */ -- DROP\n select 1;", StatementKind.SELECT),
        ("((SELECT 1) UNION ALL (SELECT 2))", StatementKind.SELECT),
        ("WITH 1 AS x SELECT x", StatementKind.SELECT),
        ("FROM t SELECT a", StatementKind.SELECT),
        ("SHOW TABLES", StatementKind.SHOW),
        ("DESC t", StatementKind.SHOW),
        ("EXISTS TABLE t", StatementKind.SHOW),
        ("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a", StatementKind.OTHER),
        ("INSERT INTO t VALUES (1, ')')", StatementKind.OTHER),
        ("INSERT INTO t FORMAT Values (1)", StatementKind.OTHER),
        ("INSERT INTO t (a) SELECT 1", StatementKind.OTHER),
        ("INSERT INTO t (SELECT 1)", StatementKind.OTHER),
        ("INSERT INTO t WITH 1 AS x SELECT x", StatementKind.OTHER),
        ("WITH 1 AS x INSERT INTO t SELECT x", StatementKind.OTHER),
        ("INSERT INTO t VALUES", StatementKind.INSERT_BLOCKS),
        ("INSERT INTO t FORMAT Native", StatementKind.INSERT_BLOCKS),
    ],
)
def test_a_statement_is_known_by_its_ruling_word(sql: str, kind: StatementKind) -> None:
    assert read(sql).kind is kind


@pytest.mark.parametrize(
    ("sql", "insert"),
    [
        ("INSERT INTO db.t (a, `b c`) VALUES", Insert("INSERT INTO db.t (a, `b c`)", "db.t", ("a", "b c"), None)),
        ("insert into t format Native;", Insert("insert into t", "t", None, None)),
        ("INSERT INTO TABLE t (a) VALUES", Insert("INSERT INTO TABLE t (a)", "t", ("a",), None)),
        ("INSERT INTO table (a) VALUES", Insert("INSERT INTO table (a)", "table", ("a",), None)),
        ("INSERT INTO t (* EXCEPT a) VALUES", Insert("INSERT INTO t (* EXCEPT a)", "t", None, "* EXCEPT a")),
        (
            "INSERT INTO t (values) SETTINGS async_insert = 0 VALUES",
            Insert("INSERT INTO t (values) SETTINGS async_insert = 0", "t", ("values",), None),
        ),
        ('INSERT INTO "d".`t` VALUES -- rows follow', Insert('INSERT INTO "d".`t`', '"d".`t`', None, None)),
        ("INSERT INTO file (a) VALUES", Insert("INSERT INTO file (a)", "file", ("a",), None)),
    ],
)
def test_the_head_of_an_insert_names_table_and_columns(sql: str, insert: Insert) -> None:
    assert read(sql).insert == insert


@pytest.mark.parametrize(
    ("sql", "without"),
    [
        ("SELECT 1 FORMAT JSON", "SELECT 1"),
        ("SELECT 1 FORMAT JSON;", "SELECT 1"),
        ("SELECT a FROM t FORMAT Null SETTINGS max_threads = 1", "SELECT a FROM t SETTINGS max_threads = 1"),
        ("SELECT a FROM t ORDER BY format DESC", "SELECT a FROM t ORDER BY format DESC"),
        ("SELECT format FROM t", "SELECT format FROM t"),
        ("SELECT 1 AS format", "SELECT 1 AS format"),
        ("SELECT ' FORMAT JSON'", "SELECT ' FORMAT JSON'"),
        ("SELECT (SELECT 1 FORMAT JSON)", "SELECT (SELECT 1 FORMAT JSON)"),
        ("SHOW TABLES FORMAT TSV", "SHOW TABLES"),
    ],
)
def test_a_trailing_format_is_cut_and_a_name_is_not(sql: str, without: str) -> None:
    assert read(sql).sql.split() == without.split()


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE k (a UInt8) ENGINE = Kafka('b', 't', 'g', 'JSONEachRow')",
        "create table k (a UInt8) engine kafka settings kafka_topic_list = 't'",
        "CREATE TABLE k (a UInt8) ENGINE/**/=/**/`RabbitMQ` SETTINGS x = 1",
        "CREATE TABLE k (a UInt8) ENGINE = NATS",
        "ATTACH TABLE k (a UInt8) ENGINE = Kafka",
        "CREATE DATABASE d ENGINE = MySQL('h', 'd', 'u', 'p')",
        "CREATE TABLE d (a UInt8) ENGINE = Distributed(c, d, t)",
        "CREATE DICTIONARY d (a UInt64) PRIMARY KEY a SOURCE(HTTP(URL 'http://h'))",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "SELECT 1 into/* */outfile '/tmp/x' FORMAT CSV",
        "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV",
        "SELECT * FROM file('/etc/passwd')",
        "SELECT * FROM FILE ('/etc/passwd')",
        "SELECT * FROM `url`('http://h')",
        "SELECT file('/etc/passwd') = 'x'",
        "SELECT 1 = file('/etc/passwd')",
        "SELECT * FROM s3Cluster('c', 'http://h')",
        "SELECT * FROM remote('h', d.t)",
        "SELECT * FROM clusterAllReplicas('c', d.t)",
        "SELECT * FROM icebergS3('x')",
        "SELECT * FROM python(x)",
        "SELECT * FROM executable('x', TSV, 'a UInt8')",
        "INSERT INTO FUNCTION url('http://h') VALUES (1)",
        "INSERT INTO TABLE FUNCTION file('x') SELECT 1",
        "DESCRIBE TABLE file('x')",
        "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = s3)",
    ],
)
def test_every_way_out_of_the_data_directory_is_refused(sql: str) -> None:
    with pytest.raises(Refused, match="its own data directory alone") as caught:
        read(sql)
    assert caught.value.code == 497


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'ENGINE = Kafka', \"file\" FROM t -- INTO OUTFILE 'x'",
        "SELECT kafka, url, file FROM t WHERE s3 > 0",
        "CREATE TABLE t (engine String, file String) ENGINE = ReplacingMergeTree(v) ORDER BY file",
        "SELECT engine FROM system.tables WHERE engine = 'Kafka'",
        "SELECT $$ file('x'); $$",
        "SELECT cutURLParameter(u, 'a'), domain(u) FROM numbers(3)",
        "CREATE DICTIONARY d (a UInt64) PRIMARY KEY a SOURCE(CLICKHOUSE(TABLE 't'))",
    ],
)
def test_a_word_in_a_text_or_a_name_is_harmless(sql: str) -> None:
    assert read(sql).sql == sql


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("", 62),
        (" ;; -- nothing", 62),
        ("SELECT 1; SELECT 2", 62),
        ("INSERT INTO t VALUES (1); DROP TABLE t", 62),
        ("SELECT '; ", 62),
        ("SELECT /* ", 62),
        ("SELECT `a", 62),
        ("INSERT INTO t", 62),
        ("INSERT", 62),
        ("INSERT INTO", 62),
        ("INSERT INTO t FORMAT CSV 1,2", 48),
    ],
)
def test_what_is_no_statement_is_refused_with_its_code(sql: str, code: int) -> None:
    with pytest.raises(Refused) as caught:
        read(sql)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "sql", ["SELECT ';'", "SELECT 1 -- ; x", "SELECT 1 /* ; */ ;", 'SELECT "a;b"', "SELECT $t$;$t$"]
)
def test_a_semicolon_in_a_text_is_no_second_statement(sql: str) -> None:
    assert read(sql).kind is StatementKind.SELECT


@pytest.mark.parametrize(
    "word", ["INSERT INTO t VALUES", "CREATE TABLE", "ALTER", "DROP", "TRUNCATE", "OPTIMIZE", "KILL", "SYSTEM"]
)
def test_a_reader_hears_readonly_before_anything_else(word: str) -> None:
    for sql in (word, f"/* SELECT */ {word}", f"({word}"):
        with pytest.raises(Refused, match="readonly") as caught:
            read(sql, readonly=True)
        assert caught.value.code == 164


def test_a_reader_cannot_hide_an_insert_behind_with() -> None:
    with pytest.raises(Refused, match="INSERT writes"):
        read("WITH 1 AS x INSERT INTO t SELECT x", readonly=True)


def test_a_reader_may_read() -> None:
    for sql in ("SELECT 1", "SHOW TABLES", "EXPLAIN SELECT 1", "SET max_threads = 1", "USE d", "(SELECT 1)"):
        read(sql, readonly=True)


def test_the_settings_of_a_set_are_kept_as_written() -> None:
    assert read("SET a = 1, `b` = 'x, y', c = DEFAULT").sets == (("a", "1"), ("b", "'x, y'"), ("c", "DEFAULT"))
    assert read("SET ROLE x").sets == ()


def test_a_quoted_name_means_what_is_inside() -> None:
    assert [token.name for token in tokenize('`a``b` "c\\"d" e')] == ["a`b", 'c"d', "e"]


def test_an_open_quote_is_told_with_its_place() -> None:
    with pytest.raises(TokenError, match="quote that begins at position 8"):
        tokenize("SELECT 'a")


def test_nested_brackets_have_their_depth() -> None:
    assert [token.depth for token in tokenize("f(a, [b])")] == [0, 0, 1, 1, 1, 2, 1, 0]
