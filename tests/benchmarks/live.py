"""Live traffic and how fresh it is: slots sent at a pace as all probes would, and when each message can be read.

The time counts from the broker's append to the row in `batch`, which is written after the windows: who sees it can read
all that it brought.
"""

import uuid
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from benchmarks.national import SLOT_MS, National, Sent
from benchmarks.world import CLOCK

from schemas.clock import Clock, floor_ms, wall_ms
from schemas.records import SummaryBatch

LOOK_S: Final = 0.05  # a wait is told to this
SPREAD_S: Final = 0.5  # the probes' clocks agree; what they do at the end of a slot takes each its time
_SEEN: Final = "SELECT probe_id, seq, received_ms FROM batch WHERE spool_id = %(spool_id)s AND seq >= %(seq)s"


class Pace(NamedTuple):
    """A slot of all probes every `period_s`, which is 10 s in life; the first one that is sent begins at `first_ms`."""

    period_s: float
    first_ms: int


def pace(period_s: float, *, slots: int, clock: Clock = CLOCK) -> Pace:
    """Return a pace whose first `slots` slots lie before now: what goes faster than life begins in the past."""
    return Pace(period_s, floor_ms(wall_ms(clock), SLOT_MS) - slots * SLOT_MS)


class Sending(Protocol):
    """Brings messages to the topic."""

    def send(self, message: Sent) -> object:
        """Begin to bring one."""

    def flush(self) -> None:
        """Return when all are there."""


class Asking(Protocol):
    """Asks the store; the driver's client does."""

    def execute(self, query: str, params: dict[str, Any]) -> Any:  # noqa: ANN401 - the driver's own
        """Return the rows."""


class Live:
    """Sends what is due and looks for what has become readable, in one thread, a step at a time."""

    def __init__(
        self, sender: Sending, client: Asking, mesh: National, at: Pace, *, seed: int, clock: Clock = CLOCK
    ) -> None:
        self.waits_s: dict[tuple[str, int], float] = {}  # by probe and seq, in the order they were seen
        self._sender = sender
        self._client = client
        self._mesh = mesh
        self._pace = at
        self._chance = np.random.default_rng(seed)
        self._spool_id = str(uuid.uuid4())
        self._clock = clock
        self._begun_ns = clock.mono_ns()
        self._due: list[tuple[int, str, int]] = []  # when, probe, seq; the next one last
        self._sent: dict[tuple[str, int], int] = {}  # not seen yet; when it was given to the client
        self._slots = 0

    @property
    def slots(self) -> int:
        """Return how many slots have begun to be sent; the next one has this seq."""
        return self._slots

    def run(self, what: str, until: Callable[[], bool], *, deadline_s: float, sending: bool = True) -> None:
        """Step until it holds.

        Raises:
            TimeoutError: it did not within the deadline.
        """
        end_ns = self._clock.mono_ns() + round(deadline_s * 1e9)
        while not until():
            if self._clock.mono_ns() > end_ns:
                raise TimeoutError(f"waited {deadline_s:g} s for {what}; {len(self._sent)} messages not readable")
            begun_ns = self._clock.mono_ns()
            if sending:
                self._send()
            self._look()
            self._clock.sleep_s(max(0.0, LOOK_S - (self._clock.mono_ns() - begun_ns) / 1e9))

    def drain(self, *, deadline_s: float) -> None:
        """Send nothing more and wait until all is readable."""
        self._sender.flush()
        self.run("the last messages", lambda: not self._sent, deadline_s=deadline_s, sending=False)

    def is_seen_to(self, seq: int) -> bool:
        """Return whether everything up to a slot is readable, that slot included."""
        return self._slots > seq and not any(each <= seq for _, each in self._sent) and not self._is_due(seq)

    def passed_s(self) -> float:
        """Return the seconds since the start."""
        return (self._clock.mono_ns() - self._begun_ns) / 1e9

    def batches(self) -> list[SummaryBatch]:
        """Return all that was sent and is readable, for an oracle."""
        return [
            self._mesh.batch(probe_id, self._pace.first_ms + seq * SLOT_MS, seq, spool_id=self._spool_id)
            for probe_id, seq in self.waits_s
        ]

    def _is_due(self, seq: int) -> bool:
        return any(each <= seq for _, _, each in self._due)

    def _send(self) -> None:
        while self.passed_s() >= self._slots * self._pace.period_s:
            self._plan()
        while self._due and self._due[-1][0] <= self._clock.mono_ns():
            _, probe_id, seq = self._due.pop()
            slot_ms = self._pace.first_ms + seq * SLOT_MS
            self._sender.send(self._mesh.message(probe_id, slot_ms, seq, spool_id=self._spool_id))
            self._sent[probe_id, seq] = self._clock.mono_ns()

    def _plan(self) -> None:
        begins_ns = self._begun_ns + round(self._slots * self._pace.period_s * 1e9)
        after_s = self._chance.uniform(0, min(SPREAD_S, self._pace.period_s / 2), len(self._mesh.probes))
        for probe_id, each in zip(self._mesh.probes, after_s.tolist(), strict=True):
            self._due.append((begins_ns + round(each * 1e9), probe_id, self._slots))
        self._due.sort(reverse=True)
        self._slots += 1

    def _look(self) -> None:
        if not self._sent:
            return
        oldest = min(seq for _, seq in self._sent)
        rows = self._client.execute(_SEEN, {"spool_id": self._spool_id, "seq": oldest})
        now_ms = wall_ms(self._clock)
        for probe_id, seq, appended_ms in rows:
            if self._sent.pop((probe_id, seq), None) is not None:
                self.waits_s[probe_id, seq] = max(0, now_ms - appended_ms) / 1000
