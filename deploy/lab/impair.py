"""The decision over one packet: dropped and why, or delayed and by how much. Pure given a random source."""

import random

from deploy.lab.ledger import Fate
from deploy.lab.topology import GilbertElliott, Impairment

Decision = tuple[Fate, int, bool]  # fate, delay in ns from arrival to release, whether a copy goes out too


class Way:
    """One direction of a link: its impairment, and what it remembers from packet to packet.

    All times are nanoseconds of one clock that never goes back. A cut acts on arrivals; what is in flight still lands.
    """

    def __init__(self, impairment: Impairment, rng: random.Random) -> None:
        self.impairment = impairment
        self._rng = rng
        self._in_burst = False
        self._free_ns = 0  # when the transmitter has sent all that it accepted
        self._last_release_ns = 0

    def change(self, impairment: Impairment) -> None:
        """Apply a new impairment from the next packet on; backlog, burst and order carry over."""
        self.impairment = impairment

    def decide(self, arrival_ns: int, size_bytes: int) -> Decision:
        """Return what happens to an IP packet of `size_bytes` that arrives now.

        A packet that is lost on the cable has used its share of the rate before.
        """
        rule = self.impairment
        if rule.cut:
            return Fate.DOWN, 0, False
        leaves_ns = arrival_ns
        if rule.rate_bps is not None:
            sent_ns = self._transmit(arrival_ns, size_bytes, rule.rate_bps, rule.queue_bytes)
            if sent_ns is None:
                return Fate.QUEUE, 0, False
            leaves_ns = sent_ns
        if self._lost(rule):
            return Fate.LOST, 0, False
        twice = rule.duplicate_ratio > 0.0 and self._rng.random() < rule.duplicate_ratio
        return Fate.FORWARDED, self._release(leaves_ns, rule) - arrival_ns, twice

    def _transmit(self, arrival_ns: int, size_bytes: int, rate_bps: int, queue_bytes: int) -> int | None:
        """Return when the last bit is out, or None when the queue has no room."""
        start_ns = max(self._free_ns, arrival_ns)
        if (start_ns - arrival_ns) * rate_bps > (queue_bytes - size_bytes) * 8_000_000_000:
            return None
        self._free_ns = start_ns + size_bytes * 8_000_000_000 // rate_bps
        return self._free_ns

    def _lost(self, rule: Impairment) -> bool:
        burst = rule.gilbert_elliott is not None and self._step_burst(rule.gilbert_elliott)
        return burst or (rule.loss_ratio > 0.0 and self._rng.random() < rule.loss_ratio)

    def _step_burst(self, chain: GilbertElliott) -> bool:
        turns = self._rng.random() < (chain.r if self._in_burst else chain.p)
        self._in_burst ^= turns
        return self._in_burst

    def _release(self, leaves_ns: int, rule: Impairment) -> int:
        """Return the release time; a packet that jumps the queue leaves at once and binds no later one."""
        if rule.reorder_ratio > 0.0 and self._rng.random() < rule.reorder_ratio:
            return leaves_ns
        release_ns = leaves_ns + rule.delay_us * 1000
        if rule.jitter_us > 0:
            release_ns = max(leaves_ns, release_ns + self._jitter_ns(rule))
        if rule.keep_order:
            release_ns = max(release_ns, self._last_release_ns)
            self._last_release_ns = release_ns
        return release_ns

    def _jitter_ns(self, rule: Impairment) -> int:
        drawn = self._rng.gauss(0.0, rule.jitter_us * 1000.0)
        return round(abs(drawn) if rule.jitter_shape == "half_normal" else drawn)
