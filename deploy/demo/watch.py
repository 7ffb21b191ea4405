"""What the demo sees of the running system: the same queries that the page and the commands use."""

from collections.abc import Mapping
from typing import Any, Final

from dashboards.throughput import throughput_mbps
from deploy.demo.webhook import Notice, Receiver
from schemas.clock import Clock, wall_ms
from schemas.errors import StoreTransientError
from streams.store import Store

Row = Mapping[str, Any]
DAY_S: Final = 86_400
ANSWERED: Final = ("ok", "degraded", "down")


class Watch:
    """Looks at the tables and at what was delivered; a store that is away is nothing seen, not an error."""

    def __init__(self, store: Store, mesh: str, receiver: Receiver, clock: Clock) -> None:
        self._store = store
        self._mesh = mesh
        self._receiver = receiver
        self._clock = clock

    def states(self) -> list[Row]:
        """Return the present state of every planned stream; none while the store is away."""
        try:
            return list(
                self._store.rows("judge_state_now", mesh=self._mesh, from_s=wall_ms(self._clock) // 1000 - DAY_S)
            )
        except StoreTransientError:
            return []

    def all_ok(self) -> bool:
        """Return whether every planned stream is ok."""
        states = self.states()
        return len(states) > 0 and all(row["state"] == "ok" for row in states)

    def known(self, probe: str = "") -> bool:
        """Return whether something is known of every stream (of one probe)."""
        states = [row for row in self.states() if probe in ("", row["probe_id"])]
        return len(states) > 0 and all(row["state"] in ANSWERED for row in states)

    def grey(self, probe: str) -> int:
        """Return how many streams of a probe are unknown because it is dead."""
        return sum(
            row["probe_id"] == probe and (row["state"], row["reason"]) == ("insufficient", "probe_dead")
            for row in self.states()
        )

    def down(self, streams: set[int]) -> int:
        """Return how many of these streams are down."""
        return sum(row["stream_id"] in streams and row["state"] == "down" for row in self.states())

    def now_s(self) -> int:
        """Return the time, in seconds."""
        return wall_ms(self._clock) // 1000

    def measured_since(self, from_s: int) -> set[int]:
        """Return the streams with a slot that began at that time or later; none while the store is away."""
        try:
            return {row["stream_id"] for row in self.slots(from_s)}
        except StoreTransientError:
            return set()

    def first(self, category: str, state: str, *, after_ns: int = 0) -> Notice | None:
        """Return the first delivered notice of a category and state since a moment."""
        found = (
            notice
            for notice in self._receiver.notices()
            if notice.at_ns >= after_ns and (notice.body["category"], notice.body["state"]) == (category, state)
        )
        return next(found, None)

    def alarms(self, category: str) -> set[str]:
        """Return the incidents of a category that anybody was told of."""
        return {
            str(notice.body["incident_id"])
            for notice in self._receiver.notices()
            if notice.body["category"] == category and notice.body["state"] != "resolved"
        }

    def throughput(self, from_s: int) -> float | None:
        """Return the rate of the newest finished test in Mbit/s."""
        try:
            tests = self._store.rows("page_throughput", mesh=self._mesh, from_s=from_s)
        except StoreTransientError:
            return None
        return throughput_mbps(tests[0]) if tests else None

    def sent(self, from_s: int) -> Row:
        """Return the packets sent and planned since a moment."""
        row: Row = self._store.rows("demo_sent", mesh=self._mesh, from_s=from_s)[0]
        return row

    def slots(self, from_s: int) -> list[Row]:
        """Return every slot since a moment, for the ledger."""
        return list(self._store.rows("truth_slots", mesh=self._mesh, from_s=from_s))
