"""The server as clickhouse-driver meets it; the same promises hold for a real server (ISOCHRONE_TEST_CLICKHOUSE)."""

import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException
from support.children import wait_for
from support.engine import ServerAddress, client

from deploy.embedded.clickhouse import packets
from deploy.embedded.clickhouse.blocks import read_block
from deploy.embedded.clickhouse.wire import Reader

pytestmark = pytest.mark.needs_engine

AT_S = 1_700_000_000
AT = datetime.fromtimestamp(AT_S, UTC)
COLUMNS: list[tuple[str, list[Any], list[Any] | None]] = [
    # type, what is sent, what comes back when it differs
    ("UInt8", [0, 255], None),
    ("UInt16", [0, 65535], None),
    ("UInt32", [0, 2**32 - 1], None),
    ("UInt64", [0, 2**64 - 1], None),
    ("Int32", [-(2**31), 2**31 - 1], None),
    ("Int64", [-(2**63), 2**63 - 1], None),
    ("Float64", [0.0, -1.5e300], None),
    ("String", ["", "态势" * 100], None),
    ("FixedString(4)", ["abcd", "wxyz"], None),
    ("LowCardinality(String)", ["optical", "ip_public"], None),
    ("LowCardinality(Nullable(String))", [None, "x"], None),
    ("UUID", [uuid.UUID(int=1), uuid.UUID(int=2**128 - 1)], None),
    ("DateTime('UTC')", [AT_S, 0], [AT, datetime.fromtimestamp(0, UTC)]),
    ("DateTime64(3, 'UTC')", [AT, AT], None),
    ("Array(UInt16)", [[], [1, 2, 65535]], None),
    ("Array(UInt32)", [[7], []], None),
    ("Array(String)", [["a", ""], []], None),
    ("Array(Array(UInt16))", [[[1], []], []], None),
    ("Array(LowCardinality(String))", [[], ["a", "a"]], None),
    ("Nullable(Int64)", [None, -5], None),
    ("Array(Nullable(String))", [[None, "x"], []], None),
    ("Map(String, UInt64)", [{}, {"a": 1, "b": 2}], None),
    ("Map(LowCardinality(String), Array(UInt32))", [{"k": [1, 2]}, {}], None),
    ("Tuple(UInt8, String)", [(1, "a"), (2, "")], None),
    ("Enum8('down, or worse)' = -2, 'ok' = 1)", ["ok", "down, or worse)"], None),
    ("Bool", [True, False], None),
    ("SimpleAggregateFunction(max, UInt64)", [1, 2], None),
]


@pytest.fixture
def db(clickhouse_server: ServerAddress, database: str) -> Iterator[Client]:
    with client(clickhouse_server, database=database) as connected:
        yield connected


@pytest.mark.parametrize("columnar", [False, True])
@pytest.mark.parametrize(("type_name", "sent", "back"), COLUMNS, ids=[each[0] for each in COLUMNS])
def test_a_value_of_every_type_comes_back(
    db: Client, type_name: str, sent: list[Any], back: list[Any] | None, columnar: bool
) -> None:
    db.execute(f"CREATE TABLE t (n UInt8, v {type_name}) ENGINE = MergeTree ORDER BY n")
    numbers = list(range(len(sent)))
    rows = [numbers, sent] if columnar else list(zip(numbers, sent, strict=True))
    assert db.execute("INSERT INTO t (n, v) VALUES", rows, columnar=columnar) == len(sent)
    found, columns = db.execute("SELECT v FROM t ORDER BY n", with_column_types=True)
    assert [value for (value,) in found] == (back or sent)
    assert columns == [("v", type_name)]


def test_a_query_without_rows_still_tells_names_and_types(db: Client) -> None:
    db.execute("CREATE TABLE t (a UInt64, at DateTime('UTC')) ENGINE = MergeTree ORDER BY a")
    assert db.execute("SELECT * FROM t", with_column_types=True) == ([], [("a", "UInt64"), ("at", "DateTime('UTC')")])
    assert db.execute("SHOW TABLES LIKE 'none'", with_column_types=True) == ([], [("name", "String")])
    assert list(db.execute_iter("SELECT * FROM t")) == []


def test_ddl_views_and_alter_work(db: Client) -> None:
    db.execute("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    db.execute("ALTER TABLE t ADD COLUMN b String DEFAULT 'x'")
    db.execute("CREATE VIEW v AS SELECT a + 1 AS next, b FROM t")
    db.execute("INSERT INTO t (a) VALUES", [(1,)])
    db.execute("INSERT INTO t VALUES (2, 'y')")
    db.execute("INSERT INTO t SELECT a + 10, b FROM t")
    assert db.execute("SELECT next, b FROM v ORDER BY next") == [(2, "x"), (3, "y"), (12, "x"), (13, "y")]


def test_a_computed_column_is_not_asked_of_the_client(db: Client) -> None:
    db.execute(
        "CREATE TABLE t (a UInt64, twice UInt64 MATERIALIZED a * 2, n UInt8 DEFAULT 7) ENGINE = MergeTree ORDER BY a"
    )
    db.execute("INSERT INTO t VALUES", [(4, 1)])
    db.execute("INSERT INTO t (* EXCEPT n) VALUES", [(5,)])
    assert db.execute("SELECT a, twice, n FROM t ORDER BY a") == [(4, 8, 1), (5, 10, 7)]


def test_many_blocks_go_both_ways(db: Client) -> None:
    db.execute("CREATE TABLE t (a UInt64, s String, at DateTime('UTC')) ENGINE = MergeTree ORDER BY a")
    rows = [(number, str(number), AT_S) for number in range(5_000)]
    assert db.execute("INSERT INTO t VALUES", rows, settings={"insert_block_size": 700}) == 5_000
    found = list(db.execute_iter("SELECT * FROM t ORDER BY a", settings={"max_block_size": 900}))
    assert found == [(number, text, AT) for number, text, _ in rows]
    assert db.execute("SELECT count(), max(number) FROM (SELECT number FROM numbers(300000))") == [(300_000, 299_999)]
    assert len(db.execute("SELECT number FROM numbers(300000)")) == 300_000


def test_client_side_parameters_are_substituted(db: Client) -> None:
    given = {"text": "it's; -- \\ 'x'", "many": [1, 2], "at": AT}
    assert db.execute("SELECT %(text)s, %(many)s, %(at)s = toDateTime(1700000000, 'UTC')", given) == [
        (given["text"], [1, 2], 1)
    ]


def test_settings_of_a_query_end_with_it(db: Client) -> None:
    asked = "SELECT getSetting('max_threads'), getSetting('max_result_rows'), getSetting('max_memory_usage')"
    before = db.execute(asked)
    assert db.execute(asked, settings={"max_threads": 3, "max_result_rows": 77, "max_memory_usage": 10**8}) == [
        (3, 77, 10**8)
    ]
    assert db.execute(asked) == before
    db.execute("SET max_result_rows = 55")
    assert db.execute(asked, settings={"max_result_rows": 77})[0][1] == 77
    assert db.execute(asked)[0][1] == 55
    db.execute("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    pinned = {"insert_deduplicate": 0, "async_insert": 0}
    assert [db.execute("INSERT INTO t VALUES", [(1,)], settings=pinned) for _ in range(3)] == [1, 1, 1]
    assert db.execute("SELECT count() FROM t") == [(3,)]


@pytest.mark.parametrize(
    ("sql", "settings", "code", "text"),
    [
        ("SELEC 1", {}, 62, "Syntax error"),
        ("SELECT 'open", {}, 62, ""),
        ("SELECT * FROM nothere", {}, 60, "nothere"),
        ("SELECT nothere FROM system.one", {}, 47, "nothere"),
        ("SELECT 1", {"no_such_setting": 1}, 115, "no_such_setting"),
        ("SELECT throwIf(number = 70000) FROM numbers(100000)", {}, 395, ""),
        ("SELECT sleepEachRow(0.05) FROM numbers(60)", {"max_execution_time": 1, "max_block_size": 1}, 159, ""),
        ("SELECT uniqExact(number) FROM numbers(10000000)", {"max_memory_usage": 3_000_000}, 241, "emory"),
        ("INSERT INTO nothere VALUES (1)", {}, 60, ""),
    ],
)
def test_an_error_has_its_code_and_text_and_the_next_query_works(
    db: Client, sql: str, settings: dict[str, Any], code: int, text: str
) -> None:
    with pytest.raises(ServerException) as caught:
        db.execute(sql, settings=settings)
    assert caught.value.code == code
    assert text in str(caught.value)
    assert db.execute("SELECT 1") == [(1,)]


def test_an_insert_into_what_is_not_there_is_told_before_the_rows(db: Client) -> None:
    db.execute("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    for sql, code in (("INSERT INTO t (b) VALUES", 16), ("INSERT INTO u VALUES", 60)):
        with pytest.raises(ServerException) as caught:
            db.execute(sql, [(1,)])
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("table", "rows", "code"),
    [
        ("(a UInt8, CONSTRAINT small CHECK a < 9) ENGINE = MergeTree ORDER BY a", [(1,), (200,)], 469),
        ("(a UInt8) ENGINE = MergeTree ORDER BY a PARTITION BY a", [(number,) for number in range(200)], 252),
        ("(a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS parts_to_throw_insert = 1", [(1,)], 252),
    ],
)
def test_an_insert_that_the_table_refuses_is_an_error_and_keeps_nothing(
    db: Client, table: str, rows: list[tuple[int]], code: int
) -> None:
    db.execute(f"CREATE TABLE t {table}")
    if "parts_to_throw_insert" in table:
        db.execute("SYSTEM STOP MERGES t")
        db.execute("INSERT INTO t VALUES", [(0,)])
    before = db.execute("SELECT count() FROM t")
    with pytest.raises(ServerException) as caught:
        db.execute("INSERT INTO t VALUES", rows)
    assert caught.value.code == code
    assert db.execute("SELECT count() FROM t") == before


def test_an_insert_whose_view_throws_is_an_error(db: Client) -> None:
    db.execute("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    db.execute("CREATE MATERIALIZED VIEW v ENGINE = MergeTree ORDER BY a AS SELECT throwIf(a = 77) AS a FROM t")
    with pytest.raises(ServerException) as caught:
        db.execute("INSERT INTO t VALUES", [(77,)])
    assert caught.value.code == 395


def test_a_wrong_password_or_an_unknown_user_is_516(clickhouse_server: ServerAddress) -> None:
    for user, password in ((clickhouse_server.writer.name, "wrong"), ("nobody", "")):
        stranger = Client(clickhouse_server.host, port=clickhouse_server.port, user=user, password=password)
        with pytest.raises(ServerException) as caught:
            stranger.execute("SELECT 1")
        stranger.disconnect()
        assert caught.value.code == 516


def test_forty_clients_at_once_get_their_own_answers(clickhouse_server: ServerAddress) -> None:
    def ask(number: int) -> int:
        with client(clickhouse_server) as connected:
            sql = "SELECT %(n)s, sleep(0.05), count() FROM numbers(%(n)s)"
            rows = [connected.execute(sql, {"n": number}) for _ in range(3)]
        return sum(row[0][0] - row[0][2] for row in rows)

    with ThreadPoolExecutor(40) as pool:
        assert set(pool.map(ask, range(40))) == {0}


def test_a_reader_reads_and_sets_and_never_writes(clickhouse_server: ServerAddress, db: Client, database: str) -> None:
    if clickhouse_server.reader is None:
        pytest.skip("the tests know no reader of this server")
    db.execute("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    with client(clickhouse_server, clickhouse_server.reader, database=database) as reader:
        assert reader.execute("SELECT count() FROM t", settings={"max_threads": 1}) == [(0,)]
        for sql in (
            "INSERT INTO t VALUES (1)",
            "CREATE TABLE u (a UInt8) ENGINE = Memory",
            "DROP TABLE t",
            "ALTER TABLE t DELETE WHERE 1",
            "TRUNCATE TABLE t",
            "OPTIMIZE TABLE t",
            "SET readonly = 0",
        ):
            with pytest.raises(ServerException) as caught:
                reader.execute(sql)
            assert caught.value.code == 164, sql
        with pytest.raises(ServerException) as caught:
            reader.execute("INSERT INTO t VALUES", [(1,)])
        assert caught.value.code == 164


def test_the_functions_of_the_store_pass_through(db: Client) -> None:
    db.execute(
        "CREATE TABLE s (k UInt32, rev UInt8, bin Array(UInt16), count Array(UInt32))"
        " ENGINE = ReplacingMergeTree(rev) ORDER BY k"
    )
    db.execute("INSERT INTO s VALUES", [(1, 1, [5, 9], [1, 1]), (2, 1, [5], [10])])
    db.execute("INSERT INTO s VALUES", [(1, 2, [5, 9], [3, 1])])
    assert db.execute("SELECT count(), sum(rev) FROM s FINAL") == [(2, 3)]
    assert db.execute("SELECT sumMap(bin, count) FROM s FINAL") == [(([5, 9], [13, 1]),)]
    merged = "SELECT quantilesExactWeightedArray(0.5, 0.99)(bin, count) FROM s FINAL"
    assert db.execute(merged) == [([5, 9],)]
    assert db.execute("SELECT avgMerge(a) FROM (SELECT avgState(k) AS a FROM s FINAL)") == [(1.5,)]


def test_a_slow_query_does_not_run_into_the_clients_read_timeout(clickhouse_server: ServerAddress) -> None:
    with client(clickhouse_server, send_receive_timeout=2) as patient:
        asked = "SELECT sum(sleepEachRow(0.1)) FROM numbers(35)"
        assert patient.execute(asked, settings={"max_block_size": 1}) == [(0,)]


def running(admin: Client, mark: str) -> int:
    sql = (
        "SELECT count() FROM system.processes WHERE position(query, %(mark)s) > 0 AND position(query, 'processes') = 0"
    )
    return int(admin.execute(sql, {"mark": mark})[0][0])


@pytest.mark.parametrize("how", ["cancel", "leave"])
def test_a_query_ends_when_its_client_cancels_or_leaves(clickhouse_server: ServerAddress, db: Client, how: str) -> None:
    mark = f"mark_{how}_{uuid.uuid4().hex[:8]}"
    sql = f"SELECT sleepEachRow(0.05) AS {mark} FROM numbers(2000) SETTINGS max_block_size = 1"  # noqa: S608 - ours
    with client(clickhouse_server) as leaving:
        leaving.execute("SELECT 1")
        leaving.connection.send_query(sql)
        leaving.connection.send_external_tables([])
        wait_for("the query to run", lambda: running(db, mark) == 1)
        if how == "cancel":
            leaving.connection.send_cancel()
            wait_for("the query to end", lambda: running(db, mark) == 0, 5)
            for _ in range(2000):
                if leaving.connection.receive_packet().type == packets.Server.END_OF_STREAM:
                    break
            assert leaving.execute("SELECT 2") == [(2,)]
        else:
            leaving.disconnect()
            wait_for("the query to end", lambda: running(db, mark) == 0, 5)


def test_a_connection_outlives_its_errors_and_answers_pings(clickhouse_server: ServerAddress) -> None:
    login = clickhouse_server.writer
    with closing(socket.create_connection((clickhouse_server.host, clickhouse_server.port), 5)) as raw:
        reader = Reader(raw.recv, limit_bytes=1 << 20)
        raw.sendall(packets.write_hello(packets.Hello("raw", packets.REVISION, "", login.name, login.password or "")))
        assert reader.varint() == packets.Server.HELLO
        packets.read_server_hello(reader)
        for sql, code in (("SELEC", 62), ("SELECT * FROM nodb.t", 81), ("SELECT throwIf(1)", 395)):
            raw.sendall(packets.write_query(sql))
            kind = reader.varint()
            while kind != packets.Server.EXCEPTION:
                assert kind == packets.Server.DATA
                packets.skip_data_head(reader)
                read_block(reader)
                kind = reader.varint()
            assert packets.read_exception(reader)[0] == code
        raw.sendall(bytes([packets.Client.PING]))
        assert reader.varint() == packets.Server.PONG


def test_inserts_of_several_clients_all_arrive(clickhouse_server: ServerAddress, db: Client, database: str) -> None:
    db.execute("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    barrier = threading.Barrier(4)

    def write(part: int) -> None:
        with client(clickhouse_server, database=database) as writer:
            barrier.wait(10)
            for batch in range(5):
                writer.execute("INSERT INTO t VALUES", [(part * 1000 + batch * 100 + row,) for row in range(100)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert db.execute("SELECT count(), uniqExact(a) FROM t") == [(2000, 2000)]


def test_it_answers_soon(db: Client) -> None:
    started = time.monotonic()
    for _ in range(50):
        db.execute("SELECT 1")
    assert time.monotonic() - started < 5.0
