"""A slice of the mesh becomes targets, and a configuration file becomes an agent."""

import uuid
from pathlib import Path

import msgspec
import pytest
from support.paced_book import streams_of

from probes.config import AgentConfig
from probes.packets import stream_token
from probes.plan import LoadedSpan, is_loaded, targets_of
from probes.slice_file import SliceFile, read_slice
from schemas.clock import ManualClock
from schemas.config import load
from schemas.errors import ConfigError
from schemas.mesh_file import Limits
from schemas.mesh_slice import ProbeSlice, Schedule, slice_to_json

SPOOL = "018f0000-0000-7000-8000-000000000001"


def slice_of(count: int = 1, *, method: str = "stamp", probe_id: str = "m/p", version: str = "v1") -> ProbeSlice:
    return ProbeSlice(
        mesh="m",
        mesh_version=version,
        probe_id=probe_id,
        schedule=Schedule(slot_ms=10_000, payload_bytes=44),
        limits=Limits(),
        endpoints=(),
        streams=streams_of(count, method=method),
        peers=(),
    )


def test_a_target_sends_from_the_namespace_of_its_source() -> None:
    (target,) = targets_of(slice_of(), spool_id=SPOOL, netns={"a": "ns-a"})
    assert (target.row, target.stream_id, target.netns, target.interval_ns) == (0, 1, "ns-a", 100_000_000)
    assert target.token == stream_token(uuid.UUID(SPOOL), 1)


def test_an_endpoint_without_a_namespace_sends_from_the_agents_own() -> None:
    assert targets_of(slice_of(), spool_id=SPOOL, netns={})[0].netns is None


def test_a_method_without_ports_still_makes_a_valid_target() -> None:
    one = slice_of(method="icmp")
    echo = msgspec.structs.replace(one.streams[0], destination_port=0)
    (target,) = targets_of(msgspec.structs.replace(one, streams=(echo,)), spool_id=SPOOL, netns={})
    assert (target.method, target.port) == ("icmp", 862)


@pytest.mark.parametrize(
    ("span", "loaded"),
    [
        (LoadedSpan(from_ms=12_000, until_ms=15_000, endpoints=("a",)), True),
        (LoadedSpan(from_ms=12_000, until_ms=15_000, endpoints=("b1",)), True),
        (LoadedSpan(from_ms=12_000, until_ms=15_000, streams=(1,)), True),
        (LoadedSpan(from_ms=12_000, until_ms=15_000, endpoints=("c",), streams=(2,)), False),
        (LoadedSpan(from_ms=20_000, until_ms=25_000, endpoints=("a",)), False),
        (LoadedSpan(from_ms=5_000, until_ms=10_000, endpoints=("a",)), False),
    ],
)
def test_a_slot_is_loaded_where_a_test_touches_its_stream_and_its_time(span: LoadedSpan, loaded: bool) -> None:
    assert is_loaded(streams_of(1)[0], [span], start_ms=10_000, end_ms=20_000) is loaded


CONFIG = """
probe_id = "m/p"
slice_path = "slice.json"
key_path = "key.toml"
spool_path = "spool.db"
kafka = { bootstrap = ["127.0.0.1:9092"] }
netns = { a = "ns-a" }
[[throughput]]
id = "t1"
start_ms = 1
source = "a"
destination = "b"
source_address = "127.0.0.1"
destination_address = "127.0.0.1"
set_bps = 10_000_000
[[loaded]]
from_ms = 1
until_ms = 2
endpoints = ["a"]
"""


def test_a_configuration_is_read_whole() -> None:
    config = load(CONFIG, AgentConfig, source="agent.toml")
    assert config.netns == {"a": "ns-a"}
    assert (config.throughput[0].packet_bytes, config.loaded[0].endpoints) == (1_200, ("a",))


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("spool_path", "spol_path", "did you mean `spool_path`"),
        ("bootstrap", "bootstap", "did you mean `bootstrap`"),
        ("set_bps = 10_000_000", "set_bps = 1", ">= 10000"),
    ],
)
def test_a_wrong_configuration_is_refused_with_a_hint(right: str, wrong: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(CONFIG.replace(right, wrong), AgentConfig, source="agent.toml")


def test_a_slice_of_another_probe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slice.json"
    path.write_bytes(slice_to_json(slice_of(probe_id="m/other")))
    with pytest.raises(ConfigError, match="m/other, this is m/p"):
        read_slice(path, "m/p")


def test_no_slice_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="isochrone mesh export --probe m/p"):
        read_slice(tmp_path / "none.json", "m/p")


class Watched:
    """A slice file and its watcher; `look` lets a second pass."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.current = slice_of()
        path.write_bytes(slice_to_json(self.current))
        self.file = SliceFile(path, "m/p", self.clock)

    def look(self, after_s: float = 1.0) -> ProbeSlice | None:
        self.clock.advance_s(after_s)
        return self.file.newer(self.current)


def test_a_changed_slice_is_seen_within_a_second_and_once(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "slice.json")
    assert watched.look() is None
    watched.path.write_bytes(slice_to_json(slice_of(2, version="v2")))
    found = watched.look()
    assert found is not None
    assert found.mesh_version == "v2"
    assert watched.look() is None


def test_a_slice_rewritten_as_it_was_changes_nothing(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "slice.json")
    watched.path.unlink()
    watched.path.write_bytes(slice_to_json(watched.current))
    assert watched.look() is None


@pytest.mark.parametrize("value", [b"{", None])
def test_the_last_good_slice_serves_for_a_day_and_no_longer(tmp_path: Path, value: bytes | None) -> None:
    watched = Watched(tmp_path / "slice.json")
    watched.look()
    if value is None:
        watched.path.unlink()
    else:
        watched.path.write_bytes(value)
    assert watched.look(86_398) is None
    assert not watched.file.is_stale
    assert watched.look(2) is None
    assert watched.file.is_stale


def test_a_good_slice_never_gets_stale(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "slice.json")
    for _ in range(3):
        watched.look(80_000)
    assert not watched.file.is_stale
