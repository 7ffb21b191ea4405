"""What probes produce, made up from a seed: revisions, late slots, restarts in a slot, loaded slots."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from support import wire_messages as wire
from support.plain_fold import Slot

from schemas.codec import pack_histograms, unpack_histograms
from schemas.records import DelayColumns, SummaryBatch
from schemas.tables import COUNTS
from streams.columns import Columns, array_of
from streams.fold import SLOT_COLUMNS
from streams.messages import RawMessage

STREAMS_OF = {wire.PROBE: wire.STREAMS, wire.OTHER_PROBE: wire.OTHER_STREAMS}
NO_SHARES = 1e9  # times its plan: an hour of a probe is sent in seconds here, which is no flood
FIGURES = ("n", "min_us", "max_us", "sum_us", "ipdv_pairs", "ipdv_abs_sum_us")


def produce(
    seed: int,
    *,
    now_ms: int,
    slots: int,
    streams_of: Mapping[str, Sequence[int]] = STREAMS_OF,
    mesh: str = wire.MESH,
    late_ms: int = 10 * 86_400_000,
) -> list[SummaryBatch]:
    """Return the batches of the probes over `slots` slots before `now_ms`, one in twenty `late_ms` older."""
    chance = random.Random(seed)  # noqa: S311 - a test wants the same numbers again
    seqs: dict[tuple[str, str], int] = {}
    batches = []
    for number in range(slots):
        for probe_id, streams in streams_of.items():
            older_ms = late_ms if chance.random() < 0.05 else 0
            slot_ms = (now_ms - older_ms) // 10_000 * 10_000 - number * 10_000
            for spool_id in (wire.SPOOL, wire.SECOND_SPOOL)[: 2 if chance.random() < 0.2 else 1]:
                for revision in range(1, chance.choice((1, 1, 3)) + 1):
                    seq = seqs[probe_id, spool_id] = seqs.get((probe_id, spool_id), -1) + 1
                    fields: dict[str, object] = {
                        "probe_id": probe_id,
                        "spool_id": spool_id,
                        "seq": seq,
                        "revision": revision,
                    }
                    fields |= {"mesh": mesh}
                    batches.append(draft(chance, streams, slot_start_ms=slot_ms, **fields))
    return batches


def produce_one_run(
    seed: int, probe_id: str, streams: Sequence[int], *, now_ms: int, slots: int, late_ms: int = 0
) -> list[SummaryBatch]:
    """Return what one run of an agent of the small mesh produces: two runs have revisions of their own."""
    made = produce(seed, now_ms=now_ms, slots=slots, streams_of={probe_id: streams}, mesh="small", late_ms=late_ms)
    return [batch for batch in made if batch.spool_id == made[0].spool_id]


def messages_of(batches: Sequence[SummaryBatch], *, received_ms: int) -> list[RawMessage]:
    """Return the batches as they come off one partition, in order."""
    return [wire.message(batch, offset=offset, received_ms=received_ms) for offset, batch in enumerate(batches)]


def slots_of(batches: Sequence[SummaryBatch]) -> list[Slot]:
    """Return one dict a stream of a batch, for the oracle."""
    return [slot for batch in batches for slot in _slots(batch)]


def draft(chance: random.Random, streams: Sequence[int], **fields: Any) -> SummaryBatch:  # noqa: ANN401 - the record's
    """Return a batch of the streams with figures by chance."""
    received = [chance.choice((0, chance.randrange(1, 90))) for _ in streams]
    lost = [chance.randrange(5) for _ in streams]
    sent = [a + b for a, b in zip(received, lost, strict=True)]
    return msgspec.structs.replace(
        wire.summary(streams, **fields),
        planned=sent,
        sent=sent,
        received=received,
        lost_forward=lost,
        loss_run_max=[chance.randrange(9) for _ in streams],
        loaded=[chance.random() < 0.2 for _ in streams],
        complete=chance.random() < 0.8,
        forward=_delays(chance, received),
        backward=_delays(chance, received),
    )


def _delays(chance: random.Random, n: Sequence[int]) -> DelayColumns:
    histograms = []
    for count in n:
        low = chance.randrange(count + 1)
        parts = {chance.randrange(1, 400): low, chance.randrange(400, 4096): count - low}
        histograms.append({bin_: part for bin_, part in parts.items() if part > 0})
    delays = wire.delays(histograms, us=chance.randrange(-50, 9000))
    return msgspec.structs.replace(delays, histogram=pack_histograms(histograms))


def _slots(batch: SummaryBatch) -> list[Slot]:
    slots = []
    histograms = {
        f"{way}_{kind}": unpack_histograms(getattr(getattr(batch, way), f"{kind}histogram"))
        for way in ("rtt", "forward", "backward")
        for kind in ("", "ipdv_")
    }
    for position, stream_id in enumerate(batch.stream_id):
        slot: Slot = {"stream_id": stream_id, "slot": batch.slot_start_ms // 1000, "probe_sick": 0}
        slot |= {name: getattr(batch, name) for name in ("probe_id", "spool_id", "revision", "mesh", "complete")}
        slot |= {"clock_synchronised": 1, "clock_error_us": batch.clock.error_us, "loaded": batch.loaded[position]}
        slot |= {name: getattr(batch, name)[position] for name in COUNTS}
        for way in ("rtt", "forward", "backward"):
            delay = getattr(batch, way)
            slot |= {f"{way}_{name}": getattr(delay, name)[position] for name in FIGURES}
            for kind in ("", "ipdv_"):
                slot[f"{way}_{kind}bin"], slot[f"{way}_{kind}count"] = histograms[f"{way}_{kind}"][position]
        slots.append(slot)
    return slots


def slot_columns(slots: Sequence[Slot]) -> Columns:
    """Return slots as what `fold` reads."""
    return {name: array_of([slot[name] for slot in slots]) for name in SLOT_COLUMNS}
