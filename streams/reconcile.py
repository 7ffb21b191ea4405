"""Reconcile: from `batch` and the heartbeats alone, one fate for each seq of every spool.

Precedence: stored, quarantined, declared dropped, pending (not acknowledged yet, or too fresh for the worker to have
answered), missing. It reads tables that any number of workers write, so it is right at any moment.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from streams.account import NEVER_ACKNOWLEDGED, Name, Range, Reconciliation, SpoolFacts, account, ranges_of
from streams.store import Store

SETTLE_MS: Final = 60_000  # what the broker acknowledged longer ago must have a fate

__all__ = ["SETTLE_MS", "Reconciliation", "reconcile"]


def reconcile(store: Store, *, since_ms: int, until_ms: int, settle_ms: int = SETTLE_MS) -> Reconciliation:
    """Return the account of every spool heard of in [since_ms, until_ms), each over its whole life.

    Args:
        store: any login that reads.
        since_ms: UTC milliseconds.
        until_ms: UTC milliseconds; heartbeats sent later are not read.
        settle_ms: after how long an acknowledged message without a fate is missing, whatever else is on its way.

    Raises:
        StoreTransientError: the store is away.
        StorePermanentError: it refuses a query.
    """
    bounds = {"since_ms": since_ms, "until_ms": until_ms}
    ledger = {_name(row): row for row in store.rows("reconcile_batches", **bounds)}
    declared = {_name(row): row for row in store.rows("reconcile_spools", **bounds, settled_ms=until_ms - settle_ms)}
    names = sorted(ledger.keys() | declared.keys())
    last = {name: max(_number(ledger, name, "last_seq"), _number(declared, name, "last_seq")) for name in names}
    broken = [name for name in names if name not in ledger or not _is_whole(ledger[name], last[name])]
    spools = sorted({spool for _, spool, _ in broken})
    present = _by_name(store.rows("reconcile_ranges", spools=spools) if spools else ())
    dropped = _by_name(store.rows("reconcile_dropped", spools=spools) if spools else ())
    facts = [
        _facts(
            name,
            # a moment later the ledger knows more: what counts a spool and what shows its holes is one answer
            pieces=present.get(name, []) if name in broken else [_one_piece(ledger[name], last[name])],
            last_seq=last[name],
            judged_acked=_number(declared, name, "judged_acked"),
            dropped=[(int(each["first"]), int(each["last"])) for each in dropped.get(name, [])],
        )
        for name in names
    ]
    return account(facts, since_ms=since_ms, until_ms=until_ms)


def _is_whole(row: dict[str, Any], last_seq: int) -> bool:
    return int(row["known"]) > last_seq and not row["is_torn"]


def _one_piece(row: dict[str, Any], last_seq: int) -> dict[str, Any]:
    return {**row, "first": 0, "last": last_seq, "absent": ()}


def _name(row: dict[str, Any]) -> Name:
    return str(row["probe_id"]), str(row["spool"]), str(row["topic"])


def _number(rows: dict[Name, dict[str, Any]], name: Name, column: str) -> int:
    return int(rows[name][column]) if name in rows else NEVER_ACKNOWLEDGED


def _by_name(rows: Iterable[dict[str, Any]]) -> dict[Name, list[dict[str, Any]]]:
    found: dict[Name, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(_name(row), []).append(row)
    return found


def _facts(
    name: Name, pieces: Sequence[dict[str, Any]], *, last_seq: int, judged_acked: int, dropped: Sequence[Range]
) -> SpoolFacts:
    present = ranges_of((int(each["first"]), int(each["last"]), each["absent"]) for each in pieces)
    known = sum(last - first + 1 for first, last in present)
    stored, told, refused = (
        sum(int(each[column]) for each in pieces) for column in ("stored_seqs", "stored_streams", "quarantined_streams")
    )
    return SpoolFacts(
        probe_id=name[0],
        spool_id=name[1],
        topic=name[2],
        last_seq=max([last_seq, *(last for _, last in present)]),
        judged_acked=judged_acked,
        stored=stored,
        quarantined=known - stored,
        stored_streams=told,
        quarantined_streams=refused,
        present=present,
        dropped=dropped,
    )
