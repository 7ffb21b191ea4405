"""The stored slots against the lab's ledger: every packet that a slot covers, one by one. Pure functions.

A loss is compared over exactly the index ranges that the slots cover, per (stream, spool): the total always, the
directions where nothing is unresolved. A delay is compared as the mean of a slot against the mean of what the wire did
to the same packets; the kernels' own hops between the wires are part of the difference.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy.lab.ledger import Records
from deploy.lab.truth import Table, losses, lost, lost_backward, lost_forward, path_delay_us
from probes.packets import stream_token

Row = Mapping[str, Any]
_COUNTED: Final = ("sent", "lost", "lost_forward", "lost_backward")


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """A (stream, spool) whose counts differ from the ledger's."""

    stream_id: int
    spool_id: str
    what: str
    stored: int
    ledger: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What came of holding the slots against the ledger."""

    packets: int
    lost: int
    directions_compared: int  # (stream, spool) pairs without an unresolved loss
    mismatches: list[Mismatch]
    delay_error_us_p50: float | None  # None: no slot had an answered packet
    delay_error_us_p99: float | None


class Truth:
    """The ledger by packet, looked up by (token, range of indexes)."""

    def __init__(self, records: Records) -> None:
        table = losses(records)
        self._index = table["index"]
        self._spans = _spans(table["token"])
        self._gone = {
            "lost": lost(table),
            "lost_forward": lost_forward(table),
            "lost_backward": lost_backward(table),
        }
        self._delay_us = {
            way: _aligned(table, path_delay_us(records, reply=way == "reply")) for way in ("request", "reply")
        }

    def counts(self, token: int, first: int, end: int) -> dict[str, int]:
        """Return sent, lost, lost_forward and lost_backward of the packets with first <= index < end."""
        at = self._at(token, first, end)
        return {"sent": at.stop - at.start} | {name: int(gone[at].sum()) for name, gone in self._gone.items()}

    def mean_us(self, token: int, first: int, end: int, *ways: str) -> float | None:
        """Return the mean time on the wires of the answered packets of the range, summed over `ways`."""
        at = self._at(token, first, end)
        answered = ~self._gone["lost"][at]
        total = sum((self._delay_us[way][at][answered] for way in ways), np.zeros(int(answered.sum())))
        return float(np.mean(total)) if total.size > 0 else None

    def _at(self, token: int, first: int, end: int) -> slice:
        span = self._spans.get(token, slice(0, 0))
        low, high = np.searchsorted(self._index[span], np.array([first, end], dtype=np.uint64))
        return slice(span.start + int(low), span.start + int(high))


def compare(rows: Iterable[Row], records: Records) -> Comparison:
    """Return how the rows of `truth_slots` agree with the ledger's records."""
    truth = Truth(records)
    stored: dict[tuple[int, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    ledger: dict[tuple[int, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    errors_us: list[float] = []
    for row in rows:
        key = (row["stream_id"], row["spool_id"])
        token, first, end = _range(row)
        _add(stored[key], _stored_counts(row))
        _add(ledger[key], truth.counts(token, first, end))
        errors_us += _delay_errors_us(row, truth, token, first, end)
    mismatches = [found for key in stored for found in _mismatches(key, stored[key], ledger[key])]
    return Comparison(
        packets=sum(each["sent"] for each in stored.values()),
        lost=sum(each["lost"] for each in stored.values()),
        directions_compared=sum(each["unresolved"] == 0 for each in stored.values()),
        mismatches=mismatches,
        delay_error_us_p50=_percentile(errors_us, 50),
        delay_error_us_p99=_percentile(errors_us, 99),
    )


def _range(row: Row) -> tuple[int, int, int]:
    token = stream_token(uuid.UUID(row["spool_id"]), row["stream_id"])
    first = int(row["first_index"])
    return token, first, first + int(row["sent"]) + int(row["send_failed"])


def _stored_counts(row: Row) -> dict[str, int]:
    forward, backward, unresolved = (int(row[f"lost_{way}"]) for way in ("forward", "backward", "unresolved"))
    return {
        "sent": int(row["sent"]),
        "lost": forward + backward + unresolved,
        "lost_forward": forward,
        "lost_backward": backward,
        "unresolved": unresolved,
    }


def _mismatches(key: tuple[int, str], stored: Mapping[str, int], ledger: Mapping[str, int]) -> Iterable[Mismatch]:
    for what in _COUNTED if stored["unresolved"] == 0 else _COUNTED[:2]:
        if stored[what] != ledger[what]:
            yield Mismatch(stream_id=key[0], spool_id=key[1], what=what, stored=stored[what], ledger=ledger[what])


def _delay_errors_us(row: Row, truth: Truth, token: int, first: int, end: int) -> Iterable[float]:
    for direction, ways in (("forward", ("request",)), ("backward", ("reply",)), ("rtt", ("request", "reply"))):
        n = int(row[f"{direction}_n"])
        mean_us = truth.mean_us(token, first, end, *ways) if n > 0 else None
        if mean_us is not None:
            yield abs(int(row[f"{direction}_sum_us"]) / n - mean_us)


def _add(total: dict[str, int], part: Mapping[str, int]) -> None:
    for name, count in part.items():
        total[name] += count


def _percentile(values: list[float], q: float) -> float | None:
    return round(float(np.percentile(values, q)), 1) if values else None


def _spans(tokens: NDArray[np.uint64]) -> dict[int, slice]:
    names, starts = np.unique(tokens, return_index=True)
    ends = np.append(starts[1:], len(tokens))
    return {int(name): slice(int(a), int(b)) for name, a, b in zip(names, starts, ends, strict=True)}


def _aligned(table: Table, delays: Table) -> NDArray[np.float64]:
    """Return the delay of each row of `table`, NaN where the packet was not delivered; both are sorted alike."""
    out = np.full(len(table), np.nan)
    both = _key(np.concatenate([table[["token", "index"]], delays[["token", "index"]]]))
    out[np.searchsorted(both[: len(table)], both[len(table) :])] = delays["delay_us"]
    return out


def _key(pairs: Table) -> NDArray[np.int64]:
    """Return the rank of each (token, index) among all: equal pairs have equal ranks."""
    ranks = np.unique(pairs, return_inverse=True)[1]
    return np.asarray(ranks, dtype=np.int64).reshape(-1)
