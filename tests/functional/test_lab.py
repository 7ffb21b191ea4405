"""The lab on real namespaces: what its ledger says is what the packets did."""

import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.lab import Exchange, chain, echo, exchange, ping_once, two_hosts

from deploy.lab import namespaces, truth
from deploy.lab.lab import Lab, running_lab, take_down
from deploy.lab.ledger import RECORDS_FILE, Fate, read_records
from deploy.lab.netns import NETNS_DIR, in_namespace
from deploy.lab.topology import Host, Impairment, Link, Topology
from schemas.clock import SystemClock
from schemas.errors import ConfigError, UnavailableError

pytestmark = [pytest.mark.needs_net, pytest.mark.alone]

UP_S = 15.0
TOKEN = 2**63 + 5
KERNEL_US = 150  # what the two hosts' kernels and an idle machine may add to a round trip
QUIET_US = 600  # at a wire that is later than this, the machine was busy and a delay says nothing


def replied(seen: Exchange) -> list[int]:
    return sorted({index for index, _ in seen.replies})


def wait_for(what: Callable[[], bool], name: str) -> None:
    clock = SystemClock()
    until_ns = clock.mono_ns() + 5_000_000_000
    while not what():
        assert clock.mono_ns() < until_ns, f"waited 5 s for {name}"
        clock.sleep_s(0.01)


def namespaces_of(lab: Lab) -> list[str]:
    return [name.name for name in NETNS_DIR.iterdir() if lab.run_id in name.name]


def test_a_round_trip_takes_what_the_ledger_says(tmp_path: Path) -> None:
    with running_lab(two_hosts(Impairment(delay_us=5000)), tmp_path / "run", deadline_s=UP_S) as lab:
        with echo(lab, "b") as arrivals:
            seen = exchange(lab, "a", "b", token=TOKEN, count=200, spacing_s=0.005, settle_s=0.1)
        records = lab.records()
    released = records["arrival_ns"] + records["delay_ns"] + records["lateness_ns"]
    requests = records["reply"] == 0
    truly_ns = dict(zip(records["index"][requests].tolist(), released[requests].tolist(), strict=True))
    errors_us = np.array([stamp_ns - truly_ns[index] for index, stamp_ns in arrivals.seen]) / 1000
    assert (records["delay_ns"] == 5_000_000).all()
    assert len(seen.replies) == 200
    # the receiving kernel's stamp against the wire's word: a few microseconds, whatever the load
    assert np.median(np.abs(errors_us)) < 25
    assert np.percentile(np.abs(errors_us), 90) < 100
    lateness_us = np.abs(records["lateness_ns"]) / 1000
    there = {int(row["index"]): float(row["delay_us"]) for row in truth.path_delay_us(records, reply=False)}
    back = {int(row["index"]): float(row["delay_us"]) for row in truth.path_delay_us(records, reply=True)}
    beyond_us = [(stamp - seen.sent_ns[index]) / 1000 - there[index] - back[index] for index, stamp in seen.replies]
    assert min(beyond_us) > -20  # nothing is faster than its wire
    if np.median(lateness_us) < QUIET_US:
        assert 10_000 - 200 < np.median([there[index] + back[index] for index in there]) < 10_000 + 2 * QUIET_US


def test_planted_loss_equals_the_ledger_packet_for_packet(tmp_path: Path) -> None:
    lossy = Impairment(delay_us=500, loss_ratio=0.05)
    with running_lab(chain(3, lossy), tmp_path / "run", deadline_s=UP_S, seed=4) as lab:
        with echo(lab, "c") as arrivals:
            seen = exchange(lab, "a", "c", token=TOKEN, count=1000, spacing_s=0.0005, settle_s=0.2)
        table = truth.losses(lab.records())
        ledger = lab.ledger()
    assert (table["token"] == np.uint64(TOKEN)).all()
    assert table["index"].tolist() == list(range(1000))
    assert table["index"][~truth.lost(table)].tolist() == replied(seen)
    assert table["index"][~truth.lost_forward(table)].tolist() == sorted(index for index, _ in arrivals.seen)
    assert truth.lost_forward(table).sum() + truth.lost_backward(table).sum() == 1000 - len(replied(seen))
    assert 50 < truth.lost(table).sum() < 400  # of four crossings at 5 %: about 185
    counted = sum(state.forward_counts.lost + state.backward_counts.lost for state in ledger.links)
    assert counted == truth.lost(table).sum()
    assert (ledger.overrun, ledger.in_flight) == (0, 0)


def test_a_cut_drops_all_until_it_heals_and_the_ledger_names_them(tmp_path: Path) -> None:
    with (
        running_lab(two_hosts(Impairment(delay_us=1000)), tmp_path / "run", deadline_s=UP_S) as lab,
        echo(lab, "b"),
    ):
        before = exchange(lab, "a", "b", token=1, count=20, spacing_s=0.002, settle_s=0.1)
        lab.wire.cut("ab", "forward")
        during = exchange(lab, "a", "b", token=2, count=20, spacing_s=0.002, settle_s=0.1)
        lab.wire.heal("ab")
        after = exchange(lab, "a", "b", token=3, count=20, spacing_s=0.002, settle_s=0.1)
        table = truth.losses(lab.records())
        counts = lab.ledger().link("ab").forward_counts
    assert [len(replied(seen)) for seen in (before, during, after)] == [20, 0, 20]
    assert (table["request"][table["token"] == 2] == Fate.DOWN).all()
    assert truth.loss_runs(table).tolist() == [(2, 0, 20)]
    assert (counts.entered, counts.left, counts.down_drop) == (60, 40, 20)


def test_cutting_a_host_cuts_each_of_its_links(tmp_path: Path) -> None:
    with running_lab(chain(3, Impairment(delay_us=100)), tmp_path / "run", deadline_s=UP_S) as lab:
        assert lab.cut_host("b") == ["ab", "bc"]
        assert [link.forward.cut and link.backward.cut for link in lab.ledger().links] == [True, True]


def test_a_rate_shapes_to_its_bits_exactly_and_drops_at_the_tail(tmp_path: Path) -> None:
    rule = Impairment(delay_us=1000, rate_bps=10_000_000, queue_bytes=100_000)
    with running_lab(two_hosts(rule, Impairment()), tmp_path / "run", deadline_s=UP_S) as lab:
        with echo(lab, "b", replies=False) as arrivals:
            exchange(lab, "a", "b", token=TOKEN, count=1500, spacing_s=0.0008, settle_s=0.3, size_bytes=1400)
        records = lab.records()
        counts = lab.ledger().link("ab").forward_counts
    stamps_ns = np.array([stamp_ns for _, stamp_ns in arrivals.seen])
    rate_bps = (len(stamps_ns) - 1) * 1428 * 8e9 / (stamps_ns[-1] - stamps_ns[0])
    assert rate_bps == pytest.approx(10_000_000, rel=0.01)
    assert counts.queue_drop == (records["fate"] == Fate.QUEUE).sum() == 1500 - len(stamps_ns) > 0
    assert records["delay_ns"].max() <= 1_000_000 + 100_000 * 800  # never longer than the queue takes to drain


def test_duplicates_arrive_as_often_as_the_ledger_says(tmp_path: Path) -> None:
    rule = Impairment(delay_us=500, duplicate_ratio=0.2)
    with running_lab(two_hosts(rule, Impairment(delay_us=500)), tmp_path / "run", deadline_s=UP_S) as lab:
        with echo(lab, "b"):
            seen = exchange(lab, "a", "b", token=TOKEN, count=200, spacing_s=0.001, settle_s=0.1)
        table = truth.losses(lab.records())
    assert len(seen.replies) == table["reply_copies"].sum() == 200 + lab_duplicates(table) > 200


def lab_duplicates(table: truth.Table) -> int:
    return int((table["request_copies"] - 1).sum())


def test_planted_jitter_is_in_the_ledger_as_it_is_in_the_packets(tmp_path: Path) -> None:
    rule = Impairment(delay_us=3000, jitter_us=100)
    with running_lab(two_hosts(rule, Impairment()), tmp_path / "run", deadline_s=UP_S) as lab:
        with echo(lab, "b", replies=False) as arrivals:
            exchange(lab, "a", "b", token=TOKEN, count=500, spacing_s=0.004, settle_s=0.1)
        records = lab.records()
    true_us = truth.ipdv_us(truth.path_delay_us(records, reply=False))["delay_us"]
    came_us = dict(zip(records["index"].tolist(), (records["arrival_ns"] / 1000).tolist(), strict=True))
    seen_us = np.array([stamp_ns / 1000 - came_us[index] for index, stamp_ns in sorted(arrivals.seen)])
    assert np.abs(np.diff(seen_us)).mean() == pytest.approx(np.abs(true_us).mean(), rel=0.05)
    assert np.diff(records["delay_ns"]).std() == pytest.approx(2**0.5 * 100_000, rel=0.15)


def test_a_time_to_live_that_runs_out_is_answered_by_the_hop(tmp_path: Path) -> None:
    with running_lab(chain(4, Impairment(delay_us=100)), tmp_path / "run", deadline_s=UP_S) as lab:
        answers = [ping_once(lab, "a", "d", ttl=ttl) for ttl in (1, 2, 3)]
    assert answers == [(11, lab.address("b")), (11, lab.address("c")), (0, lab.address("d"))]


def test_echo_requests_are_test_packets_too(tmp_path: Path) -> None:
    with running_lab(two_hosts(Impairment(delay_us=100)), tmp_path / "run", deadline_s=UP_S) as lab:
        assert ping_once(lab, "a", "b", payload=struct.pack("!QQ", 11, 12)) == (0, lab.address("b"))
        records = lab.records()
    assert records[["token", "index", "reply", "leg"]].tolist() == [(11, 12, 0, 0), (11, 12, 1, 1)]


def test_a_lab_of_24_hosts_and_40_links_is_up_in_time_and_leaves_nothing(tmp_path: Path) -> None:
    clock = SystemClock()
    began_ns = clock.mono_ns()
    with running_lab(wide(), tmp_path / "run", deadline_s=UP_S) as lab:
        up_s = (clock.mono_ns() - began_ns) / 1e9
        assert len(namespaces_of(lab)) == 25
        assert ping_once(lab, "h0", "h12") == (0, lab.address("h12"))
    assert namespaces_of(lab) == []
    assert up_s < 4.0  # 0.8 s on a quiet machine; room for one that is shared


def wide() -> Topology:
    hosts = tuple(Host(name=f"h{n}", addresses=(f"10.78.0.{n + 1}",)) for n in range(24))
    ends = [(n, (n + 1) % 24) for n in range(24)] + [(n, n + 8) for n in range(16)]
    rule = Impairment(delay_us=200)
    links = tuple(Link(name=f"l{a}-{b}", a=f"h{a}", b=f"h{b}", forward=rule, backward=rule) for a, b in ends)
    return Topology(hosts=hosts, links=links)


def test_two_labs_with_the_same_addresses_live_side_by_side(tmp_path: Path) -> None:
    topology = two_hosts(Impairment(delay_us=100))
    with (
        running_lab(topology, tmp_path / "one", deadline_s=UP_S) as one,
        running_lab(topology, tmp_path / "two", deadline_s=UP_S) as two,
    ):
        one.wire.cut("ab")
        assert ping_once(two, "a", "b") == (0, two.address("b"))
        assert ping_once(one, "a", "b", wait_s=0.2) is None


def test_a_killed_wire_is_noticed_and_everything_else_is_removed(tmp_path: Path) -> None:
    with running_lab(two_hosts(Impairment()), tmp_path / "run", deadline_s=UP_S) as lab:
        os.kill(lab.wire_pid, signal.SIGKILL)
        wait_for(lambda: not lab.alive(), "the end of the killed wire")
        with pytest.raises(UnavailableError, match="is the lab up"):
            lab.ledger()
    assert not lab.alive()
    assert namespaces_of(lab) == []


def test_a_failure_inside_the_block_still_removes_everything(tmp_path: Path) -> None:
    names: list[str] = []

    def fail() -> None:
        with running_lab(two_hosts(Impairment()), tmp_path / "run", deadline_s=UP_S) as lab:
            names.append(lab.run_id)
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        fail()
    assert [name for name in NETNS_DIR.iterdir() if names[0] in name.name] == []


def test_packets_in_flight_when_the_lab_ends_are_written_down_as_abandoned(tmp_path: Path) -> None:
    with running_lab(two_hosts(Impairment(delay_us=1_900_000)), tmp_path / "run", deadline_s=UP_S) as lab:
        exchange(lab, "a", "b", token=TOKEN, count=3, spacing_s=0.001, settle_s=0.05)
        assert lab.ledger().in_flight == 3
    assert read_records(tmp_path / "run" / RECORDS_FILE)["fate"].tolist() == [Fate.ABANDONED] * 3


def test_leftovers_of_a_dead_process_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    dead = "p1s999999999999n0"  # process 1 lives, but did not start then
    namespaces.make(dead, two_hosts(Impairment()))
    with running_lab(two_hosts(Impairment()), tmp_path / "run", deadline_s=UP_S) as lab:
        assert namespaces.of_run(dead) == []
        assert namespaces.remove_stale() == []
        assert len(namespaces_of(lab)) == 3


def test_a_lab_is_taken_down_from_its_folder(tmp_path: Path) -> None:
    with running_lab(two_hosts(Impairment()), tmp_path / "run", deadline_s=UP_S) as lab:
        with pytest.raises(UnavailableError, match="still holds 3 namespaces"):
            take_down(tmp_path / "run", deadline_s=0.5)  # we, the holder, have not noticed yet
        wait_for(lambda: not lab.alive(), "the end of the stopped wire")
    take_down(tmp_path / "run", deadline_s=1.0)


def test_a_folder_without_or_with_a_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no lab was ever up here"):
        take_down(tmp_path, deadline_s=1.0)
    (tmp_path / "wire.json").write_text("{}")
    with (
        pytest.raises(UnavailableError, match="already holds a run"),
        running_lab(two_hosts(Impairment()), tmp_path, deadline_s=UP_S),
    ):
        pass


def test_a_thread_returns_from_a_namespace_also_after_an_error() -> None:
    home = Path("/proc/thread-self/ns/net").readlink()
    with pytest.raises(UnavailableError, match="bring the lab up first"), in_namespace("iso-none"):
        pass
    assert Path("/proc/thread-self/ns/net").readlink() == home
