"""The fold is a reduce over a set: blind to order, repeats and grouping, and equal to plain arithmetic."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plain_fold import SUMMED, Slot, fold_plainly
from support.produced import slot_columns

from schemas.tables import KPI_1M
from streams.columns import lists
from streams.fold import SLOT_COLUMNS, fold

WAYS = ("rtt_", "forward_", "backward_")
counts = st.integers(0, 1 << 24)
histograms = st.dictionaries(st.integers(0, 4095), st.integers(1, 1000), max_size=4)


@st.composite
def slots(draw: st.DrawFn) -> Slot:
    slot: Slot = {
        "probe_id": draw(st.sampled_from(["m/p1", "m/p2"])),
        "spool_id": draw(st.sampled_from(["s1", "s2"])),
        "stream_id": draw(st.sampled_from([7, (1 << 53) - 1])),
        "slot": 1_760_000_040 + 10 * draw(st.integers(-2, 7)),
        "revision": draw(st.integers(1, 15)),
        "mesh": draw(st.sampled_from(["m", "n"])),
        "clock_error_us": draw(st.integers(0, (1 << 63) - 1)),
        "loss_run_max": draw(st.integers(0, (1 << 32) - 1)),
    }
    slot |= {name: draw(st.integers(0, 1)) for name in ("complete", "clock_synchronised", "probe_sick", "loaded")}
    slot |= {name: draw(counts) for name in SUMMED}
    for way in WAYS:
        slot |= draw(delays(way))
    return slot


@st.composite
def delays(draw: st.DrawFn, way: str) -> dict[str, Any]:
    out: dict[str, Any] = {way + name: draw(counts) for name in ("ipdv_pairs", "ipdv_abs_sum_us")}
    out[way + "n"] = draw(st.one_of(st.just(0), counts))
    for kind in ("", "ipdv_"):
        histogram = draw(histograms)
        out[f"{way}{kind}bin"] = sorted(histogram)
        out[f"{way}{kind}count"] = [histogram[bin_] for bin_ in sorted(histogram)]
    low, high = sorted((draw(st.integers(-(1 << 47), 1 << 47)), draw(st.integers(-(1 << 47), 1 << 47))))
    some = out[way + "n"] > 0
    return out | {way + "min_us": low * some, way + "max_us": high * some, way + "sum_us": low * some}


@st.composite
def sets(draw: st.DrawFn) -> list[Slot]:
    """Return slots in which an equal key and revision means equal content, as the store holds them."""
    held = draw(st.lists(slots(), min_size=1, max_size=8))
    return list({(s["probe_id"], s["spool_id"], s["stream_id"], s["slot"], s["revision"]): s for s in held}.values())


def folded(held: list[Slot]) -> dict[tuple[str, int, int], dict[str, Any]]:
    block = lists(fold(slot_columns(held), written_ms=5))
    assert sorted(block) == sorted(KPI_1M.columns)
    rows = [dict(zip(block, values, strict=True)) for values in zip(*block.values(), strict=True)]
    assert {row.pop("written_ms") for row in rows} == {5}
    return {(row["probe_id"], row["stream_id"], row["minute"]): row for row in rows}


@given(sets())
@settings(max_examples=60)
def test_the_fold_equals_plain_arithmetic(held: list[Slot]) -> None:
    assert folded(held) == fold_plainly(held)


@given(sets(), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_order_and_repeats_change_nothing(held: list[Slot], random: Any) -> None:  # noqa: ANN401 - random.Random
    again = held + random.choices(held, k=3)
    random.shuffle(again)
    assert folded(again) == folded(held)


@given(sets())
@settings(max_examples=40)
def test_windows_folded_apart_are_the_windows_folded_together(held: list[Slot]) -> None:
    apart: dict[tuple[str, int, int], dict[str, Any]] = {}
    for at in {(slot["probe_id"], slot["slot"] // 60) for slot in held}:
        apart |= folded([slot for slot in held if (slot["probe_id"], slot["slot"] // 60) == at])
    assert apart == folded(held)


@given(sets(), slots())
@settings(max_examples=40)
def test_a_new_slot_or_a_larger_revision_raises_the_version_of_its_window(held: list[Slot], more: Slot) -> None:
    key = ("probe_id", "spool_id", "stream_id", "slot")
    known = [s["revision"] for s in held if all(s[name] == more[name] for name in key)]
    more["revision"] = max(known, default=0) + 1
    at = (more["probe_id"], more["stream_id"], more["slot"] // 60 * 60)
    before = folded(held).get(at, {"version": 0})["version"]
    assert folded([*held, more])[at]["version"] > before


def test_no_slots_are_no_rows() -> None:
    assert fold(slot_columns([]), written_ms=0) == {}


@pytest.mark.parametrize("loaded", [0, 1])
def test_a_half_without_slots_is_zero_and_not_absent(loaded: int) -> None:
    slot: Slot = dict.fromkeys(SLOT_COLUMNS, 1)
    slot |= {"probe_id": "p", "spool_id": "s", "mesh": "m", "slot": 60, "loaded": loaded}
    slot |= {name: [3] for name in SLOT_COLUMNS if name.endswith(("bin", "count"))}
    row = next(iter(folded([slot]).values()))
    other, own = ("", "loaded_") if loaded == 1 else ("loaded_", "")
    assert (row[f"{other}sent"], row[f"{other}forward_min_us"], row[f"{other}forward_bin"]) == (0, 0, [])
    assert (row[f"{own}sent"], row[f"{own}forward_min_us"], row[f"{own}forward_bin"]) == (1, 1, [3])
