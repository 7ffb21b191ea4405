"""The oracle: what the tables must hold, from the produced file alone, against what they hold."""

from typing import Any

import msgspec
from chaos.probes import Probes
from support.plain_fold import fold_plainly
from support.produced import slots_of
from support.stores import sql, windows

from schemas.topics import SUMMARY
from streams.store import StoreConfig

Key = tuple[str, int, int]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong; nothing when all counts are 0."""

    messages: int
    summaries: int
    windows: int
    lost: list[Any]  # identities that were sent and are not stored
    doubled: list[Any]  # rows that readers see and nobody sent, or see twice
    wrong_windows: list[Key]
    first_wrong: dict[str, Any]  # of those: column -> (wanted, found)
    unkept_poison: list[Any]  # positions that must be in quarantine and are not
    unasked_quarantine: list[Any]  # positions in quarantine that hold nothing wrong

    @property
    def holds(self) -> bool:
        """Return whether nothing is wrong."""
        return not (self.lost or self.doubled or self.wrong_windows or self.unkept_poison or self.unasked_quarantine)


def judge(config: StoreConfig, probes: Probes) -> Verdict:
    """Compare every window, every identity and every refused position with what was sent."""
    slots = slots_of(probes.sent)
    wanted, found = fold_plainly(slots), windows(config)
    wrong = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
    sent = {(batch.probe_id, batch.spool_id, batch.seq, len(batch.stream_id)) for batch in probes.sent}
    with sql(config) as run:
        named = f"FROM batch_latest WHERE topic = '{SUMMARY.name}' AND stored > 0"
        stored = run(f"SELECT probe_id, toString(spool_id), seq, stored {named}")
        quarantined = set(run("SELECT topic, partition, offset FROM quarantine_latest"))
        keys, rows = run("SELECT uniqExact(probe_id, spool_id, stream_id, slot), count() FROM summary_10s_latest")[0]
    return Verdict(
        messages=len(probes.sent),
        summaries=len(slots),
        windows=len(wanted),
        lost=sorted(sent - set(stored))[:10],
        doubled=sorted(set(stored) - sent)[:10] + ["a key twice"] * (rows - keys + len(stored) - len(set(stored))),
        wrong_windows=wrong,
        first_wrong=_difference(wanted.get(wrong[0], {}), found.get(wrong[0], {})) if wrong else {},
        unkept_poison=sorted(probes.poisoned.keys() - quarantined)[:10],
        unasked_quarantine=sorted(quarantined - probes.poisoned.keys())[:10],
    )


def stored_so_far(config: StoreConfig) -> tuple[int, int]:
    """Return how many batches are stored and how many positions are in quarantine."""
    with sql(config) as run:
        (stored,) = run("SELECT count() FROM batch_latest WHERE stored > 0")[0]
        (kept,) = run("SELECT count() FROM quarantine_latest")[0]
    return stored, kept


def _difference(wanted: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    names = wanted.keys() | found.keys()
    return {name: (wanted.get(name), found.get(name)) for name in names if wanted.get(name) != found.get(name)}
