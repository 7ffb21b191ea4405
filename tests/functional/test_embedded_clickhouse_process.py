"""The server as a process: what it acknowledged outlives kill -9, one holder a directory, an end in order."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest
from clickhouse_driver import Client
from clickhouse_driver.block import RowOrientedBlock
from clickhouse_driver.errors import Error, ServerException
from support.children import is_running, wait_for
from support.engine import READER, START_S, WRITER, ServerAddress, client, require_engine

from deploy.embedded.clickhouse import packets, wire
from deploy.embedded.clickhouse.blocks import read_block
from deploy.embedded.clickhouse.holder import DirectoryHeldError
from deploy.embedded.clickhouse.launch import ServerHandle, embedded_command, running_server
from deploy.embedded.clickhouse.logins import write_logins
from deploy.embedded.clickhouse.wire import Reader
from deploy.ports import free_port, port_is_free
from schemas.errors import ConfigError

pytestmark = pytest.mark.needs_engine

BATCH_ROWS = 500
IDLE_MIB = 330  # measured 232 at the start and 270 after the suite; three quarters of it are pages of the library


@pytest.fixture(autouse=True)
def _engine() -> None:
    require_engine()


@contextmanager
def server(tmp_path: Path, port: int) -> Iterator[tuple[ServerHandle, ServerAddress]]:
    """Run a server of its own on tmp_path/data."""
    with running_server(
        tmp_path / "data", port, (WRITER, READER), log_path=tmp_path / "log", deadline_s=START_S
    ) as handle:
        yield handle, ServerAddress(host=handle.host, port=handle.port, writer=WRITER, reader=READER, pid=handle.pid)


def write_until_killed(address: ServerAddress, acknowledged: list[int], part: int) -> None:
    """Insert batches of one number each until the server is gone."""
    with client(address, connect_timeout=2) as writer:
        for batch in range(part * 1_000_000, (part + 1) * 1_000_000):
            try:
                writer.execute("INSERT INTO kept.t VALUES", [(batch, row) for row in range(BATCH_ROWS)])
            except (Error, EOFError, OSError):
                return
            acknowledged.append(batch)


def kill_under_inserts(handle: ServerHandle, address: ServerAddress, generation: int) -> list[int]:
    """Kill the server while two clients write; return the batches that they were told are stored."""
    acknowledged: list[int] = []
    parts = [generation * 2, generation * 2 + 1]
    threads = [threading.Thread(target=write_until_killed, args=(address, acknowledged, part)) for part in parts]
    for thread in threads:
        thread.start()
    wait_for("ten batches", lambda: len(acknowledged) >= 10)
    os.kill(handle.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return acknowledged


def test_kill_9_loses_nothing_acknowledged_and_tears_no_batch(tmp_path: Path) -> None:
    port = free_port()
    acknowledged: list[int] = []
    for generation in range(3):
        with server(tmp_path, port) as (handle, address):
            with client(address) as admin:
                admin.execute("CREATE DATABASE IF NOT EXISTS kept")
                admin.execute("CREATE TABLE IF NOT EXISTS kept.t (b UInt64, n UInt16) ENGINE = MergeTree ORDER BY b")
            acknowledged += kill_under_inserts(handle, address, generation)
            wait_for("the port to be free", lambda: port_is_free(port))
    with server(tmp_path, port) as (_, address), client(address) as reader:
        stored = dict(reader.execute("SELECT b, count() FROM kept.t GROUP BY b"))
    assert len(acknowledged) >= 30
    assert [batch for batch in acknowledged if batch not in stored] == []
    assert set(stored.values()) == {BATCH_ROWS}


def run_server(tmp_path: Path, *, data: Path, port: int, wrap: str | None = None) -> subprocess.CompletedProcess[str]:
    users = tmp_path / "users.toml"
    write_logins(users, (WRITER,))
    command = embedded_command(data, port, users, 512)
    if wrap is not None:
        command = (sys.executable, "-c", wrap, *command[3:])
    return subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)


def test_a_second_server_on_a_directory_is_refused_and_hears_who_holds_it(tmp_path: Path) -> None:
    with server(tmp_path, free_port()) as (handle, _):
        held = pytest.raises(DirectoryHeldError, match=f"held by pid {handle.pid} since 20")
        with held, server(tmp_path, free_port()):
            pass
        ended = run_server(tmp_path, data=tmp_path / "data", port=free_port())
        assert ended.returncode == 4
        assert f"held by pid {handle.pid} since" in ended.stderr
        assert "deploy.embedded.clickhouse" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        ended = run_server(tmp_path, data=tmp_path / "data", port=port)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (3, 1)
        assert f"port {port} on 127.0.0.1 cannot be used" in ended.stderr
        with pytest.raises(ConfigError, match=f"port {port}"), server(tmp_path, port):
            pass


def test_no_chdb_is_one_clear_line(tmp_path: Path) -> None:
    run = "from deploy.embedded.clickhouse.__main__ import main; sys.exit(main())"
    wrap = f"import sys; sys.modules['chdb'] = None; {run}"
    ended = run_server(tmp_path, data=tmp_path / "data", port=free_port(), wrap=wrap)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (5, 1)
    assert "pip install 'isochrone[embedded]'" in ended.stderr


def test_a_wrong_users_file_is_one_clear_line(tmp_path: Path) -> None:
    users = tmp_path / "users.toml"
    users.write_text('[[login]]\nname = "a"\npasword = "x"\n')
    command = embedded_command(tmp_path / "data", free_port(), users, 512)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert "unknown key `pasword`; did you mean `password`?" in ended.stderr


def test_the_ready_file_names_a_free_port_that_answers(tmp_path: Path) -> None:
    users, ready = tmp_path / "users.toml", tmp_path / "ready.json"
    write_logins(users, (WRITER,))
    command = (*embedded_command(tmp_path / "data", 0, users, 512), "--ready-file", str(ready))
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for("the ready file", ready.exists, START_S)
        found = msgspec.json.decode(ready.read_bytes())
        address = ServerAddress(host=found["host"], port=found["port"], writer=WRITER, pid=found["pid"])
        with client(address) as asked:
            assert asked.execute("SELECT timezone()") == [("UTC",)]
        assert found["pid"] == process.pid
    finally:
        process.terminate()
        assert process.wait(START_S) == 0


def test_sigterm_lets_a_running_statement_finish_and_ends_idle_clients(tmp_path: Path) -> None:
    answer: list[object] = []

    def ask(address: ServerAddress) -> None:
        with client(address) as busy:
            answer.extend(busy.execute("SELECT sum(sleepEachRow(0.1)) FROM numbers(15) SETTINGS max_block_size = 1"))

    with server(tmp_path, free_port()) as (handle, address), client(address) as idle:
        idle.execute("SELECT 1")
        asking = threading.Thread(target=ask, args=(address,))
        asking.start()
        here = "position(query, 'sum(sleep') > 0 AND position(query, 'processes') = 0"
        sql = f"SELECT count() FROM system.processes WHERE {here}"  # noqa: S608 - no text from outside
        wait_for("the statement to run", lambda: idle.execute(sql) == [(1,)])
        os.kill(handle.pid, signal.SIGTERM)
        asking.join(10)
        wait_for("the server to end", lambda: not is_running(handle.pid))
    assert answer == [(0,)]
    assert "stopped" in (tmp_path / "log").read_text()
    assert not (tmp_path / "data" / "holder.json").read_text()


def test_a_statement_that_does_not_end_is_killed_after_the_grace(tmp_path: Path) -> None:
    codes: list[int] = []

    def ask(address: ServerAddress) -> None:
        with client(address) as busy, pytest.raises(ServerException) as caught:
            busy.execute("SELECT sum(sleepEachRow(0.1)) FROM numbers(1000) SETTINGS max_block_size = 1")
        codes.append(caught.value.code)

    with server(tmp_path, free_port()) as (handle, address):
        asking = threading.Thread(target=ask, args=(address,))
        asking.start()
        with client(address) as admin:
            sql = "SELECT count() FROM system.processes WHERE position(query, 'sum(sleep') > 0"
            wait_for("the statement to run", lambda: admin.execute(sql)[0][0] >= 2)
        started = time.monotonic()
        os.kill(handle.pid, signal.SIGTERM)
        wait_for("the server to end", lambda: not is_running(handle.pid), 12)
        assert time.monotonic() - started > 4
        asking.join(10)
    assert codes == [394]


def one_row(name: str, type_name: str, value: bytes) -> bytes:
    """Return the packet of a client that holds one row of one column."""
    block = wire.varint(1) * 2 + wire.text(name) + wire.text(type_name) + value
    return bytes([packets.Client.DATA]) + packets.data(block)[1:]


@pytest.mark.parametrize(
    ("bad", "code"),
    [(one_row("b", "UInt8", b"\1"), 10), (one_row("a", "Array(UInt8)", (0).to_bytes(8, "little")), 43)],
)
def test_after_a_bad_block_the_rest_is_read_nothing_is_stored_and_the_connection_goes_on(
    clickhouse_server: ServerAddress, database: str, bad: bytes, code: int
) -> None:
    if not clickhouse_server.embedded:
        pytest.skip("a real server has its own codes for this")
    with client(clickhouse_server, database=database) as writer:
        writer.execute("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
        good = one_row("a", "UInt8", b"\7")
        writer.connection.send_query("INSERT INTO t VALUES")
        writer.connection.send_external_tables([])
        writer.receive_sample_block()
        writer.connection.socket.sendall(good + bad + good)
        writer.connection.send_data(RowOrientedBlock())
        packet = writer.connection.receive_packet()
        while packet.type == packets.Server.PROGRESS:
            packet = writer.connection.receive_packet()
        assert packet.exception.code == code
        writer.connection.is_query_executing = False
        assert writer.execute("SELECT count() FROM t") == [(0,)]


def test_a_client_that_leaves_in_the_middle_of_an_insert_stores_nothing(tmp_path: Path) -> None:
    with server(tmp_path, free_port()) as (_, address), client(address) as admin:
        admin.execute("CREATE DATABASE d")
        admin.execute("CREATE TABLE d.t (a UInt8) ENGINE = MergeTree ORDER BY a")
        leaving = Client(address.host, port=address.port, user=WRITER.name, password=WRITER.password or "")
        leaving.execute("SELECT 1")
        leaving.connection.send_query("INSERT INTO d.t VALUES")
        leaving.connection.send_external_tables([])
        leaving.receive_sample_block()
        whole = one_row("a", "UInt8", b"\7")
        leaving.connection.socket.sendall(whole + whole[:-1])
        leaving.disconnect()
        sql = "SELECT count() FROM system.processes WHERE query NOT LIKE '%processes%'"
        wait_for("the insert to be dropped", lambda: admin.execute(sql) == [(0,)])
        assert admin.execute("SELECT count() FROM d.t") == [(0,)]


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0", b"\xff" * 40, b"\x16\x03\x01\x02\0", b"\0" + wire.varint(1 << 60)],
)
def test_garbage_is_answered_or_dropped_and_the_server_lives(clickhouse_server: ServerAddress, garbage: bytes) -> None:
    if not clickhouse_server.embedded:
        pytest.skip("what a real server says to garbage is its own affair")
    with closing(socket.create_connection((clickhouse_server.host, clickhouse_server.port), 5)) as raw:
        raw.sendall(garbage)
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(4096):
            pass
    with client(clickhouse_server) as asked:
        assert asked.execute("SELECT 1") == [(1,)]


def test_compression_is_refused_with_the_remedy(clickhouse_server: ServerAddress) -> None:
    if not clickhouse_server.embedded:
        pytest.skip("a real server compresses")
    with client(clickhouse_server, compression="lz4") as packed, pytest.raises(ServerException) as caught:
        packed.execute("SELECT 1")
    assert caught.value.code == 48
    assert "compression=False" in str(caught.value)


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM file('x')", "SELECT 1 INTO OUTFILE 'x'", "CREATE TABLE k (a UInt8) ENGINE = Kafka"]
)
def test_the_ways_out_are_closed_for_the_writer_too(clickhouse_server: ServerAddress, sql: str) -> None:
    if not clickhouse_server.embedded:
        pytest.skip("a real server is guarded by its own rights")
    with client(clickhouse_server) as writer, pytest.raises(ServerException) as caught:
        writer.execute(sql)
    assert caught.value.code == 497


def test_the_engine_itself_denies_what_the_words_would_miss(clickhouse_server: ServerAddress) -> None:
    if not clickhouse_server.embedded:
        pytest.skip("a real server has no such database")
    with client(clickhouse_server) as writer:
        for sql in ("SELECT * FROM `/etc/passwd`", "SELECT * FROM default.`/etc/passwd`", "SYSTEM SHUTDOWN"):
            with pytest.raises(ServerException) as caught:
                writer.execute(sql)
            assert caught.value.code in (60, 497), sql
        assert writer.execute("SELECT 1") == [(1,)]


def test_a_type_without_a_measure_is_refused_before_rows_are_sent(
    clickhouse_server: ServerAddress, database: str
) -> None:
    if not clickhouse_server.embedded:
        pytest.skip("a real server takes states")
    with client(clickhouse_server, database=database) as writer:
        writer.execute("CREATE TABLE s (a AggregateFunction(sum, UInt8)) ENGINE = MergeTree ORDER BY tuple()")
        with pytest.raises(ServerException) as caught:
            writer.execute("INSERT INTO s VALUES", [(b"",)])
        assert caught.value.code == 48


def test_it_starts_within_a_second_and_a_half_and_stays_small(tmp_path: Path) -> None:
    started = time.monotonic()
    with server(tmp_path, free_port()) as (handle, _):
        took_s = time.monotonic() - started
        status = Path(f"/proc/{handle.pid}/status").read_text()
        resident_mib = int(status.partition("VmRSS:")[2].split()[0]) // 1024
    print(f"ready after {took_s:.2f} s, {resident_mib} MiB resident")  # noqa: T201 - the figure itself
    assert resident_mib < IDLE_MIB
    assert took_s < 5.0  # 0.5 s alone on two cores; the bar leaves room for a loaded machine


def test_a_reader_that_is_slow_gets_every_row(clickhouse_server: ServerAddress) -> None:
    login = clickhouse_server.writer
    with closing(socket.create_connection((clickhouse_server.host, clickhouse_server.port), 5)) as raw:
        reader = Reader(raw.recv, limit_bytes=64 << 20)
        raw.sendall(packets.write_hello(packets.Hello("slow", packets.REVISION, "", login.name, login.password or "")))
        reader.varint()
        packets.read_server_hello(reader)
        raw.sendall(packets.write_query("SELECT number, toString(number) FROM numbers(600000)"))
        time.sleep(1.5)
        assert count_rows(reader) == 600_000


def count_rows(reader: Reader) -> int:
    rows = 0
    while True:
        reader.forget()
        kind = reader.varint()
        if kind == packets.Server.END_OF_STREAM:
            return rows
        if kind == packets.Server.DATA:
            packets.skip_data_head(reader)
            rows += read_block(reader).rows
        elif kind == packets.Server.PROGRESS:
            reader.skip(5)
        else:
            pytest.fail(f"packet {kind}")
