"""What really happened to the test packets, read out of the ledger. Pure functions over records.

Flush the wire after the last packet has settled and before reading: a packet between two links looks delivered.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deploy.lab.ledger import DROPPED, Fate, Records

UNSEEN: Final = 255  # in place of a Fate: no packet of that direction crossed any link

LOSS: Final = np.dtype(
    [
        ("token", "<u8"),
        ("index", "<u8"),
        (
            "request",
            "<u1",
        ),  # FORWARDED when at least one copy reached the far end, else the Fate that ended the last one
        ("reply", "<u1"),  # likewise; UNSEEN when there was no reply
        ("request_copies", "<i4"),  # copies that reached the far end
        ("reply_copies", "<i4"),
    ]
)
DELAY: Final = np.dtype([("token", "<u8"), ("index", "<u8"), ("delay_us", "<f8")])
RUN: Final = np.dtype([("token", "<u8"), ("first_index", "<u8"), ("length", "<u8")])
Table = NDArray[Any]


def losses(records: Records) -> Table:
    """Return one row of dtype LOSS for each (token, index) that entered the wire, in that order.

    The copies of a direction that arrive are its originals on the first link, plus duplicates, less drops.
    """
    groups, _ = _ways(_sorted(records))
    starts = _starts(groups, "token", "index")
    row = _numbers(starts, len(groups))
    table = np.zeros(len(starts), dtype=LOSS)
    table["token"], table["index"] = groups["token"][starts], groups["index"][starts]
    for name, way in (("request", 0), ("reply", 1)):
        own = groups["way"] == way
        table[name] = UNSEEN
        table[name][row[own]] = groups["fate"][own]
        table[f"{name}_copies"][row[own]] = groups["copies"][own]
    return table


def lost(table: Table) -> NDArray[np.bool_]:
    """Return which rows of `losses` got no reply to the sender."""
    return np.asarray(table["reply"] != Fate.FORWARDED)


def lost_forward(table: Table) -> NDArray[np.bool_]:
    """Return which rows of `losses` never reached the reflector."""
    return np.asarray((table["request"] != Fate.FORWARDED) & (table["request"] != UNSEEN))


def lost_backward(table: Table) -> NDArray[np.bool_]:
    """Return which rows of `losses` reached the reflector, whose reply was dropped on the way back."""
    return np.asarray(~lost_forward(table) & (table["reply"] != Fate.FORWARDED) & (table["reply"] != UNSEEN))


def loss_runs(table: Table) -> Table:
    """Return the maximal runs of consecutive lost indexes of each token, as dtype RUN, from rows of `losses`."""
    gone = table[lost(table)]
    begins = np.ones(len(gone), dtype=bool)
    begins[1:] = ~_follows(gone)
    starts = np.flatnonzero(begins)
    runs = np.zeros(len(starts), dtype=RUN)
    runs["token"], runs["first_index"] = gone["token"][starts], gone["index"][starts]
    runs["length"] = np.diff(np.r_[starts, len(gone)])
    return runs


def path_delay_us(records: Records, *, reply: bool) -> Table:
    """Return the time that each delivered packet spent on all wires of its way, as dtype DELAY.

    Real release minus kernel arrival, summed over the links; of a duplicated packet, its first crossing of each link.
    The kernels' own hops are not in it (some microseconds each).
    """
    ordered = _sorted(records[records["reply"] == int(reply)])
    groups, number = _ways(ordered)
    forwarded = np.flatnonzero(ordered["fate"] == Fate.FORWARDED)
    crossing = (
        (number[forwarded] << 17) | (ordered["link"][forwarded].astype(np.int64) << 1) | ordered["leg"][forwarded]
    )
    first = forwarded[np.unique(crossing, return_index=True)[1]]
    spent_us = (ordered["delay_ns"][first] + ordered["lateness_ns"][first]) / 1000.0
    table = np.zeros(len(groups), dtype=DELAY)
    table["token"], table["index"] = groups["token"], groups["index"]
    table["delay_us"] = np.bincount(number[first], spent_us, minlength=len(groups))
    return table[groups["copies"] > 0]


def ipdv_us(delays: Table) -> Table:
    """Return the signed delay change of each packet against index - 1 of its token, from rows of `path_delay_us`."""
    pairs = _follows(delays)
    table: Table = delays[1:][pairs].copy()
    table["delay_us"] -= delays["delay_us"][:-1][pairs]
    return table


def _follows(table: Table) -> NDArray[np.bool_]:
    """Return, for each row but the first, whether it is the next index of the same token."""
    same = table["token"][1:] == table["token"][:-1]
    return np.asarray(same & (table["index"][1:] == table["index"][:-1] + np.uint64(1)))


_WAY: Final = np.dtype([("token", "<u8"), ("index", "<u8"), ("way", "<u1"), ("fate", "<u1"), ("copies", "<i4")])


def _ways(ordered: Records) -> tuple[Table, NDArray[np.intp]]:
    """Reduce sorted records to one row for each (token, index, direction), and say to which row each record went."""
    starts = _starts(ordered, "token", "index", "reply")
    number = _numbers(starts, len(ordered))
    groups = np.zeros(len(starts), dtype=_WAY)
    if len(starts) == 0:
        return groups, number
    for name, source in (("token", "token"), ("index", "index"), ("way", "reply")):
        groups[name] = ordered[source][starts]
    dropped, copied = np.isin(ordered["fate"], DROPPED), ordered["fate"] == Fate.DUPLICATED
    first = ordered[starts][number]
    entered = (ordered["link"] == first["link"]) & (ordered["leg"] == first["leg"]) & ~copied
    groups["copies"] = np.add.reduceat(entered.astype(np.int32) + copied - dropped, starts)
    last_drop = np.maximum.reduceat(np.where(dropped, np.arange(len(ordered)), -1), starts)
    groups["fate"] = np.where(groups["copies"] > 0, Fate.FORWARDED, ordered["fate"][last_drop])
    return groups, number


def _sorted(records: Records) -> Records:
    return records[np.lexsort((records["arrival_ns"], records["reply"], records["index"], records["token"]))]


def _starts(ordered: Table, *names: str) -> NDArray[np.intp]:
    """Return where a new combination of the named columns begins in sorted rows."""
    changed = np.zeros(len(ordered), dtype=bool)
    changed[:1] = True
    for name in names:
        changed[1:] |= ordered[name][1:] != ordered[name][:-1]
    return np.flatnonzero(changed)


def _numbers(starts: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Return the number of the group that each of `size` rows belongs to."""
    return np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, size]))
