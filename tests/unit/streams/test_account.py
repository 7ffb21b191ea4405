"""The account: one fate for each seq; a plain loop over all seqs is the oracle."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.topics import HEALTH, SUMMARY
from streams.account import SpoolFacts, Totals, account, ranges_of


def facts(**fields: Any) -> SpoolFacts:  # noqa: ANN401 - the struct's own
    named: dict[str, Any] = {"probe_id": "p", "spool_id": "s", "topic": SUMMARY.name, "last_seq": 9, "judged_acked": 9}
    named |= {"stored": 10, "quarantined": 0, "stored_streams": 100, "quarantined_streams": 0, "present": [(0, 9)]}
    return SpoolFacts(**(named | fields))


def test_a_spool_of_which_all_is_stored_has_no_hole() -> None:
    found = account([facts()], since_ms=1, until_ms=2)
    assert (found.batches, found.residual, found.holes) == (Totals(produced=10, stored=10), 0, ())
    assert found.summaries_stored == 100


def test_what_was_acknowledged_and_is_nowhere_is_missing_and_named() -> None:
    found = account([facts(present=[(0, 3), (6, 9)], stored=8)], since_ms=1, until_ms=2)
    assert (found.residual, found.batches.missing) == (2, 2)
    assert [(hole.first, hole.last, hole.fate) for hole in found.holes] == [(4, 5, "missing")]


def test_the_tail_of_a_dead_run_is_known_from_its_heartbeats() -> None:
    found = account([facts(present=[(0, 3)], stored=4, judged_acked=6)], since_ms=1, until_ms=2)
    assert [(hole.first, hole.last, hole.fate) for hole in found.holes] == [(4, 6, "missing"), (7, 9, "pending")]


def test_a_declared_drop_is_no_residual_and_what_arrived_all_the_same_is_stored() -> None:
    found = account([facts(present=[(0, 3), (5, 5)], stored=5, dropped=[(3, 9), (7, 8)])], since_ms=1, until_ms=2)
    assert (found.residual, found.batches.dropped) == (0, 5)


def test_a_spool_that_only_its_heartbeat_knows_is_pending_until_it_was_acknowledged() -> None:
    nothing = facts(present=[], stored=0, stored_streams=0)
    assert account([nothing], since_ms=1, until_ms=2).batches.missing == 10
    fresh = facts(present=[], stored=0, stored_streams=0, judged_acked=-1)
    assert account([fresh], since_ms=1, until_ms=2).batches.pending == 10
    empty = facts(present=[], stored=0, stored_streams=0, last_seq=-1, judged_acked=-1)
    assert account([empty], since_ms=1, until_ms=2).batches == Totals()


def test_heartbeats_are_counted_apart_and_their_loss_is_residual_too() -> None:
    found = account([facts(), facts(topic=HEALTH.name, present=[(0, 8)], stored=9)], since_ms=1, until_ms=2)
    assert (found.batches.missing, found.others.missing, found.residual, found.spools) == (0, 1, 1, 1)


seqs = st.integers(0, 14)
ranges = st.tuples(seqs, seqs).map(lambda pair: (min(pair), max(pair)))


@given(st.sets(seqs), st.integers(-1, 14), st.integers(-1, 14), st.lists(ranges, max_size=3))
def test_every_seq_has_the_fate_that_a_plain_loop_gives_it(
    known: set[int], last: int, acked: int, dropped: list[tuple[int, int]]
) -> None:
    last = max([last, *known])
    fates = []
    for seq in range(last + 1):
        if seq in known:
            fates.append("stored")
        elif any(first <= seq <= until for first, until in dropped):
            fates.append("dropped")
        else:
            fates.append("missing" if seq <= acked else "pending")
    each = facts(
        last_seq=last, judged_acked=acked, stored=len(known), present=[(s, s) for s in sorted(known)], dropped=dropped
    )
    found = account([each], since_ms=1, until_ms=2)
    told = ["stored"] * (last + 1)
    for hole in found.holes:
        told[hole.first : hole.last + 1] = [hole.fate] * (hole.last - hole.first + 1)
    assert told == fates
    assert found.residual == fates.count("missing")
    assert found.batches.produced == len(fates)


@given(st.sets(st.integers(0, 40), min_size=1), st.integers(1, 7))
def test_the_ranges_of_pieces_are_those_of_a_plain_loop(known: set[int], size: int) -> None:
    pieces = []
    for chunk in range(0, 41, size):
        some = sorted(seq for seq in known if chunk <= seq < chunk + size)
        if some:
            pieces.append((some[0], some[-1], [seq for seq in range(some[0], some[-1]) if seq not in known]))
    found = ranges_of(pieces)
    assert [seq for first, last in found for seq in range(first, last + 1)] == sorted(known)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(found))
