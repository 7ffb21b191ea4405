"""The packets of one stream in one slot become counts and histograms: no ratio, no average leaves the probe.

Pure: the same stretch gives the same summary. Times are nanoseconds in, integer microseconds out, rounded half up.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from probes.directions import lost_directions
from probes.packets import LOST_FATES, NO_DELAY_NS, Fate, Packets
from schemas.histogram import Sparse, build


class DelaySummary(msgspec.Struct, frozen=True, kw_only=True):
    """A delay and its variation in integer microseconds; where n is 0 the figures are 0 and mean nothing."""

    n: int = 0
    min_us: int = 0
    max_us: int = 0
    sum_us: int = 0
    histogram: Sparse = {}
    ipdv_pairs: int = 0
    ipdv_abs_sum_us: int = 0
    ipdv_histogram: Sparse = {}


NO_DELAY: Final = DelaySummary()
_IS_LOST: Final = np.isin(np.arange(len(Fate)), LOST_FATES)  # by fate


class StreamSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One stream in one slot, in the words of `schemas.records.SummaryBatch`."""

    stream_id: int
    planned: int
    first_index: int
    sent: int
    received: int
    lost_forward: int
    lost_backward: int
    lost_unresolved: int
    late: int
    unreachable: int
    send_failed: int
    duplicate: int
    reordered: int
    loss_runs: int
    loss_run_max: int
    loaded: bool
    rtt: DelaySummary
    forward: DelaySummary
    backward: DelaySummary
    settled: bool  # no packet of the stretch's slot is pending; stays on the probe
    open_run: int  # length of the loss run that the last covered packet ends; stays on the probe

    @property
    def resolvable(self) -> int:
        """Return how many losses a later reply may still give a direction: late packets never get one."""
        return self.lost_unresolved - self.late


def summarise_stream(
    packets: Packets,
    first: int,
    end: int,
    *,
    stream_id: int,
    planned: int,
    two_way: bool,
    loaded: bool = False,
    run_before: int | None = None,
) -> StreamSummary:
    """Return the summary of the longest settled prefix of the slot packets[first:end].

    Args:
        packets: A stretch in index order without holes: the slot, what went before and what came after.
        first: Position of the slot's first packet in the stretch.
        end: Position after the slot's last packet.
        stream_id: The stream.
        planned: Packets that the mesh plans for the whole slot.
        two_way: The method knows the round trip alone (ICMP); else it knows both directions and leaves rtt empty.
        loaded: A throughput test touched the slot.
        run_before: Length of the loss run that ends right before the slot, where the caller knows it (a long cut
            begins before the stretch); None to count it in the stretch.
    """
    covered = _settled_end(packets["fate"], first, end)
    slot = packets[first:covered]
    counts = np.bincount(slot["fate"], minlength=len(Fate)).tolist()
    lost = sum(counts[fate] for fate in LOST_FATES)
    forward, backward = (0, 0) if two_way else lost_directions(packets, first, covered)
    runs = _loss_runs(packets["fate"], first, covered, run_before)
    return StreamSummary(
        stream_id=stream_id,
        planned=max(planned, covered - first),
        first_index=int(packets["index"][first]) if first < end else 0,
        sent=counts[Fate.ANSWERED] + lost,
        received=counts[Fate.ANSWERED],
        lost_forward=forward,
        lost_backward=backward,
        lost_unresolved=lost - forward - backward,
        late=counts[Fate.LATE],
        unreachable=counts[Fate.UNREACHABLE],
        send_failed=counts[Fate.SEND_FAILED],
        duplicate=int(slot["duplicates"].sum(dtype=np.int64)),
        reordered=int(np.count_nonzero(slot["reordered"])),
        loss_runs=runs[0],
        loss_run_max=runs[1],
        loaded=loaded,
        rtt=_delay(packets, "rtt_ns", first, covered) if two_way else NO_DELAY,
        forward=NO_DELAY if two_way else _delay(packets, "forward_ns", first, covered),
        backward=NO_DELAY if two_way else _delay(packets, "backward_ns", first, covered),
        settled=covered == end,
        open_run=runs[2],
    )


def _settled_end(fate: NDArray[np.uint8], first: int, end: int) -> int:
    pending = np.flatnonzero(fate[first:end] == Fate.PENDING)
    return first + int(pending[0]) if pending.size > 0 else end


def _loss_runs(fate: NDArray[np.uint8], first: int, end: int, run_before: int | None) -> tuple[int, int, int]:
    """Return (runs that begin in the slot, longest run that touches it, run open at its end).

    A packet that was never sent is no part of the series. A run is counted from its true beginning up to the end of
    the slot, so its longest figure stands in the last slot that it touches.
    """
    lost = _IS_LOST[fate[first:end][fate[first:end] != Fate.SEND_FAILED]]
    before = _run_ending_at(fate[:first]) if run_before is None else run_before
    if not lost.any():
        return 0, 0, before if lost.size == 0 else 0
    edges = np.diff(np.concatenate(([False], lost, [False])).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    lengths = ends - starts
    goes_on = before > 0 and starts[0] == 0
    lengths[0] += before if goes_on else 0
    return starts.size - int(goes_on), int(lengths.max()), int(lengths[-1]) if ends[-1] == lost.size else 0


def _run_ending_at(fate: NDArray[np.uint8]) -> int:
    """Return how many losses stand together at the end of the series; a pending packet ends the count."""
    lost = _IS_LOST[fate[fate != Fate.SEND_FAILED]][::-1]
    return int(lost.argmin()) if not lost.all() else lost.size


def _delay(packets: Packets, column: str, first: int, end: int) -> DelaySummary:
    before = max(first - 1, 0)  # the first packet of the slot pairs with the last one before it
    ns = packets[column][before:end]
    known = (packets["fate"][before:end] == Fate.ANSWERED) & (ns != NO_DELAY_NS)
    us = _round_us(ns[first - before :][known[first - before :]])
    if us.size == 0:
        return NO_DELAY
    ipdv = _ipdv_us(ns, known)
    return DelaySummary(
        n=us.size,
        min_us=int(us.min()),
        max_us=int(us.max()),
        sum_us=int(us.sum()),
        histogram=build(us),
        ipdv_pairs=ipdv.size,
        ipdv_abs_sum_us=int(ipdv.sum()),
        ipdv_histogram=build(ipdv) if ipdv.size > 0 else {},
    )


def _ipdv_us(ns: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return |IPDV| of the neighbours in the series whose delays are both known, in microseconds."""
    pairs = np.flatnonzero(known[1:] & known[:-1])
    return _round_us(np.abs(ns[pairs + 1] - ns[pairs]))


def _round_us(ns: NDArray[np.int64]) -> NDArray[np.int64]:
    return (ns + 500) // 1000
