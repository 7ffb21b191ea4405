"""The reflector on real sockets: what it answers, whom, and what it refuses by name."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from scapy.contrib.stamp import STAMPSessionSenderTestUnauthenticated
from support.probing import dice, drive, packets, reflecting

from probes import stamp
from probes.engine.core import open_engine
from probes.engine.netns import inside
from probes.engine.targets import StreamTarget
from probes.packets import Fate
from probes.reflector import Reflector, ReflectorConfig, ReflectorEndpoint, open_reflector, run_reflector
from schemas.clock import Clock, SystemClock
from schemas.errors import ConfigError, UnavailableError

CLOCK = SystemClock()
HERE = ReflectorEndpoint(address="127.0.8.1", port=8620)


@contextmanager
def asking(source: str = "127.0.0.1", *, hop_limit: int = 64) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.settimeout(2)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop_limit)
        sock.connect((HERE.address, HERE.port))
        yield sock


def request(sequence: int = 0, ssid: int = 5) -> bytes:
    packet = stamp.request_template(ssid)
    stamp.fill_request(packet, 0, token=1, index=sequence, sent_ns=CLOCK.wall_ns(), error_estimate=0x4101, ssid=ssid)
    return bytes(packet)


def exchange(sock: socket.socket, packet: bytes) -> bytes:
    sock.send(packet)
    return sock.recv(4096)


def wait_for(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 3
    while not holds():
        assert time.monotonic() < until, f"waited 3 s for {what}"
        time.sleep(0.005)


def test_a_reply_carries_the_arrival_the_hop_limit_and_the_senders_words() -> None:
    with reflecting(HERE), asking(hop_limit=77) as sock:
        before_ns = CLOCK.wall_ns()
        asked = request(9)
        seen = stamp.decode_reply(exchange(sock, asked))
        after_ns = CLOCK.wall_ns()
    assert (seen.counter, seen.sender_sequence, seen.ssid, seen.sender_ttl) == (0, 9, 5, 77)
    assert before_ns <= seen.receive_ns <= seen.transmit_ns <= after_ns
    assert seen.sender_error_estimate == 0x4101
    assert seen.sender_ns == int.from_bytes(asked[4:8], "big") * 10**9 + int.from_bytes(asked[8:12], "big")


@pytest.mark.parametrize("size", [44, 47, 84, 500, 1_500])
def test_a_reply_is_exactly_as_long_as_its_request(size: int) -> None:
    with reflecting(HERE), asking() as sock:
        assert len(exchange(sock, request()[:size] + bytes(max(size - 84, 0)))) == size


def test_scapys_sender_is_answered() -> None:
    with reflecting(HERE), asking() as sock:
        seen = stamp.decode_reply(exchange(sock, bytes(STAMPSessionSenderTestUnauthenticated(seq=3, ssid=8))))
    assert (seen.sender_sequence, seen.ssid) == (3, 8)


def test_each_session_has_its_own_counter() -> None:
    with reflecting(HERE) as reflector, asking() as one, asking() as other:
        counters = [
            stamp.decode_reply(exchange(sock, request(ssid=ssid))).counter
            for sock, ssid in ((one, 1), (one, 1), (one, 2), (other, 1), (one, 1))
        ]
        assert counters == [0, 1, 0, 0, 2]
        assert reflector.session_count() == 3


def test_the_next_reply_tells_when_the_last_one_really_left() -> None:
    with reflecting(HERE), asking() as sock:
        first, second = exchange(sock, request(0)), exchange(sock, request(1))
    seen = stamp.decode_reply(first)
    assert stamp.decode_follow_up(first, stamp.FOLLOW_UP_AT, 0x4000) is None
    followed = stamp.decode_follow_up(second, stamp.FOLLOW_UP_AT, 0x4000)
    assert followed is not None
    assert followed[0] == seen.counter
    assert 0 <= followed[1] - seen.transmit_ns < 50_000_000


@pytest.mark.parametrize(
    ("reason", "packet"),
    [
        ("short", request()[:43]),
        ("short", b""),
        ("oversized", bytes(1_601)),
        ("version", request()[:12] + b"\x00\x00" + request()[14:]),
    ],
    ids=["a byte too short", "empty", "oversized", "version"],  # a packet holds the time: no name for a test
)
def test_what_is_no_stamp_packet_is_refused_by_name_and_the_next_is_answered(reason: str, packet: bytes) -> None:
    with reflecting(HERE) as reflector, asking() as sock:
        sock.send(packet)
        assert stamp.decode_reply(exchange(sock, request(1))).counter == 0
        assert reflector.refused == {reason: 1}


def test_a_stranger_gets_no_answer_and_costs_no_session() -> None:
    with reflecting(HERE, allow=("127.0.0.1",)) as reflector, asking("127.0.0.2") as stranger, asking() as sock:
        stranger.send(request())
        assert exchange(sock, request())
        assert reflector.refused == {"stranger": 1}
        assert reflector.session_count() == 1
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.recv(100)


class MovedClock(SystemClock):
    """This host's clock, with a monotonic clock that the test moves on."""

    def __init__(self) -> None:
        self.later_ns = 0

    def mono_ns(self) -> int:
        return self.later_ns


def serve(reflector: Reflector, sock: socket.socket, packet: bytes) -> None:
    sock.send(packet)
    reflector.serve_once(1.0)


def test_a_source_above_its_rate_is_refused_until_the_next_second() -> None:
    clock = MovedClock()
    config = ReflectorConfig(endpoints=(HERE,), allow=("127.0.0.1",), rate_per_source_pps=2)
    typed: Clock = clock
    with open_reflector(config, clock=typed) as reflector, asking() as sock:
        for _ in range(3):
            serve(reflector, sock, request())
        assert (reflector.answered, reflector.refused) == (2, {"rate": 1})
        clock.later_ns = 1_000_000_000
        serve(reflector, sock, request())
        assert reflector.answered == 3


def test_a_session_not_heard_of_expires_and_no_more_than_the_limit_are_kept() -> None:
    clock = MovedClock()
    config = ReflectorConfig(endpoints=(HERE,), allow=("127.0.0.1",), session_expiry_s=10, max_sessions=2)
    typed: Clock = clock
    with open_reflector(config, clock=typed) as reflector, asking() as sock:
        for ssid in (1, 2, 3):
            serve(reflector, sock, request(ssid=ssid))
        assert (reflector.session_count(), reflector.refused) == (2, {"sessions": 1})
        clock.later_ns = 10_000_000_001
        serve(reflector, sock, request(ssid=3))
        assert reflector.session_count() == 1


def test_it_runs_until_it_is_told_to_stop() -> None:
    stop = threading.Event()
    config = ReflectorConfig(endpoints=(HERE,), allow=("127.0.0.1",))
    thread = threading.Thread(target=run_reflector, args=(config,), kwargs={"clock": CLOCK, "stop": stop.is_set})
    thread.start()
    with asking() as sock:
        sock.settimeout(0.1)
        wait_for(lambda: _answers(sock), "the reflector's first answer")
    stop.set()
    thread.join(timeout=3)
    assert not thread.is_alive()


def _answers(sock: socket.socket) -> bool:
    try:
        return len(exchange(sock, request())) == 84
    except (TimeoutError, ConnectionRefusedError):
        return False


def test_a_port_in_use_and_an_empty_list_are_one_clear_line() -> None:
    with (
        reflecting(HERE),
        pytest.raises(UnavailableError, match="port 8620: the port is in use"),
        open_reflector(ReflectorConfig(endpoints=(HERE,), allow=()), clock=CLOCK),
    ):
        pass
    with pytest.raises(ConfigError, match="name at least one address"):
        run_reflector(ReflectorConfig(endpoints=(), allow=()), clock=CLOCK, stop=lambda: True)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=10, capture_output=True)


@pytest.fixture
def two_namespaces() -> Iterator[None]:
    names = ("iso-pr-a", "iso-pr-b")
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=False, timeout=10, capture_output=True)
        ip("netns", "add", name)
    try:
        ip("-n", names[0], "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", names[1])
        for name, host in zip(names, ("1", "2"), strict=True):
            ip("-n", name, "addr", "add", f"10.99.0.{host}/24", "dev", "v0")
            ip("-n", name, "link", "set", "v0", "up")
        yield
    finally:
        for name in names:
            ip("netns", "del", name)


@pytest.mark.needs_net
@pytest.mark.alone
@pytest.mark.usefixtures("two_namespaces")
def test_sockets_live_in_their_namespaces_and_the_thread_comes_back() -> None:
    def place(row: int, source: str, destination: str, netns: str, method: str) -> StreamTarget:
        return StreamTarget(
            row=row, stream_id=row, token=row, method="stamp" if method == "stamp" else "icmp", source=source,
            destination=destination, netns=netns, interval_ns=20_000_000, timeout_ns=300_000_000,
        )  # fmt: skip

    a, b = ("10.99.0.1", "iso-pr-a"), ("10.99.0.2", "iso-pr-b")
    targets = [place(0, a[0], b[0], a[1], "stamp"), place(1, b[0], a[0], b[1], "stamp"),
               place(2, a[0], b[0], a[1], "icmp"), place(3, a[0], "10.99.0.77", a[1], "icmp")]  # fmt: skip
    endpoints = [ReflectorEndpoint(address=address, netns=netns) for address, netns in (a, b)]
    with (
        reflecting(*endpoints, allow=("10.99.0.0/24",)),
        open_engine(targets, clock=CLOCK, random=dice(1)) as engine,
    ):
        drive(engine, 0.5)
        seen = [packets(engine, row) for row in range(4)]
        assert {report.stamps for report in engine.self_check()} == {"kernel"}
    for answered in (part[part["fate"] == Fate.ANSWERED] for part in seen[:3]):
        assert answered.size >= 15
        assert answered["rtt_ns"].min() >= 0
    assert not (seen[3]["fate"] == Fate.ANSWERED).any()
    with (
        pytest.raises(UnavailableError, match="does not have that address"),
        inside(None),
        open_reflector(ReflectorConfig(endpoints=(ReflectorEndpoint(address=a[0]),), allow=()), clock=CLOCK),
    ):
        pass
