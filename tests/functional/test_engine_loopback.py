"""The engine on real sockets: kernel stamps, fates and strangers, over loopback."""

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from support.probing import (
    INTERVAL_NS,
    TIMEOUT_NS,
    Puppet,
    dice,
    drive,
    drive_until,
    packets,
    puppet,
    reflecting,
    target,
)

from probes.engine.core import Engine, open_engine
from probes.engine.libc import MSG_ERRQUEUE
from probes.engine.mmsg import Mailbox
from probes.engine.sockets import name_of, open_probe_socket
from probes.engine.targets import StreamTarget
from probes.packets import NO_DELAY_NS, Fate
from probes.reflector import ReflectorEndpoint
from schemas.clock import Clock, SystemClock
from schemas.errors import ConfigError, UnavailableError

CLOCK = SystemClock()


class Stage:
    """A puppet and an engine that probes it with one stream."""

    def __init__(self, peer: Puppet, engine: Engine) -> None:
        self.peer = peer
        self.engine = engine

    def wait_for_requests(self, count: int) -> None:
        drive_until(self.engine, lambda: self.peer.take() >= count, f"{count} requests", lambda: None)

    def drive(self, seconds: float) -> None:
        drive(self.engine, seconds, each_tick=self.peer.take)

    def fates(self) -> list[int]:
        fates: list[int] = packets(self.engine)["fate"].tolist()
        return fates


@pytest.fixture
def stage() -> Iterator[Stage]:
    with puppet() as peer, open_engine([target(port=peer.port)], clock=CLOCK, random=dice(1)) as engine:
        yield Stage(peer, engine)


def test_both_ends_stamp_in_the_kernel_and_the_delays_are_those_of_loopback() -> None:
    with (
        reflecting(ReflectorEndpoint(address="127.0.7.1", port=8620)) as reflector,
        open_engine([target(port=8620)], clock=CLOCK, random=dice(1)) as engine,
    ):
        drive(engine, 0.6)
        seen = packets(engine)
    answered = seen[seen["fate"] == Fate.ANSWERED]
    assert answered.size >= 20
    assert answered["counter"].tolist() == list(range(answered.size))
    assert engine.counters.kernel_tx == engine.counters.kernel_rx == answered.size
    assert engine.counters.follow_ups == answered.size - 1  # the last reply waits for the next one to bring its time
    assert reflector.kernel_rx == reflector.answered
    followed = answered[:-1]
    for way in ("forward_ns", "backward_ns"):
        assert followed[way].min() >= 0
        assert np.median(followed[way]) < 50_000
    assert (followed["rtt_ns"] == followed["forward_ns"] + followed["backward_ns"]).all()


def test_over_ipv6_too() -> None:
    place = StreamTarget(
        row=0, stream_id=1, token=1, method="stamp", source="::1", destination="::1", port=8620,
        interval_ns=INTERVAL_NS, timeout_ns=TIMEOUT_NS,
    )  # fmt: skip
    with (
        reflecting(ReflectorEndpoint(address="::1", port=8620)),
        open_engine([place], clock=CLOCK, random=dice(1)) as engine,
    ):
        drive(engine, 0.3)
        assert engine.last_answered_index[0] >= 8
        assert engine.counters.kernel_rx > 0


@pytest.mark.needs_net
@pytest.mark.alone
def test_icmp_echo_is_answered_by_the_kernel_and_stamped_by_it() -> None:
    with open_engine([target(method="icmp", destination="127.0.7.9")], clock=CLOCK, random=dice(1)) as engine:
        drive(engine, 0.4)
        seen = packets(engine)
        assert engine.self_check()[0].mode in ("icmp-dgram", "icmp-raw")
    answered = seen[seen["fate"] == Fate.ANSWERED]
    assert answered.size >= 12
    assert (answered["counter"] == -1).all()
    assert 0 <= np.median(answered["rtt_ns"]) < 200_000
    assert engine.counters.kernel_tx == answered.size


def test_what_nobody_answers_is_lost_and_what_is_answered_too_late_is_late(stage: Stage) -> None:
    stage.wait_for_requests(2)
    stage.drive(TIMEOUT_NS / 1e9 + 0.1)
    assert stage.fates()[:2] == [Fate.LOST, Fate.LOST]
    stage.peer.answer(1)
    stage.drive(0.03)
    assert stage.fates()[:2] == [Fate.LOST, Fate.LATE]


def test_no_reply_ever_moves_a_departure(stage: Stage) -> None:
    stage.drive(0.4)
    seen = packets(stage.engine)
    assert set(np.diff(seen["due_ns"]).tolist()) == {INTERVAL_NS}
    assert 18 <= seen.size <= 21


def test_copies_and_reordering_are_seen(stage: Stage) -> None:
    stage.wait_for_requests(3)
    stage.peer.answer(2)
    stage.peer.answer(0)
    stage.peer.send(0, stage.peer.reply(0, count=False))
    stage.peer.answer(0)
    stage.drive(0.03)
    seen = packets(stage.engine)
    assert seen["fate"][:3].tolist() == [Fate.ANSWERED, Fate.PENDING, Fate.ANSWERED]
    assert seen["reordered"][:3].tolist() == [True, False, False]
    assert (seen["duplicates"][0], seen["duplicate_counters"][0]) == (2, 1)


def test_f35_replies_of_strangers_are_counted_and_change_nothing(stage: Stage) -> None:
    stage.wait_for_requests(1)
    good = stage.peer.reply(0)
    stage.peer.send(0, stage.peer.reply(0, token=99))
    stage.peer.send(0, good[:63])
    stage.peer.send(0, good + bytes(400))
    stage.peer.send(0, good[:24] + b"\xff\xff\xff\xff" + good[28:])
    stage.peer.send(0, good[:56] + (1 << 40).to_bytes(8, "big") + good[64:])
    with puppet("127.0.7.2") as stranger:
        stranger.requests = stage.peer.requests
        stranger.send(0, good)
    stage.drive(0.03)
    assert stage.fates()[0] == Fate.PENDING
    assert stage.engine.counters.ignored == {
        "foreign_token": 1, "short": 1, "oversized": 1, "garbage": 1, "never_sent": 1, "wrong_source": 1
    }  # fmt: skip
    stage.peer.send(0, good)
    stage.drive(0.03)
    assert stage.fates()[0] == Fate.ANSWERED


def test_a_closed_port_is_unreachable_with_its_cause() -> None:
    with open_engine([target(port=9)], clock=CLOCK, random=dice(1)) as engine:
        drive(engine, 0.2)
        fates = packets(engine)["fate"].tolist()
    assert set(fates) == {Fate.UNREACHABLE}
    assert engine.counters.unreachable == {"Destination port unreachable": len(fates)}
    assert not engine.counters.send_failed


def test_the_error_of_one_packet_does_not_fail_the_next_on_the_same_socket() -> None:
    """All leave in one call: the error of each closed port stands in the way of the one behind it."""
    targets = [
        msgspec.structs.replace(target(row, port=port), phase_ns=0) for row, port in enumerate((9, 8620, 11, 8620))
    ]
    with (
        reflecting(ReflectorEndpoint(address="127.0.7.1", port=8620)),
        open_engine(targets, clock=CLOCK, random=dice(1)) as engine,
    ):
        drive(engine, 0.2)
        fates = [set(packets(engine, row)["fate"][:-1].tolist()) for row in range(4)]
    assert fates == [{Fate.UNREACHABLE}, {Fate.ANSWERED}] * 2
    assert not engine.counters.send_failed


def test_a_pending_error_is_stepped_over_by_the_next_send_and_the_next_receive() -> None:
    sock, _ = open_probe_socket(target())
    closed, out, replies = name_of(4, "127.0.7.1", 9), Mailbox(1, 8, control=False), Mailbox(1, 8, control=True)
    out.name[: len(closed)] = closed
    with sock:
        assert [out.send(sock.fileno(), 0, 1) for _ in range(3)] == [1, 1, 1]
        assert replies.receive(sock.fileno()) == 0
        assert replies.receive(sock.fileno(), MSG_ERRQUEUE) == 1


def test_a_send_that_fails_is_no_loss_and_the_stamps_stay_right_after_it() -> None:
    """Broadcast is refused by the kernel; the good stream on the same socket must keep its own stamps."""
    with (
        reflecting(ReflectorEndpoint(address="127.0.7.1", port=8620)),
        open_engine(
            [target(port=8620), target(1, destination="255.255.255.255", port=8620)], clock=CLOCK, random=dice(1)
        ) as engine,
    ):
        drive(engine, 0.4)
        good, bad = packets(engine, 0), packets(engine, 1)
    assert set(bad["fate"].tolist()) == {Fate.SEND_FAILED}
    assert engine.counters.send_failed == {"EACCES": bad.size}
    answered = good[good["fate"] == Fate.ANSWERED]
    assert answered.size >= 12
    assert engine.counters.kernel_tx == answered.size
    assert np.median(answered["forward_ns"]) < 50_000


def test_a_quiet_peer_makes_a_silent_stream_and_an_answer_ends_it() -> None:
    with puppet() as peer, open_engine([target(port=peer.port)], clock=CLOCK, random=dice(1)) as engine:
        drive_until(engine, lambda: engine.silent_rows() == [0], "silence", peer.take)
        assert engine.consecutive_unanswered_overdue[0] == 50  # one second of packets
        peer.answer(len(peer.requests) - 1)
        drive_until(engine, lambda: engine.silent_rows() == [], "the answer", peer.take)


class SteppedClock(SystemClock):
    """This host's clock, with a wall clock that the test can step."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def wall_ns(self) -> int:
        return super().wall_ns() + self.ahead_ns


def test_a_clock_step_voids_the_delays_in_flight_and_enters_what_was_passed_over() -> None:
    clock = SteppedClock()
    typed: Clock = clock
    with puppet() as peer, open_engine([target(port=peer.port)], clock=typed, random=dice(1)) as engine:
        drive_until(engine, lambda: peer.take() >= 2, "2 requests", lambda: None)
        before = int(engine.next_index[0])
        clock.ahead_ns = 2_000_000_000
        engine.tick()
        peer.answer(0)
        peer.answer(1)
        drive(engine, 0.05, each_tick=peer.take)
        seen = packets(engine)
    assert engine.counters.clock_steps == 1
    assert seen["fate"][:2].tolist() == [Fate.ANSWERED] * 2
    assert (seen["forward_ns"][:2] == NO_DELAY_NS).all()
    passed_over = np.flatnonzero(seen["fate"] == Fate.SEND_FAILED)
    assert passed_over.tolist() == list(range(before, before + passed_over.size))
    assert 70 <= passed_over.size <= 76  # 1.5 s at 50/s: the last half second is still sent
    assert (np.diff(seen["due_ns"]) == INTERVAL_NS).all()


def test_an_address_of_another_host_is_one_clear_line_and_the_other_sockets_go_on() -> None:
    foreign = StreamTarget(
        row=1, stream_id=2, token=2, method="stamp", source="192.0.2.1", destination="192.0.2.2", timeout_ns=TIMEOUT_NS
    )
    with open_engine([target(port=9), foreign], clock=CLOCK, random=dice(1)) as engine:
        drive(engine, 0.15)
        assert set(packets(engine, 1)["fate"].tolist()) == {Fate.SEND_FAILED}
        assert "does not have that address" in engine.self_check()[1].error
        assert engine.counters.sent > 0
    alone = StreamTarget(row=0, stream_id=2, token=2, method="stamp", source="192.0.2.1", destination="192.0.2.2")
    with (
        pytest.raises(UnavailableError, match="check the endpoint in the mesh file"),
        open_engine([alone], clock=CLOCK, random=dice(1)),
    ):
        pass


def test_the_condition_tells_lateness_and_stamp_source_and_starts_afresh() -> None:
    with (
        reflecting(ReflectorEndpoint(address="127.0.7.1", port=8620)),
        open_engine([target(port=8620)], clock=CLOCK, random=dice(1)) as engine,
    ):
        drive(engine, 0.15)
        told = engine.take_condition()
        assert told.stamp_source == "kernel"
        assert told.send_lateness_p99_us is not None
        assert 0 <= told.send_lateness_p99_us < 500_000
        assert told.socket_drops == 0
        assert engine.take_condition().send_lateness_p99_us is None


def test_a_missing_namespace_and_an_empty_list_are_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match="no targets"), open_engine([], clock=CLOCK, random=dice(1)):
        pass
    nowhere = StreamTarget(
        row=0, stream_id=1, token=1, method="stamp", source="127.0.0.1", destination="127.0.0.1", netns="no-such-place"
    )
    with (
        pytest.raises(UnavailableError, match="namespace no-such-place does not exist"),
        open_engine([nowhere], clock=CLOCK, random=dice(1)),
    ):
        pass
