"""The spool against a model: write, read, acknowledge, ask again, trim, crash, refuse, fill, damage, in any order."""

import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.failing_disk import Faults
from support.spools import declared, fill, manual_clock, noise

from probes import spool_store
from probes.spool import SpoolConfig, open_spool
from probes.spool_again import Stretch, ask_again
from probes.spool_reader import SpoolKey, open_reader

MAX_BYTES = 1 << 18
PAGE = 4096
TOPICS = ("isochrone.summary.v1", "isochrone.health.v1")
sizes = st.lists(st.sampled_from((0, 100, 3_000, 20_000)), min_size=1, max_size=6)


class SpoolModel(RuleBasedStateMachine):
    """What was called written and not acknowledged is pending, with its bytes, or declared dropped, for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = manual_clock()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "0" / "spool.db"
        self.written: dict[SpoolKey, bytes] = {}
        self.acked: set[SpoolKey] = set()
        self.again: set[SpoolKey] = set()
        self.refusing = False
        self.damaged = False  # what was acknowledged may then be declared or sent again; nothing else
        self.count = 0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(spool_store, "connect", Faults(sqlite3.SQLITE_IOERR, lambda _: self.refusing).connect)
        self.open = ExitStack()

    @initialize()
    def begin(self) -> None:
        self.restart()

    @rule()
    def restart(self) -> None:
        self.refusing = False
        self.open.close()
        config = SpoolConfig(max_bytes=MAX_BYTES, reserve_ms=60_000)
        self.spool = self.open.enter_context(open_spool(self.path, clock=self.clock, config=config))
        self.spool.check()

    @rule()
    def crash(self) -> None:
        """Kill -9: what the kernel has of the files, at this moment, and nothing that the process would still do."""
        self.count += 1
        after = self.folder / str(self.count) / "spool.db"
        after.parent.mkdir()
        for part in self.path.parent.glob("spool.db*"):
            if not part.name.endswith((".lock", "-shm")):
                shutil.copy(part, after.parent / part.name)
        self.path = after
        self.restart()

    @rule(topic=st.sampled_from(TOPICS), sizes=sizes)
    def write(self, topic: str, sizes: list[int]) -> None:
        self.count += 1
        values = [noise(size, self.count * 10 + at) for at, size in enumerate(sizes)]
        try:
            keys = fill(self.spool, values, topic)
        except sqlite3.OperationalError:
            assert self.refusing
            return
        assert not self.refusing
        assert not set(keys) & self.written.keys()
        self.written.update(zip(keys, values, strict=True))

    @precondition(lambda self: self.written)
    @rule(step=st.integers(1, 4), offset=st.integers(0, 3))
    def acknowledge(self, step: int, offset: int) -> None:
        some = sorted(self.written)[offset::step]
        with suppress(sqlite3.OperationalError):
            self.spool.acknowledge(some)
            self.acked.update(some)
            self.again.difference_update(some)

    @precondition(lambda self: not self.refusing)
    @rule(first=st.integers(0, 20), topic=st.sampled_from(TOPICS))
    def ask_again(self, first: int, topic: str) -> None:
        marked = ask_again(self.path, Stretch(run=self.spool.spool_id, topic=topic, first=first))
        mine = {key for key in self.acked if key[:2] == (self.spool.spool_id, topic) and key.seq >= first}
        assert marked <= len(mine)
        self.again.update(mine)

    @rule(seconds=st.sampled_from([0.5, 30, 100]))
    def wait_and_trim(self, seconds: float) -> None:
        self.clock.advance_s(seconds)
        with suppress(sqlite3.OperationalError):
            self.spool.trim()

    @rule(seconds=st.sampled_from([-86_400, -5, 5, 86_400 * 400]))
    def step_the_clock(self, seconds: float) -> None:
        self.clock.step_wall_s(seconds)

    @rule(refusing=st.booleans())
    def let_the_disk_refuse(self, refusing: bool) -> None:
        self.refusing = refusing

    @precondition(lambda self: not self.refusing)
    @rule(seed=st.integers(0, 1 << 16))
    def damage(self, seed: int) -> None:
        self.open.close()
        content = bytearray(self.path.read_bytes())
        page = Random(seed).randrange(len(content) // PAGE)  # noqa: S311 - hypothesis gives the seed
        content[page * PAGE : (page + 1) * PAGE] = noise(PAGE, seed)
        self.path.write_bytes(content)
        self.damaged = True
        self.restart()
        self.find_damage()

    def find_damage(self) -> None:
        with open_reader(self.path, clock=self.clock) as reader:
            for lane in ("live", "backlog"):
                reader.pending(10_000, "live" if lane == "live" else "backlog")
            self.spool.drop(reader.damaged, "damaged")

    @invariant()
    def every_record_has_one_fate(self) -> None:
        if self.refusing:
            return
        with open_reader(self.path, clock=self.clock) as reader:
            rows = [*reader.pending(10_000, "live"), *reader.pending(10_000, "backlog")]
        found, dropped = {row.key: row.value for row in rows}, declared(self.spool)
        assert len(rows) == len(found), "in two lanes"
        assert not dropped & found.keys()
        assert all(self.written[key] == value for key, value in found.items())
        owed = self.written.keys() - self.acked
        known = {(state.spool_id, state.topic) for state in self.spool.states()}
        assert {key for key in owed - found.keys() if key[:2] in known} <= dropped
        if not self.damaged:
            assert found.keys() - self.again <= owed
            assert dropped <= owed | self.again

    def teardown(self) -> None:
        self.refusing = False
        self.open.close()
        self.patch.undo()
        shutil.rmtree(self.folder)


TestSpoolModel = SpoolModel.TestCase
TestSpoolModel.settings = settings(max_examples=25, stateful_step_count=25)
