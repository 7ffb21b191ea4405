"""The breaker: when most probes are suddenly wrong, it is we who are wrong (a deploy fault, not data) (pure)."""

from collections import deque
from collections.abc import Sequence
from operator import is_
from typing import Final

from schemas.errors import UnavailableError
from streams.messages import RawMessage
from streams.verify import Rejected, Verdict

FAULTS: Final = ("schema", "bounds", "internal_error", "refused_by_store")  # what a fault of ours looks like
REMEMBERED: Final = 32  # verdicts a probe
LEAST_FAULTS: Final = 24  # below it one bad minute of a small mesh would do
SILENT_AFTER_MS: Final = 60_000
MAX_FOREIGN_IN_A_ROW: Final = 1000


class BreakerTrippedError(UnavailableError):
    """The worker must stop before it stores or acknowledges what it is judging."""


class Breaker:
    """Remembers the last verdicts of each probe that has proved its identity, and how long none has."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[bool]] = {}
        self._heard_ms: dict[str, int] = {}
        self._foreign_in_a_row = 0
        self._last: tuple[RawMessage, ...] = ()

    def observe(self, verdicts: Sequence[Verdict], *, now_ms: int) -> None:
        """Take note of verdicts; those of the very messages of the last call count once.

        Raises:
            BreakerTrippedError: more than half of the probes heard in the last minute are mostly wrong, or a thousand
                messages in a row have nobody's valid signature.
        """
        messages = tuple(verdict.message for verdict in verdicts)
        if len(messages) == len(self._last) and all(map(is_, messages, self._last)):
            return  # the store did not take them and they are judged again: that makes no probe worse
        self._last = messages
        for verdict in verdicts:
            self._note(verdict, now_ms)
        if self._foreign_in_a_row >= MAX_FOREIGN_IN_A_ROW:
            raise BreakerTrippedError(
                f"{self._foreign_in_a_row} messages in a row have no valid signature; is the mesh applied, with keys?"
            )
        wrong = [probe_id for probe_id in self._heard(now_ms) if self._is_wrong(probe_id)]
        faults = sum(sum(self._recent[probe_id]) for probe_id in wrong)
        if faults >= LEAST_FAULTS and len(wrong) * 2 > len(self._heard(now_ms)):
            raise BreakerTrippedError(
                f"most messages of {len(wrong)} of {len(self._heard(now_ms))} probes are suddenly refused, among them"
                f" {', '.join(sorted(wrong)[:3])}; is the worker older than the probes?"
            )

    def _note(self, verdict: Verdict, now_ms: int) -> None:
        if isinstance(verdict, Rejected) and not verdict.signed:
            self._foreign_in_a_row += 1
            return
        self._foreign_in_a_row = 0
        probe_id = verdict.claim.probe_id if isinstance(verdict, Rejected) else verdict.record.probe_id
        faulty = isinstance(verdict, Rejected) and verdict.reason in FAULTS
        self._recent.setdefault(probe_id, deque(maxlen=REMEMBERED)).append(faulty)
        self._heard_ms[probe_id] = now_ms

    def _heard(self, now_ms: int) -> list[str]:
        return [probe_id for probe_id, heard_ms in self._heard_ms.items() if now_ms - heard_ms < SILENT_AFTER_MS]

    def _is_wrong(self, probe_id: str) -> bool:
        recent = self._recent[probe_id]
        return sum(recent) * 2 > len(recent)
