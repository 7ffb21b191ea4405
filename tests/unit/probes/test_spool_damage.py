"""A spool file that is broken: what can be read goes on, what cannot is declared, and the agent never stops for it."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from support.spools import HEALTH, TOPIC, declared, fill, manual_clock, noise, pending, text

from probes.outbox import open_outbox
from probes.spool import Spool, open_spool
from probes.spool_reader import SpoolKey, open_reader
from probes.spool_salvage import new_path, rebuild
from schemas.clock import ManualClock

PAGE = 4096


def values_of(count: int) -> list[bytes]:
    """Return values of three kinds: small, packed over several pages, and some that share a page."""
    return [text(9_000, seed) if seed % 3 == 0 else noise(40 + seed, seed) for seed in range(count)]


def filled(path: Path, clock: ManualClock, count: int = 60) -> dict[SpoolKey, bytes]:
    """Make a file whose first third was acknowledged, all of it in the main file; return what is to be sent."""
    values = values_of(count)
    with open_spool(path, clock=clock) as spool:
        keys = [key for at in range(0, count, 20) for key in fill(spool, values[at : at + 20])]
        spool.acknowledge(keys[: count // 3])
        spool.store.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return dict(zip(keys[count // 3 :], values[count // 3 :], strict=True))


def after_reading(spool: Spool, clock: ManualClock) -> dict[SpoolKey, bytes]:
    """Return what is pending once the readers' finds have been declared, as the publisher does it."""
    with open_reader(spool.path, clock=clock) as reader:
        try:
            pending(reader)
        except sqlite3.DatabaseError:
            spool.check()
    with open_reader(spool.path, clock=clock) as reader:
        found = pending(reader)
        spool.drop(reader.damaged, "damaged")
    return found


def flip(path: Path, chance: Random, bits: int) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(bits):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def wipe_page(path: Path, chance: Random, _: int) -> None:
    content = bytearray(path.read_bytes())
    page = chance.randrange(len(content) // PAGE)
    content[page * PAGE : (page + 1) * PAGE] = bytes([chance.randrange(256)]) * PAGE
    path.write_bytes(content)


def cut(path: Path, chance: Random, _: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content) // 2, len(content))])


@pytest.mark.parametrize(("harm", "rounds"), [(flip, 120), (wipe_page, 40), (cut, 20)])
def test_f18_after_any_damage_a_record_is_right_or_declared_and_the_agent_goes_on(
    tmp_path: Path, harm: Callable[[Path, Random, int], None], rounds: int
) -> None:
    clock = manual_clock()
    whole = tmp_path / "whole.db"
    wanted = filled(whole, clock)
    for seed in range(rounds):
        chance = Random(seed)  # noqa: S311 - a test wants the same damage again
        path = tmp_path / f"{seed}" / "s.db"
        path.parent.mkdir()
        shutil.copy(whole, path)
        harm(path, chance, chance.choice((1, 1, 8)))
        with open_spool(path, clock=clock) as spool, open_outbox(spool, clock=clock) as outbox:
            assert outbox.flush(10.0)
            found = after_reading(spool, clock)
            assert {key: wanted.get(key, value) for key, value in found.items()} == found, f"seed {seed}"
            assert wanted.keys() - found.keys() <= declared(spool), f"seed {seed}"
            assert [key.seq for key in fill(spool, [b"on"])] == [0]


def test_f18_one_wiped_page_costs_the_records_on_it_alone(tmp_path: Path) -> None:
    clock = manual_clock()
    wanted = filled(tmp_path / "whole.db", clock)
    lost = []
    with closing(sqlite3.connect(tmp_path / "whole.db")) as db:
        db.execute("PRAGMA writable_schema = OFF")
        roots = {page for (page,) in db.execute("SELECT rootpage FROM sqlite_master")}
    for page in range(1, (tmp_path / "whole.db").stat().st_size // PAGE):
        if page + 1 in roots:
            continue
        path = tmp_path / f"{page}.db"
        content = bytearray((tmp_path / "whole.db").read_bytes())
        content[page * PAGE : (page + 1) * PAGE] = b"\xff" * PAGE
        path.write_bytes(content)
        with open_spool(path, clock=clock) as spool:
            spool.check()
            found = after_reading(spool, clock)
            assert wanted.keys() - found.keys() == declared(spool) & wanted.keys()
            lost.append(len(wanted.keys() - found.keys()))
    assert max(lost) <= 40  # a page full of the smallest
    assert sum(lost) / len(lost) < 4


def test_f18_a_flipped_bit_in_a_value_is_found_by_its_check_sum_and_only_that_record_is_declared(
    tmp_path: Path,
) -> None:
    clock = manual_clock()
    with open_spool(tmp_path / "s.db", clock=clock) as spool, open_reader(spool.path, clock=clock) as reader:
        keys = fill(spool, [noise(900, seed) for seed in range(5)])
        spool.store.connection().execute("UPDATE record SET value = substr(value, 1, 899) || x'00' WHERE seq = 2")
        assert list(pending(reader)) == [key for key in keys if key.seq != 2]
        spool.drop(reader.damaged, "damaged")
        assert declared(spool) == {keys[2]}
        assert spool.unsendable == 1


@pytest.mark.parametrize("column", ["seq", "at_ms", "codec", "crc", "chain"])
def test_f18_what_names_a_record_is_under_its_check_sum_too(tmp_path: Path, column: str) -> None:
    clock = manual_clock()
    with open_spool(tmp_path / "s.db", clock=clock) as spool, open_reader(spool.path, clock=clock) as reader:
        fill(spool, [b"v"] * 3)
        fill(spool, [b"v"], HEALTH)
        bad = {"chain": 2, "seq": 77}.get(column, 1)
        spool.store.connection().execute(f"UPDATE record SET {column} = ? WHERE seq = 1", (bad,))  # noqa: S608 - a test's own
        assert len(pending(reader)) == 3
        assert len(reader.damaged) == 1


def test_f18_a_torn_log_gives_back_whole_groups_in_order(tmp_path: Path) -> None:
    clock = manual_clock()
    path = tmp_path / "s.db"
    ends: list[int] = []
    with open_spool(path, clock=clock) as spool:
        for group in range(6):
            fill(spool, [text(3_000, group)] * 5)
            ends.append((group + 1) * 5)
        parts = {name: (tmp_path / name).read_bytes() for name in ("s.db", "s.db-wal")}
    for at in range(0, len(parts["s.db-wal"]), 1_531):
        torn = tmp_path / f"{at}" / "s.db"
        torn.parent.mkdir()
        torn.write_bytes(parts["s.db"])
        torn.with_name("s.db-wal").write_bytes(parts["s.db-wal"][:at])
        with open_spool(torn, clock=clock) as spool, open_reader(torn, clock=clock) as reader:
            spool.check()
            seqs = sorted(key.seq for key in pending(reader))
            assert seqs == list(range(len(seqs)))
            assert len(seqs) in (0, *ends)


def test_f18_damage_that_a_reader_meets_first_is_repaired_by_the_writer(tmp_path: Path) -> None:
    clock = manual_clock()
    path = tmp_path / "s.db"
    wanted = filled(path, clock)
    content = bytearray(path.read_bytes())
    content[-PAGE:] = b"\xff" * PAGE
    with open_spool(path, clock=clock) as spool, open_outbox(spool, clock=clock) as outbox:
        assert outbox.flush(5.0)
        spool.store.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path.write_bytes(content)
        spool.store.connection().execute("PRAGMA shrink_memory")
        outbox.check_file()
        assert outbox.flush(5.0)
        assert spool.store.replaced == 1
        found = after_reading(spool, clock)
        assert wanted.keys() == found.keys() | (declared(spool) & wanted.keys())


def test_f18_of_damaged_files_the_newest_stays_as_evidence(tmp_path: Path) -> None:
    clock = manual_clock()
    path = tmp_path / "s.db"
    for _ in range(3):
        path.write_bytes(b"this was a spool" * 600)
        with open_spool(path, clock=clock) as spool:
            fill(spool, [b"v"])
        clock.advance_s(1)
    assert len({kept.name.removesuffix("-wal") for kept in tmp_path.glob("s.db.damaged-*")}) == 1


@pytest.mark.parametrize("moment", ["before any rename", "between the renames"])
def test_f18_a_replacement_cut_off_by_a_kill_is_taken_up(tmp_path: Path, moment: str) -> None:
    clock = manual_clock()
    path = tmp_path / "s.db"
    wanted = filled(path, clock)
    rebuild(path, {})
    if moment == "between the renames":
        path.rename(tmp_path / "s.db.damaged-1")
    with open_spool(path, clock=clock) as spool, open_reader(path, clock=clock) as reader:
        assert pending(reader) == wanted
        assert not declared(spool)
        assert not new_path(path).exists()


FORMER = """
CREATE TABLE chain (id INTEGER PRIMARY KEY, spool_id TEXT NOT NULL, topic TEXT NOT NULL, last_seq INTEGER NOT NULL,
    UNIQUE (spool_id, topic));
CREATE TABLE record (id INTEGER PRIMARY KEY, chain INTEGER NOT NULL, seq INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    acked INTEGER NOT NULL DEFAULT 0, value BLOB NOT NULL, headers BLOB NOT NULL, UNIQUE (chain, seq));
CREATE TABLE dropped (chain INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL);
INSERT INTO chain VALUES (3, 'old-run', 'isochrone.summary.v1', 5);
INSERT INTO dropped VALUES (3, 0, 1);
INSERT INTO record VALUES (9, 3, 3, 1800000000000, 1, x'61', x'9192a16bc40131');
INSERT INTO record VALUES (10, 3, 4, 1800000000000, 0, x'62', x'9192a16bc40131');
INSERT INTO record VALUES (11, 3, 5, 1800000000000, 0, x'63', x'9192a16bc40131');
PRAGMA user_version = 1;
"""


def test_a_file_of_the_former_version_comes_over_with_its_reserve(tmp_path: Path) -> None:
    clock = manual_clock()
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(FORMER)
    with open_spool(path, clock=clock) as spool, open_reader(path, clock=clock) as reader:
        old = [SpoolKey("old-run", TOPIC, seq) for seq in (4, 5)]
        assert pending(reader) == {old[0]: b"b", old[1]: b"c"}
        assert [(row.value, row.headers) for row in reader.rows("old-run", TOPIC, 3, 3)] == [(b"a", [("k", b"1")])]
        assert [(state.last_seq, state.acked_seq, state.dropped) for state in spool.states()] == [(5, 3, [(0, 1)])]
    with open_spool(path, clock=clock) as again, open_reader(path, clock=clock) as reader:
        assert len(pending(reader)) == 2
        assert again.store.replaced == 0


def test_f20_a_copied_or_restored_folder_is_noticed_and_gives_no_seq_twice(tmp_path: Path) -> None:
    clock = manual_clock()
    home, copy = tmp_path / "home", tmp_path / "copy"
    with open_spool(home / "s.db", clock=clock) as spool:
        keys = fill(spool, [b"v"] * 3)
        assert not spool.store.moved
    with open_spool(home / "s.db", clock=clock) as again:
        assert not again.store.moved
    shutil.copytree(home, copy)
    with open_spool(copy / "s.db", clock=clock) as clone, open_reader(clone.path, clock=clock) as reader:
        assert clone.store.moved
        assert clone.spool_id not in {spool.spool_id, again.spool_id}
        assert set(pending(reader)) == set(keys), "the same records under the same names: a second sending is harmless"


def test_a_file_taken_away_under_the_agent_is_begun_anew_and_what_went_is_declared(tmp_path: Path) -> None:
    clock = manual_clock()
    with open_spool(tmp_path / "s.db", clock=clock) as spool:
        gone = fill(spool, [b"v"] * 3)
        for part in tmp_path.glob("s.db*"):
            part.unlink()
        (after,) = fill(spool, [b"v"])
        assert after.seq == 3
        assert declared(spool) == set(gone)
