import numpy as np
import pytest
from benchmarks.faults import differing
from benchmarks.freshness import slope
from benchmarks.national import SLOT_MS, National, delay_columns
from benchmarks.stages import raw_messages
from benchmarks.world import CLOCK

from schemas.clock import wall_ms
from schemas.codec import unpack_histograms
from schemas.histogram import build
from streams.block import block_of, packed
from streams.block_bounds import rules
from streams.membership import MemberKey, Membership, make_plan
from streams.verify import VerifiedSummary, verify


@pytest.fixture(scope="module")
def mesh() -> National:
    return National(1, streams_each=7, distinct=3)


def membership(mesh: National) -> Membership:
    keys = [
        MemberKey(probe_id=probe.id, key_id=key.id, public=bytes.fromhex(key.public))
        for probe in mesh.mesh.probes
        for key in probe.keys
    ]
    owners = {stream.id: stream.probe_id for stream in mesh.mesh.streams}
    about = {"mesh": mesh.mesh.id, "version": mesh.mesh.version}
    return Membership([make_plan(**about, valid_from_ms=0, keys=keys, probe_of_stream=owners, probe_of_endpoint={})])


def test_what_the_probes_send_is_what_the_worker_takes_whole(mesh: National) -> None:
    known = membership(mesh)
    verdicts = [verify(message, known, now_ms=wall_ms(CLOCK)) for message in raw_messages(mesh, 100)]
    taken = [verdict for verdict in verdicts if isinstance(verdict, VerifiedSummary)]
    assert [len(verdict.kept) for verdict in taken] == [7] * 100


def test_the_whole_mesh_is_the_national_rate() -> None:
    assert National(1).summaries_per_slot * 1000 // SLOT_MS == 648


def test_slots_that_share_their_figures_keep_their_own_identity(mesh: National) -> None:
    probe_id = mesh.probes[0]
    first, again, other = (mesh.batch(probe_id, seq * SLOT_MS, seq) for seq in (0, 3, 1))
    assert first.forward == again.forward != other.forward
    assert (first.seq, first.slot_start_ms, again.seq, again.slot_start_ms) == (0, 0, 3, 3 * SLOT_MS)


def test_the_columns_are_those_of_the_packets_one_by_one() -> None:
    chance = np.random.default_rng(2)
    us = chance.integers(1, 90_000, (5, 12))
    n = np.array([12, 0, 7, 1, 2])
    columns = delay_columns(us, n)
    for row, (bins, counts) in enumerate(unpack_histograms(columns.histogram)):
        heard = us[row, : n[row]]
        assert dict(zip(bins, counts, strict=True)) == build(heard)
        assert columns.sum_us[row] == heard.sum()
        varied = np.abs(np.diff(heard)) if len(heard) > 1 else heard[:0]
        assert columns.ipdv_pairs[row] == len(varied)
        ipdv_bins, ipdv_counts = unpack_histograms(columns.ipdv_histogram)[row]
        assert dict(zip(ipdv_bins, ipdv_counts, strict=True)) == build(varied)


def test_a_batch_without_an_answer_is_within_bounds(mesh: National) -> None:
    for probe_id in mesh.probes[:5]:
        block = block_of([packed(mesh.batch(probe_id, SLOT_MS, 0))])
        assert [text for text, holds in rules(block) if not holds.all()] == []


def test_growth_is_told_from_what_came_after_settling() -> None:
    assert slope({0: 500.0, 1: 500.0, 2: 10.0, 3: 12.0, 4: 14.0}, after=1) == pytest.approx(2.0)


def test_windows_that_are_missing_or_too_many_differ_as_well_as_the_wrong_ones() -> None:
    a, b, c, d = (("p", stream, 0) for stream in range(4))
    found = {a: {"n": 1}, b: {"n": 2}, c: {"n": 3}}
    wanted = {a: {"n": 1}, b: {"n": 9}, d: {"n": 4}}
    assert differing(found, wanted) == 3
