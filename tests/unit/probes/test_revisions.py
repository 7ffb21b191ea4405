"""The revision policy, told the time and nothing else."""

import numpy as np

from probes.revisions import APART_NS, GATHER_NS, MAX_EXTRA, SilenceWatch, Slot, ask_early, early_is_due, has_room, said
from schemas.records import MAX_REVISION


def ints(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def slot() -> Slot:
    return Slot(start_ms=0, end_ms=10_000)


def test_silence_is_a_second_of_losses_and_at_least_five_packets() -> None:
    watch = SilenceWatch([100, 1_000])
    assert not watch.changed(ints(10, 10), ints(19, 14))
    assert watch.changed(ints(10, 10), ints(20, 14))
    assert watch.changed(ints(10, 10), ints(21, 15))


def test_a_silence_and_a_return_are_each_noticed_once() -> None:
    watch = SilenceWatch([100])
    seen = [(10, 20), (10, 30), (40, 31), (41, 39), (50, 40), (51, 50)]
    assert [watch.changed(ints(a), ints(s)) for a, s in seen] == [True, False, False, False, True, False]


def test_an_early_revision_waits_for_the_streams_that_fail_together() -> None:
    each = slot()
    ask_early(each, 100)
    assert not early_is_due(each, 100 + GATHER_NS - 1)
    assert early_is_due(each, 100 + GATHER_NS)


def test_early_revisions_are_a_second_apart_and_eight_at_most() -> None:
    each, now_ns = slot(), 0
    for _ in range(MAX_EXTRA):
        ask_early(each, now_ns)
        now_ns += GATHER_NS
        assert early_is_due(each, now_ns)
        said(each, [], complete=False, mono_ns=now_ns, answered=ints())
        assert not has_room(each, now_ns + APART_NS - 1)
        now_ns += APART_NS
    ask_early(each, now_ns)
    assert not early_is_due(each, now_ns + 10 * APART_NS)


def test_the_complete_revision_always_has_a_number_left() -> None:
    each = slot()
    each.revision = MAX_REVISION - 1
    assert not has_room(each, APART_NS)
    said(each, [], complete=True, mono_ns=0, answered=ints())
    assert each.revision == MAX_REVISION
    assert not has_room(each, 2 * APART_NS)


def test_a_complete_slot_is_never_said_early() -> None:
    each = slot()
    said(each, [], complete=True, mono_ns=0, answered=ints())
    ask_early(each, 0)
    assert not early_is_due(each, 10 * APART_NS)
