"""A full spool: what goes, what is declared, what is kept until it is told, and how much fits."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.spools import HEALTH, TOPIC, declared, file_bytes, fill, manual_clock, noise, pending, saying, text

from probes.spool import Spool, SpoolConfig, open_spool
from probes.spool_file import declare_dropped
from probes.spool_group import Entry
from probes.spool_reader import SpoolKey, SpoolReader, open_reader
from schemas.clock import ManualClock

MIB = 1 << 20


@pytest.fixture
def clock() -> ManualClock:
    return manual_clock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    config = SpoolConfig(max_bytes=MIB, reserve_ms=1_000)
    with open_spool(tmp_path / "s.db", clock=clock, config=config) as opened:
        yield opened


@pytest.fixture
def reader(spool: Spool, clock: ManualClock) -> Iterator[SpoolReader]:
    with open_reader(spool.path, clock=clock) as opened:
        yield opened


@pytest.mark.parametrize("size", [10, 300, 3_000, 60_000])
def test_f17_a_full_spool_drops_the_oldest_and_declares_exactly_what_it_dropped(
    spool: Spool, reader: SpoolReader, size: int
) -> None:
    appended: list[SpoolKey] = []
    while spool.dropped == 0 or len(appended) < 400:
        values = [noise(size, seed) for seed in range(50)]
        appended += fill(spool, values[:25]) + fill(spool, values[25:], HEALTH)
    kept = set(pending(reader))
    assert declared(spool) == set(appended) - kept
    assert len(declared(spool)) == spool.dropped
    order = {key: at for at, key in enumerate(appended)}
    assert max(order[key] for key in declared(spool)) < min(order[key] for key in kept)


def test_f17_the_file_on_the_disk_stays_within_its_limit(spool: Spool) -> None:
    for seed in range(120):
        fill(spool, [noise(30_000, seed), noise(200, seed)])
    log_bytes = 2 * MIB  # the log is folded in every megabyte
    assert file_bytes(spool.path) < MIB * 1.1 + MIB // 16 + log_bytes


def test_f17_the_alarm_is_raised_once_at_70_and_at_90_percent_of_what_waits(spool: Spool) -> None:
    raised = []
    for seed in range(40):
        fill(spool, [noise(30_000, seed)])
        raised.append((spool.alarm.raised[70], spool.alarm.raised[90]))
    assert raised[0] == (0, 0)
    assert raised[-1] == (1, 1)
    assert raised.index((1, 0)) < raised.index((1, 1))
    assert spool.alarm.fill_percent >= 90


def test_f17_a_reserve_alone_raises_no_alarm(spool: Spool) -> None:
    for seed in range(60):
        spool.acknowledge(fill(spool, [noise(30_000, seed)]))
    assert spool.alarm.raised == {70: 0, 90: 0}
    assert spool.dropped == 0


def test_f17_a_dead_run_whose_records_were_dropped_is_remembered_until_that_was_delivered(
    tmp_path: Path, clock: ManualClock
) -> None:
    path, config = tmp_path / "s.db", SpoolConfig(max_bytes=MIB)
    with open_spool(path, clock=clock, config=config) as dead:
        lost = fill(dead, [noise(30_000)])
    with open_spool(path, clock=clock, config=config) as spool:
        for seed in range(40):
            fill(spool, [noise(30_000, seed)])
        assert set(lost) <= declared(spool)
        spool.trim()
        assert set(lost) <= declared(spool), "forgotten before anybody was told"
        untold = fill(spool, [b"not a heartbeat"], HEALTH)
        told = SpoolKey(spool.spool_id, HEALTH, spool.append(HEALTH, lambda _: (b"%d" % len(spool.states()), [])))
        spool.acknowledge(untold)
        spool.trim()
        assert set(lost) <= declared(spool), "forgotten although the heartbeat is still on its way"
        spool.acknowledge([told])
        spool.trim()
        assert not set(lost) & declared(spool)


def test_ranges_that_touch_become_one_however_they_come(spool: Spool) -> None:
    fill(spool, [b""] * 20)
    db = spool.store.connection()
    for lo, hi in [(5, 6), (9, 9), (7, 8), (0, 1), (1, 2), (15, 19)]:
        declare_dropped(db, 1, lo, hi)
    (state,) = spool.states()
    assert state.dropped == [(0, 2), (5, 9), (15, 19)]


def test_a_record_larger_than_the_whole_spool_is_declared_and_harms_nobody(spool: Spool, reader: SpoolReader) -> None:
    fill(spool, [noise(2 * MIB)])
    (after,) = fill(spool, [b"small"])
    assert declared(spool) == {SpoolKey(spool.spool_id, TOPIC, 0)}
    assert set(pending(reader)) == {after}


def test_what_is_packed_comes_back_byte_for_byte(spool: Spool, reader: SpoolReader) -> None:
    values = [b"", b"x", text(511), text(512), text(150_000), noise(150_000), b'{"a":1}' * 20_000]
    keys = fill(spool, values)
    assert pending(reader) == dict(zip(keys, values, strict=True))
    (size,) = spool.store.connection().execute("SELECT length(value) FROM record WHERE seq = 4").fetchone()
    assert size < 150_000 * 0.6


def test_what_was_asked_for_again_goes_before_what_was_never_sent(spool: Spool, reader: SpoolReader) -> None:
    keys = fill(spool, [noise(30_000, seed) for seed in range(10)])
    spool.acknowledge(keys[:5])
    spool.store.connection().execute("UPDATE record SET state = 2 WHERE state = 1")
    for seed in range(26):
        fill(spool, [noise(30_000, seed)])
    assert not declared(spool)
    assert set(keys[5:]) <= set(pending(reader))


def test_a_group_is_whole_or_not_at_all(spool: Spool, reader: SpoolReader) -> None:
    def broken(_: int) -> tuple[bytes, list[tuple[str, bytes]]]:
        raise ZeroDivisionError

    entries = [Entry(spool.spool_id, TOPIC, saying(b"v")), Entry(spool.spool_id, HEALTH, broken)]
    with pytest.raises(ZeroDivisionError):
        spool.append_all(entries)
    assert pending(reader) == {}
    assert [key.seq for key in fill(spool, [b"v"])] == [0]
