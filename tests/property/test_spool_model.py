"""The spool against a model in a dozen lines: append, acknowledge, drop, trim, reopen in any order."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from probes.spool import SpoolConfig, open_spool
from probes.spool_group import Entry, Make
from probes.spool_reader import SpoolKey, open_reader
from schemas.clock import ManualClock

MAX_BYTES = 262_144
TOPICS = ("isochrone.summary.v1", "isochrone.health.v1")


def make_of(value: bytes) -> Make:
    return lambda _: (value, [])


class SpoolModel(RuleBasedStateMachine):
    """What was appended and not acknowledged is pending or declared dropped, for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(wall_ns=1_800_000_000 * 10**9)
        self.folder = tempfile.TemporaryDirectory()
        self.appended: dict[SpoolKey, bytes] = {}
        self.acked: set[SpoolKey] = set()
        self.open = ExitStack()
        self.reopen()

    @rule()
    def reopen(self) -> None:
        self.open.close()
        path = Path(self.folder.name) / "spool.db"
        config = SpoolConfig(max_bytes=MAX_BYTES, reserve_ms=1_000)
        self.spool = self.open.enter_context(open_spool(path, clock=self.clock, config=config))
        self.reader = self.open.enter_context(open_reader(path, clock=self.clock))

    @rule(topic=st.sampled_from(TOPICS), sizes=st.lists(st.integers(0, 2_000), min_size=1, max_size=5))
    def append(self, topic: str, sizes: list[int]) -> None:
        values = [bytes(size) for size in sizes]
        entries = [Entry(self.spool.spool_id, topic, make_of(value)) for value in values]
        for seq, value in zip(self.spool.append_all(entries), values, strict=True):
            key = SpoolKey(self.spool.spool_id, topic, seq)
            assert key not in self.appended
            self.appended[key] = value

    @precondition(lambda self: self.appended)
    @rule(choice=st.randoms(use_true_random=False))
    def acknowledge(self, choice: object) -> None:
        keys = sorted(self.appended)
        some = keys[:: 1 + len(keys) // 3] if choice is not None else keys
        self.spool.acknowledge(some)
        self.acked.update(some)

    @rule(seconds=st.sampled_from([0.5, 2, 70]))
    def wait_and_trim(self, seconds: float) -> None:
        self.clock.advance_s(seconds)
        self.spool.trim()

    @invariant()
    def every_record_has_one_fate(self) -> None:
        pending = {row.key: row.value for lane in ("live", "backlog") for row in self.reader.pending(10_000, lane)}
        dropped = {
            SpoolKey(state.spool_id, state.topic, seq)
            for state in self.spool.states()
            for lo, hi in state.dropped
            for seq in range(lo, hi + 1)
        }
        assert not dropped & pending.keys()
        assert set(pending) <= self.appended.keys() - self.acked
        assert all(pending[key] == self.appended[key] for key in pending)
        known = {(state.spool_id, state.topic) for state in self.spool.states()}
        for key in self.appended.keys() - self.acked - pending.keys():
            assert key in dropped or (key.spool_id, key.topic) not in known

    def teardown(self) -> None:
        self.open.close()
        self.folder.cleanup()


TestSpoolModel = SpoolModel.TestCase
TestSpoolModel.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
