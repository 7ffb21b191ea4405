"""The oracle: what the tables must hold, from the produced file alone, against what they hold."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, Final

import msgspec
from chaos.probes import Probes
from support.plain_fold import fold_plainly
from support.produced import slots_of
from support.stores import sql, windows
from support.traffic import ProducedReader

from schemas.records import SummaryBatch
from schemas.topics import SUMMARY
from streams.store import StoreConfig

Key = tuple[str, int, int]
STORED: Final = "SELECT probe_id, toString(spool_id), seq, stored FROM batch_latest WHERE stored > 0"
TWICE: Final = "SELECT count() - uniqExact(probe_id, spool_id, stream_id, slot) FROM summary_10s_latest"
TOGETHER: Final = 20  # probes: what fits into memory at once
Windows = dict[Key, dict[str, Any]]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong; nothing when all counts are 0."""

    messages: int
    summaries: int
    windows: int
    lost: list[Any]  # identities that were sent and are not stored
    doubled: list[Any]  # rows that readers see and nobody sent, or see twice
    wrong_windows: int
    first_wrong: str  # of those, with its history
    unkept_poison: list[Any] = []  # positions that must be in quarantine and are not
    unasked_quarantine: list[Any] = []  # positions in quarantine that hold nothing wrong

    @property
    def holds(self) -> bool:
        """Return whether nothing is wrong."""
        return not (self.lost or self.doubled or self.wrong_windows or self.unkept_poison or self.unasked_quarantine)


def judge(config: StoreConfig, probes: Probes, *, processes: int) -> Verdict:
    """Compare every window, every identity and every refused position with the produced file, some probes at a time."""
    reader = probes.produced.reader
    names = reader.probes
    some = [names[n : n + TOGETHER] for n in range(0, len(names), TOGETHER)]
    judge_some = partial(_judge_some, config, reader)
    if processes == 1:
        found = list(map(judge_some, some))
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            found = list(pool.map(judge_some, some))
    with sql(config) as run:
        quarantined = set(run("SELECT topic, partition, offset FROM quarantine_latest"))
        strangers = run("SELECT uniqExact(probe_id) FROM kpi_1m_latest")[0][0] - len(names)
        beats = run("SELECT count() FROM probe_health_latest")[0][0] - probes.beats
    wrong = [each.first_wrong for each in found if each.first_wrong != ""]
    return Verdict(
        messages=sum(each.messages for each in found),
        summaries=sum(each.summaries for each in found),
        windows=sum(each.windows for each in found),
        lost=[identity for each in found for identity in each.lost] + ["a heartbeat"] * -beats,
        doubled=[identity for each in found for identity in each.doubled] + ["a heartbeat"] * beats,
        wrong_windows=sum(each.wrong_windows for each in found) + abs(strangers),
        first_wrong=wrong[0] if wrong else "",
        unkept_poison=sorted(probes.poisoned.keys() - quarantined)[:10],
        unasked_quarantine=sorted(quarantined - probes.poisoned.keys())[:10],
    )


def _judge_some(config: StoreConfig, reader: ProducedReader, names: list[str]) -> Verdict:
    batches = [batch for name in names for batch in reader.batches(name)]
    among = "probe_id IN ({})".format(", ".join(f"'{name}'" for name in names))
    slots = slots_of(batches)
    wanted, found = fold_plainly(slots), windows(config, among)
    wrong = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
    sent = {(batch.probe_id, batch.spool_id, batch.seq, len(batch.stream_id)) for batch in batches}
    with sql(config) as run:
        stored = run(f"{STORED} AND topic = '{SUMMARY.name}' AND {among}")
        twice = run(f"{TWICE} WHERE {among}")[0][0]
    twice += len(stored) - len(set(stored))
    return Verdict(
        messages=len(batches),
        summaries=len(slots),
        windows=len(wanted),
        lost=sorted(sent - set(stored)),
        doubled=[*sorted(set(stored) - sent)] + ["a key twice"] * twice,
        wrong_windows=len(wrong),
        first_wrong=_history(wrong[0], batches, wanted, found) if wrong else "",
    )


def stored_so_far(config: StoreConfig) -> tuple[int, int]:
    """Return how many messages are stored and how many positions are in quarantine."""
    with sql(config) as run:
        (stored,) = run("SELECT count() FROM batch_latest WHERE stored > 0")[0]
        (kept,) = run("SELECT count() FROM quarantine_latest")[0]
    return stored, kept


def _history(key: Key, batches: list[SummaryBatch], wanted: Windows, found: Windows) -> str:
    """Return what differs in a window, and every batch that went into it."""
    probe_id, stream_id, minute = key
    told = [
        f"{b.spool_id} seq {b.seq}: slot {b.slot_start_ms // 1000} revision {b.revision}"
        for b in batches
        if b.probe_id == probe_id and stream_id in b.stream_id and b.slot_start_ms // 60_000 * 60 == minute
    ]
    return f"{key}: (wanted, found) {_difference(wanted.get(key, {}), found.get(key, {}))}; sent: {told}"


def _difference(wanted: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    names = wanted.keys() | found.keys()
    return {name: (wanted.get(name), found.get(name)) for name in names if wanted.get(name) != found.get(name)}
