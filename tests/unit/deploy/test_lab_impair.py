import itertools
import random
import statistics

import pytest

from deploy.lab.impair import Way
from deploy.lab.ledger import Fate
from deploy.lab.topology import GilbertElliott, Impairment

MS = 1_000_000


def way(impairment: Impairment, seed: int = 7) -> Way:
    return Way(impairment, random.Random(seed))  # noqa: S311 - dice


def fates(impairment: Impairment, count: int) -> list[Fate]:
    cable = way(impairment)
    return [cable.decide(n * MS, 100)[0] for n in range(count)]


def releases(impairment: Impairment, count: int, spacing_ns: int) -> list[int]:
    cable = way(impairment)
    return [n * spacing_ns + cable.decide(n * spacing_ns, 100)[1] for n in range(count)]


def test_an_empty_impairment_forwards_at_once() -> None:
    assert way(Impairment()).decide(5, 100) == (Fate.FORWARDED, 0, False)


def test_a_fixed_delay_is_exact() -> None:
    assert way(Impairment(delay_us=5000)).decide(5, 100) == (Fate.FORWARDED, 5 * MS, False)


def test_a_cut_drops_everything_until_it_heals() -> None:
    cable = way(Impairment(delay_us=10, cut=True))
    assert cable.decide(0, 100)[0] is Fate.DOWN
    cable.change(Impairment(delay_us=10))
    assert cable.decide(1, 100)[0] is Fate.FORWARDED


def test_the_loss_ratio_is_kept() -> None:
    lost = fates(Impairment(loss_ratio=0.05), 20_000).count(Fate.LOST)
    assert lost / 20_000 == pytest.approx(0.05, abs=0.006)


def test_the_same_seed_loses_the_same_packets() -> None:
    assert fates(Impairment(loss_ratio=0.3), 200) == fates(Impairment(loss_ratio=0.3), 200)


def test_burst_loss_has_the_ratio_and_the_mean_burst_of_its_chain() -> None:
    seen = fates(Impairment(gilbert_elliott=GilbertElliott(p=0.01, r=0.2)), 100_000)
    bursts = [len(list(run)) for fate, run in itertools.groupby(seen) if fate is Fate.LOST]
    assert sum(bursts) / len(seen) == pytest.approx(0.01 / 0.21, rel=0.1)
    assert statistics.mean(bursts) == pytest.approx(1 / 0.2, rel=0.1)


def test_jitter_has_the_sigma_it_was_given() -> None:
    delays = [
        release - n * 10 * MS
        for n, release in enumerate(releases(Impairment(delay_us=3000, jitter_us=100), 5000, 10 * MS))
    ]
    assert statistics.mean(delays) == pytest.approx(3 * MS, rel=0.01)
    assert statistics.stdev(delays) == pytest.approx(100_000, rel=0.05)


def test_half_normal_jitter_only_adds() -> None:
    rule = Impairment(delay_us=3000, jitter_us=100, jitter_shape="half_normal")
    added = [release - n * 10 * MS - 3 * MS for n, release in enumerate(releases(rule, 5000, 10 * MS))]
    assert min(added) >= 0
    assert statistics.mean(added) == pytest.approx(79_800, rel=0.05)


def test_jitter_never_makes_a_packet_leave_before_it_came() -> None:
    rule = Impairment(jitter_us=500, keep_order=False)
    assert min(way(rule, seed).decide(MS, 100)[1] for seed in range(50)) == 0


def test_order_is_kept_when_asked_for_and_only_then() -> None:
    rule = Impairment(delay_us=3000, jitter_us=500)
    assert (kept := releases(rule, 500, 10_000)) == sorted(kept)
    loose = releases(Impairment(delay_us=3000, jitter_us=500, keep_order=False), 500, 10_000)
    assert loose != sorted(loose)


def test_a_reordered_packet_skips_the_delay_and_holds_nobody_back() -> None:
    cable = way(Impairment(delay_us=5000, reorder_ratio=1.0))
    assert cable.decide(0, 100)[1] == 0
    cable.change(Impairment(delay_us=5000))
    assert cable.decide(MS, 100)[1] == 5 * MS


def test_duplicates_come_at_their_ratio() -> None:
    cable = way(Impairment(duplicate_ratio=0.1))
    twice = sum(cable.decide(n * MS, 100)[2] for n in range(10_000))
    assert twice / 10_000 == pytest.approx(0.1, abs=0.01)


def test_a_rate_spaces_packets_by_their_size_exactly() -> None:
    cable = way(Impairment(rate_bps=10_000_000, queue_bytes=1_000_000))
    assert [cable.decide(0, 1250)[1] for _ in range(3)] == [1 * MS, 2 * MS, 3 * MS]


def test_an_idle_link_does_not_save_up_rate() -> None:
    cable = way(Impairment(rate_bps=10_000_000))
    cable.decide(0, 1250)
    assert cable.decide(50 * MS, 1250)[1] == 1 * MS


def test_the_queue_drops_what_does_not_fit_and_the_dropped_uses_no_rate() -> None:
    cable = way(Impairment(rate_bps=10_000_000, queue_bytes=3000))
    assert [cable.decide(0, 1250)[0] for _ in range(4)] == [Fate.FORWARDED, Fate.FORWARDED, Fate.QUEUE, Fate.QUEUE]
    assert cable.decide(1 * MS, 1250) == (Fate.FORWARDED, 2 * MS, False)
