"""The spool: seqs without gaps, nothing forgotten before its acknowledgement, damage never stops the agent."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from probes.spool import Spool, SpoolConfig, open_spool
from probes.spool_group import Entry, Make
from probes.spool_reader import SpoolKey, SpoolReader, open_reader
from schemas.clock import ManualClock
from schemas.errors import ConfigError, UnavailableError

TOPIC = "isochrone.summary.v1"
HEADERS = [("isochrone-key", b"k1")]


def saying(value: bytes) -> Make:
    return lambda seq: (value + b"%d" % seq, HEADERS)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_ns=1_800_000_000 * 10**9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def spool(path: Path, clock: ManualClock) -> Iterator[Spool]:
    with open_spool(path, clock=clock) as opened:
        yield opened


@pytest.fixture
def reader(spool: Spool, clock: ManualClock) -> Iterator[SpoolReader]:
    with open_reader(spool.path, clock=clock) as opened:
        yield opened


def seqs(reader: SpoolReader, lane: str = "live") -> list[int]:
    return [row.key.seq for row in reader.pending(1000, "live" if lane == "live" else "backlog")]


def test_each_topic_of_a_run_counts_from_zero(spool: Spool) -> None:
    assert [spool.append(topic, saying(b"x")) for topic in (TOPIC, "other", TOPIC)] == [0, 0, 1]


def test_a_record_comes_back_as_it_was_spooled(spool: Spool, reader: SpoolReader) -> None:
    spool.append(TOPIC, saying(b"v"))
    (row,) = reader.pending(10, "live")
    assert (row.key, row.value, row.headers) == (SpoolKey(spool.spool_id, TOPIC, 0), b"v0", HEADERS)


def test_an_acknowledged_record_is_never_pending_again_and_stays_as_a_reserve(
    spool: Spool, reader: SpoolReader
) -> None:
    spool.append(TOPIC, saying(b"v"))
    spool.acknowledge([SpoolKey(spool.spool_id, TOPIC, 0), SpoolKey("elsewhere", TOPIC, 0)])
    assert seqs(reader) == []
    assert [row.value for row in reader.rows(spool.spool_id, TOPIC, 0, 5)] == [b"v0"]


def test_a_failing_make_uses_up_no_seq(spool: Spool) -> None:
    def broken(_: int) -> tuple[bytes, list[tuple[str, bytes]]]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        spool.append_all([Entry(spool.spool_id, TOPIC, saying(b"v")), Entry(spool.spool_id, TOPIC, broken)])
    assert spool.append(TOPIC, saying(b"v")) == 0


def test_old_records_wait_in_the_backlog_lane(spool: Spool, reader: SpoolReader, clock: ManualClock) -> None:
    spool.append(TOPIC, saying(b"v"))
    assert seqs(reader) == [0]
    for _ in range(15):
        clock.advance_s(4)
        assert seqs(reader) == [0]
    spool.append(TOPIC, saying(b"v"))
    assert (seqs(reader), seqs(reader, "backlog")) == ([0, 1], [])
    clock.advance_s(2)
    assert (seqs(reader), seqs(reader, "backlog")) == ([1], [0])


def test_records_in_flight_are_not_handed_out_twice(spool: Spool, reader: SpoolReader) -> None:
    spool.append_all([Entry(spool.spool_id, TOPIC, saying(b"v"))] * 3)
    skipped = reader.pending(2, "live", skip={SpoolKey(spool.spool_id, TOPIC, 0)})
    assert [row.key.seq for row in skipped] == [1, 2]


def test_a_new_run_has_a_new_id_and_keeps_what_the_dead_one_left(path: Path, clock: ManualClock) -> None:
    with open_spool(path, clock=clock) as first:
        first.append(TOPIC, saying(b"old"))
    with open_spool(path, clock=clock) as second, open_reader(path, clock=clock) as reader:
        assert second.append(TOPIC, saying(b"new")) == 0
        assert [row.value for row in reader.pending(10, "live")] == [b"old0", b"new0"]
        assert [(state.spool_id, state.last_seq) for state in second.states()] == [
            (second.spool_id, 0),
            (first.spool_id, 0),
        ]


def test_a_state_says_how_far_everything_is_acknowledged(spool: Spool) -> None:
    spool.append_all([Entry(spool.spool_id, TOPIC, saying(b"v"))] * 4)
    spool.acknowledge([SpoolKey(spool.spool_id, TOPIC, seq) for seq in (0, 1, 3)])
    (state,) = spool.states()
    assert (state.last_seq, state.acked_seq, state.dropped) == (3, 1, [])


def test_a_state_told_inside_a_group_counts_what_the_group_wrote_before(spool: Spool) -> None:
    told: list[int] = []

    def telling(_: int) -> tuple[bytes, list[tuple[str, bytes]]]:
        told.extend(state.last_seq for state in spool.states() if state.topic == TOPIC)
        return b"", []

    spool.append(TOPIC, saying(b"v"))
    spool.append_all([Entry(spool.spool_id, TOPIC, saying(b"v")), Entry(spool.spool_id, "health", telling)])
    assert told == [1]


def test_the_reserve_is_forgotten_after_its_time_and_finished_runs_with_it(path: Path, clock: ManualClock) -> None:
    with open_spool(path, clock=clock) as first:
        first.append(TOPIC, saying(b"v"))
        first.acknowledge([SpoolKey(first.spool_id, TOPIC, 0)])
    clock.advance_s(86_401)
    with open_spool(path, clock=clock) as second:
        second.append(TOPIC, saying(b"v"))
        second.trim()
        assert [state.spool_id for state in second.states()] == [second.spool_id]


def test_unsent_records_are_never_trimmed(spool: Spool, reader: SpoolReader, clock: ManualClock) -> None:
    spool.append(TOPIC, saying(b"v"))
    clock.advance_s(10 * 86_400)
    spool.trim()
    assert seqs(reader, "backlog") == [0]


def test_a_full_spool_gives_up_the_reserve_first_then_the_oldest_and_says_which(path: Path, clock: ManualClock) -> None:
    config = SpoolConfig(max_bytes=262_144)
    chance = Random(4)  # noqa: S311 - bytes that no packing makes smaller
    with open_spool(path, clock=clock, config=config) as spool, open_reader(path, clock=clock) as reader:
        for _ in range(4):
            spool.append(TOPIC, saying(chance.randbytes(40_000)))
        spool.acknowledge([SpoolKey(spool.spool_id, TOPIC, 2)])
        spool.append(TOPIC, saying(chance.randbytes(40_000)))
        assert seqs(reader) == [0, 1, 3, 4]
        for _ in range(3):
            spool.append(TOPIC, saying(chance.randbytes(40_000)))
        assert seqs(reader) == [3, 4, 5, 6, 7]
        assert spool.states()[0].dropped == [(0, 1)]
        assert spool.states()[0].acked_seq == 2
    with open_spool(path, clock=clock) as again:
        assert again.states()[0].dropped == [(0, 1)]


def test_two_agents_never_share_a_spool(path: Path, spool: Spool, clock: ManualClock) -> None:
    assert spool.path == path
    with pytest.raises(UnavailableError, match="held by process"), open_spool(path, clock=clock):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="folder"), open_spool(tmp_path / "file" / "spool.db", clock=clock):
        pass


def test_a_newer_file_is_refused_with_the_remedy(path: Path, clock: ManualClock) -> None:
    with open_spool(path, clock=clock):
        pass
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigError, match="upgrade"), open_spool(path, clock=clock):
        pass


def garbage(path: Path) -> None:
    path.write_bytes(b"this was a spool" * 600)


def flipped_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(content)


def flipped_end(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-4096:-4000] = b"\xff" * 96  # the head of a page that opening the file does not need
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [garbage, flipped_page, flipped_end])
def test_a_damaged_file_is_set_aside_and_the_agent_goes_on(
    damage: Callable[[Path], None], path: Path, clock: ManualClock
) -> None:
    with open_spool(path, clock=clock) as spool:
        spool.append_all([Entry(spool.spool_id, TOPIC, saying(b"v" * 900))] * 50)
    damage(path)
    with open_spool(path, clock=clock) as spool:
        assert spool.append(TOPIC, saying(b"v")) == 0
    assert [kept.name for kept in path.parent.glob("spool.db.damaged-*")]


def test_damage_while_running_keeps_the_run_and_declares_what_went_with_the_file(
    path: Path, clock: ManualClock
) -> None:
    with open_spool(path, clock=clock) as spool:
        spool.append_all([Entry(spool.spool_id, TOPIC, saying(b"v" * 900))] * 50)
        spool.store.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        garbage(path)
        spool.store.connection().execute(
            "PRAGMA shrink_memory"
        )  # what SQLite still remembers would hide the damage for a while
        assert spool.append(TOPIC, saying(b"v")) == 50
        (state,) = spool.states()
        assert (state.last_seq, state.dropped) == (50, [(0, 49)])
