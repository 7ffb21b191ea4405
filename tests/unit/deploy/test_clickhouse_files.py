"""What the server reads and writes beside its data: logins, configuration, lock, settings of a query."""

import os
import stat
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.embedded.clickhouse import realserver
from deploy.embedded.clickhouse.blocks import Block, Column
from deploy.embedded.clickhouse.engineconfig import GRANTS, write_config
from deploy.embedded.clickhouse.faults import EngineFault, fault_of
from deploy.embedded.clickhouse.holder import DirectoryHeldError, hold, read_holder, require_free_directory
from deploy.embedded.clickhouse.inserter import Inserter
from deploy.embedded.clickhouse.inserts import Insert
from deploy.embedded.clickhouse.launch import clickhouse_part, embedded_command
from deploy.embedded.clickhouse.logins import Login, find_login, load_logins, write_logins
from deploy.embedded.clickhouse.settings import SettingNameError, kept, step
from deploy.ports import free_port
from schemas.clock import ManualClock
from schemas.errors import ConfigError

WRITER = Login(name="isochrone", password="w")
READER = Login(name="isochrone_reader", password="r", readonly=True)


def parse(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - our own text


def test_logins_come_back_as_hashes_in_a_file_of_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    write_logins(path, (WRITER, READER))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert '"w"' not in path.read_text()
    found = load_logins(path)
    assert [(each.name, each.readonly) for each in found] == [("isochrone", False), ("isochrone_reader", True)]
    assert find_login(found, "isochrone", "w") == found[0]
    assert find_login(found, "isochrone", "r") is None
    assert find_login(found, "nobody", "") is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("login = []", "nobody could come in"),
        ('[[login]]\nname = "a"', "either `password` or `password_sha256`"),
        ('[[login]]\nname = "a"\npassword = "x"\npassword_sha256 = "y"', "either"),
        ('[[login]]\nname = "a"\npassword_sha256 = "y"', "64 lower-case"),
        ('[[login]]\nname = "a b"\npassword = "x"', "begins with a letter"),
        ('[[login]]\nname = "a"\npassword = "x"\n[[login]]\nname = "a"\npassword = "x"', "named twice"),
        ('[[login]]\nname = "a"\npassword = "x"\nread_only = true', "did you mean `readonly`"),
    ],
)
def test_a_users_file_that_breaks_a_rule_is_named_with_the_rule(tmp_path: Path, text: str, rule: str) -> None:
    path = tmp_path / "users.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"users\.toml") as caught:
        load_logins(path)
    assert rule in str(caught.value)


def test_a_users_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        load_logins(tmp_path / "none.toml")


def test_a_directory_has_one_holder_and_the_next_hears_which(tmp_path: Path) -> None:
    with hold(tmp_path, ManualClock(wall_ns=1_700_000_000_000_000_000)):
        with pytest.raises(DirectoryHeldError) as caught, hold(tmp_path, ManualClock()):
            pass
        assert f"pid {os.getpid()} since 2023-11-14T22:13:20+00:00" in str(caught.value)
        with pytest.raises(DirectoryHeldError):
            require_free_directory(tmp_path)
    require_free_directory(tmp_path)
    assert read_holder(tmp_path) is None


def test_the_engine_is_given_its_caps_and_no_way_out(tmp_path: Path) -> None:
    server = parse(write_config(tmp_path, 1 << 30).read_text())
    assert server.findtext("max_server_memory_usage") == str(1 << 30)
    users = parse(Path(str(server.findtext("users_config"))).read_text())
    assert users.findtext("profiles/default/max_memory_usage") == str(3 << 28)
    assert users.findtext("users/default/grants/query") == f"GRANT {GRANTS} ON *.*"
    for right in ("FILE", "URL", "REMOTE", "SHUTDOWN", "SOURCES", "ALL", "ACCESS MANAGEMENT"):
        assert right not in GRANTS


def test_a_real_server_gets_loopback_the_native_port_alone_and_the_same_logins(tmp_path: Path) -> None:
    config = parse(realserver.write_files(tmp_path / "real", 9123, (WRITER, READER), 512).read_text())
    assert [(each.tag, each.text) for each in config if "port" in each.tag or "host" in each.tag] == [
        ("listen_host", "127.0.0.1"),
        ("tcp_port", "9123"),
    ]
    assert config.findtext("timezone") == "UTC"
    assert config.findtext("max_server_memory_usage") == str(512 << 20)
    users = parse(Path(str(config.findtext("user_directories/users_xml/path"))).read_text())
    assert {each.tag for each in users.findall("users/*")} == {"isochrone", "isochrone_reader"}
    assert users.findtext("users/isochrone/password_sha256_hex") == WRITER.sha256
    assert users.findtext("users/isochrone_reader/profile") == "reader"
    assert users.findtext("profiles/reader/readonly") == "2"
    assert users.findtext("profiles/default/readonly") is None


def test_a_real_server_is_run_by_its_own_name(tmp_path: Path) -> None:
    config = tmp_path / "config.xml"
    file = f"--config-file={config}"
    assert realserver.command(Path("/x/clickhouse"), config) == ("/x/clickhouse", "server", file)
    assert realserver.command(Path("/x/clickhouse-server"), config) == ("/x/clickhouse-server", file)


@pytest.mark.parametrize("begun_by_chdb", [False, True])
def test_a_real_server_is_preferred_unless_chdb_began_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun_by_chdb: bool
) -> None:
    binary = tmp_path / "bin" / "clickhouse"
    binary.parent.mkdir()
    binary.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(binary.parent))
    data, port = tmp_path / "data", free_port()
    if begun_by_chdb:
        (data / "engine").mkdir(parents=True)
    part = clickhouse_part(data, port, (WRITER, READER), log_path=tmp_path / "log")
    real = (str(binary), "server", f"--config-file={data / 'server' / 'config.xml'}")
    chdb = embedded_command(data, port, data / "users.toml", 1024)
    assert part.command == (chdb if begun_by_chdb else real)


def test_a_server_nobody_could_ask_is_not_started(tmp_path: Path) -> None:
    hashed = Login(name="isochrone", password_sha256=WRITER.sha256)
    with pytest.raises(ConfigError, match="plain password"):
        clickhouse_part(tmp_path, free_port(), (hashed,), log_path=tmp_path / "log")


@pytest.mark.parametrize(
    ("applied", "wanted", "statement"),
    [
        ({}, {}, None),
        ({"a": "'1'"}, {"a": "'1'"}, None),
        ({}, {"a": "'1'"}, "SET a = '1'"),
        ({"a": "'1'"}, {}, "SET a = DEFAULT"),
        ({"max_threads": "'9'"}, {"a": "'2'"}, "SET max_threads = '4', a = '2'"),
    ],
)
def test_a_setting_goes_back_to_what_held_before_the_query(
    applied: Mapping[str, str], wanted: Mapping[str, str], statement: str | None
) -> None:
    assert step(applied, wanted, {"max_threads": "'4'"}) == statement


def test_a_setting_is_quoted_and_the_servers_own_are_left_out() -> None:
    given = {"a": "it's \\ x", "log_comment": "mine", "output_format_native_encode_types_in_binary_format": "1"}
    assert kept(given) == {"a": "'it\\'s \\\\ x'"}
    with pytest.raises(SettingNameError, match="Unknown setting"):
        kept({"a = 1, readonly": "0"})


def test_an_error_of_the_engine_has_its_code_and_its_text_alone() -> None:
    fault = fault_of("Streaming insert finish failed: Code: 33. DB::Exception: Cannot read. (X) (version 26.9.2.1)")
    assert (fault.code, str(fault)) == (33, "DB::Exception: Cannot read. (X)")
    assert fault_of("").code == 1002
    assert "no reason" in str(fault_of(""))
    denied = "Code: 497. DB::Exception: default: it's necessary to have the grant READ ON FILE. (ACCESS_DENIED)"
    assert fault_of(denied).code == 60


class Forgetful:
    """An engine that takes blocks, reports nothing and holds `held` of the rows."""

    def __init__(self, held: int) -> None:
        self.held = held
        self.ran: list[str] = []

    def run(self, sql: str, result_format: str = "Native") -> bytes:
        self.ran.append(sql)
        return str(self.held).encode() if result_format == "TSVRaw" else b""

    def open_insert(self, head: str) -> "Forgetful":
        self.ran.append(head)
        return self

    def append(self, content: bytes) -> None:
        pass

    def finish(self) -> None:
        pass

    def cancel(self) -> None:
        self.ran.append("cancel")


def insert_two(engine: Forgetful) -> None:
    inserter = Inserter(engine, Insert("INSERT INTO d.t (a)", "d.t", ("a",), None), [Column("a", "UInt8")])
    try:
        inserter.open()
        inserter.append(Block((Column("a", "UInt8"),), 2, b""))
        inserter.finish()
    finally:
        inserter.close()


def test_rows_that_the_engine_lost_silently_are_never_acknowledged() -> None:
    engine = Forgetful(held=1)
    with pytest.raises(EngineFault, match="held 1 of 2 rows") as caught:
        insert_two(engine)
    assert caught.value.code == 241
    assert not any("d.t" in sql for sql in engine.ran)
    assert engine.ran[-1].startswith("DROP TEMPORARY TABLE")


def test_rows_are_carried_over_by_one_statement_and_the_stage_is_dropped() -> None:
    engine = Forgetful(held=2)
    insert_two(engine)
    assert engine.ran[-2].startswith("INSERT INTO d.t (a) SELECT * FROM ")
    assert engine.ran[-1].startswith("DROP TEMPORARY TABLE")
