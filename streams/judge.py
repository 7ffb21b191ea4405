"""Judge: messages -> verdicts by the plans in force, before any of it is stored; most of it wrong stops the worker."""

from collections.abc import Sequence
from typing import Final

import msgspec

from schemas.clock import Clock, wall_ms
from streams.breaker import Breaker
from streams.membership import Membership
from streams.messages import RawMessage, read_claim
from streams.registry import Registry
from streams.share import Shares
from streams.store import Store
from streams.verify import Rejected, Verdict, VerifiedSummary, verify_all

STRANGE: Final = ("unknown_key", "key_mismatch", "not_member", "foreign_endpoint")  # a newer plan may know them


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that may be stored now: what each may leave behind, by which plans, and when that was said."""

    verdicts: tuple[Verdict, ...]
    membership: Membership
    now_ms: int


class Judge:
    """Judges messages. It asks the store for plans alone, so it may run beside whoever stores the ones before."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        *,
        breaker: Breaker | None = None,
        shares: Shares | None = None,
    ) -> None:
        """Keep what it works with.

        Args:
            store: where the plans are; not for another thread at once.
            registry: who may say what.
            clock: judges lateness.
            breaker: stops it when most is wrong; a new one by default.
            shares: how much of a probe is taken; all of it by default.
        """
        self._store = store
        self._registry = registry
        self._clock = clock
        self._breaker = breaker if breaker is not None else Breaker()
        self._shares = shares

    def judge(self, messages: Sequence[RawMessage]) -> Judged:
        """Return the verdict of each message.

        Raises:
            StoreTransientError: the plans cannot be read now.
            BreakerTrippedError: most is suddenly wrong; nothing of it may be stored.
        """
        self._registry.refresh(self._store)
        now_ms = wall_ms(self._clock)
        verdicts = verify_all(messages, self._registry.membership, now_ms=now_ms)
        strange = [number for number, verdict in enumerate(verdicts) if _is_strange(verdict)]
        if strange and self._registry.refresh(self._store, stranger=True):
            again = verify_all([messages[number] for number in strange], self._registry.membership, now_ms=now_ms)
            for number, verdict in zip(strange, again, strict=True):
                verdicts[number] = verdict
        if self._shares is not None:
            verdicts = [self._shared(verdict, self._shares) for verdict in verdicts]
        self._breaker.observe(verdicts, now_ms=now_ms)
        return Judged(verdicts=tuple(verdicts), membership=self._registry.membership, now_ms=now_ms)

    def _shared(self, verdict: Verdict, shares: Shares) -> Verdict:
        if isinstance(verdict, Rejected):
            return verdict
        message, probe_id = verdict.message, verdict.record.probe_id
        streams = len(verdict.record.stream_id) if isinstance(verdict, VerifiedSummary) else 1
        planned = self._registry.membership.most_streams(probe_id)
        if shares.takes(probe_id, streams=streams, planned=planned, received_ms=message.received_ms):
            return verdict
        detail = f"more in ten seconds than a probe of {planned} streams may bring; replay it later"
        return Rejected(message, "flood", detail, read_claim(message.value), signed=True)  # it was verified just now


def _is_strange(verdict: Verdict) -> bool:
    if isinstance(verdict, Rejected):
        return verdict.reason in STRANGE
    return isinstance(verdict, VerifiedSummary) and len(verdict.faults) > 0
