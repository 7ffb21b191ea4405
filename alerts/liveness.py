"""When was each probe last heard, and does its silence mean that it is dead? Pure.

Silence of everyone at once is silence of the pipeline (a worker or broker restarts): it kills no probe, and when it
ends every probe gets its full time again. One that lasts is an incident of its own: else a dead worker tells nobody.
"""

from collections.abc import Iterable, Mapping

from alerts.facts import PlannedStream, ProbeState
from alerts.policy import Liveness


def pipeline_since_ms(seconds: Iterable[int], now_ms: int, limits: Liveness) -> int | None:
    """Return since when messages have arrived without a gap, or None when none arrives now.

    Args:
        seconds: the UTC seconds in which anything was received, in any order.
        now_ms: the instant judged.
        limits: how long a gap has to be to count.
    """
    heard = sorted({second for second in seconds if second * 1000 <= now_ms}, reverse=True)
    if len(heard) == 0 or now_ms - heard[0] * 1000 > limits.probe_dead_s * 1000:
        return None
    since = heard[0]
    for second in heard[1:]:
        if since - second > limits.probe_dead_s:
            break
        since = second
    return since * 1000


def pipeline_silent_since_ms(
    heard_ms: Iterable[int], since_ms: int | None, limits: Liveness, now_ms: int
) -> int | None:
    """Return since when the pipeline is silent, or None when it is not, or not for long enough to tell anyone.

    Args:
        heard_ms: when anything of each probe was last received; without any there is nothing that could have ended.
        since_ms: from `pipeline_since_ms`.
        limits: how long a silence has to be.
        now_ms: the instant judged.
    """
    last_ms = max(heard_ms, default=None)
    if since_ms is not None or last_ms is None or now_ms - last_ms < limits.pipeline_silent_s * 1000:
        return None
    return last_ms


def probe_states(
    streams: Iterable[PlannedStream],
    heard_ms: Mapping[str, int],
    complete_slot_ms: Mapping[str, int],
    since_ms: int | None,
    limits: Liveness,
    now_ms: int,
) -> dict[str, ProbeState]:
    """Return the state of every planned probe.

    Args:
        streams: the plan.
        heard_ms: when anything of a probe was last received.
        complete_slot_ms: start of the newest whole slot of a probe, of any stream.
        since_ms: from `pipeline_since_ms`.
        limits: how long a silence has to be.
        now_ms: the instant judged.
    """
    begins = {stream.probe_id: stream.valid_from_ms for stream in streams}
    return {
        probe: _probe_state(
            probe, heard_ms.get(probe), complete_slot_ms.get(probe, -1), begin, since_ms, limits, now_ms
        )
        for probe, begin in begins.items()
    }


def _probe_state(
    probe: str,
    heard_ms: int | None,
    complete_slot_ms: int,
    begin_ms: int,
    since_ms: int | None,
    limits: Liveness,
    now_ms: int,
) -> ProbeState:
    silent_ms = now_ms - max(begin_ms if heard_ms is None else heard_ms, now_ms if since_ms is None else since_ms)
    limit_s = limits.learning_s if heard_ms is None else limits.probe_dead_s
    return ProbeState(
        probe_id=probe,
        heard_ms=heard_ms,
        dead=silent_ms > limit_s * 1000,
        learning=heard_ms is None and silent_ms <= limit_s * 1000,
        complete_slot_ms=complete_slot_ms,
    )
