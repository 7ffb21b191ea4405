"""The STAMP session-reflector (RFC 8762, stateful, unauthenticated; RFC 8972 extra padding and follow-up telemetry).

It answers peers that it was told of and nobody else, never with more bytes than it got, and never faster than its
limits. It counts per session (peer address, peer port, SSID), so that a sender can tell a packet lost on the way here
from one lost on the way back. T2 is the kernel's receive time. T3 in the packet is this process's time; the kernel's
time of the same reply follows in the session's next one.
"""

import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

import msgspec
import structlog

from probes import stamp
from probes.engine import sockets
from probes.engine.adjtimex import error_estimate, read_clock
from probes.engine.libc import MSG_ERRQUEUE
from probes.engine.mmsg import MSG_TRUNC, NAME_BYTES, ORIGIN_STAMP, Control, Mailbox
from probes.engine.sockets import SocketReport
from probes.gate import Allowed, Limits
from schemas.clock import Clock
from schemas.errors import ConfigError

log = structlog.get_logger()

Refusal = Literal["short", "oversized", "version", "stranger", "rate", "sessions"]

_MAX_PACKET_BYTES: Final = 1_600  # a full Ethernet frame and something; longer requests are refused
_SLOTS: Final = 64
_MAX_CALLS: Final = 16  # per socket and turn: one busy socket must not starve the others
_POLL_S: Final = 0.1  # how long a stop may go unnoticed
_SECOND_NS: Final = 1_000_000_000
_REPORT_NS: Final = 60 * _SECOND_NS
_MAX_AWAITED: Final = 16_384


class ReflectorEndpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One address to answer on."""

    address: str  # numeric, IPv4 or IPv6
    port: int = 862  # RFC 8762 4
    netns: str | None = None  # named network namespace; None is the process's own


class ReflectorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to answer, whom, and how much."""

    endpoints: tuple[ReflectorEndpoint, ...]
    allow: tuple[str, ...]  # addresses or prefixes of the peers; an empty list answers nobody
    rate_per_source_pps: int = 2_000  # 200 streams of 10/s from one address
    rate_total_pps: int = 20_000  # what one core answers with room to spare
    session_expiry_s: int = 900  # longer than a restart of the sender, so that its losses keep their direction
    max_sessions: int = 65_536


class Session:
    """What a stateful reflector remembers of one sender."""

    __slots__ = ("counter", "follow_up", "last_mono_ns")

    def __init__(self) -> None:
        self.counter = 0  # of the next reply
        self.follow_up: tuple[int, int] | None = None  # newest (counter, kernel transmit time)
        self.last_mono_ns = 0


class Listener:
    """One socket of the reflector with its sessions."""

    def __init__(self, sock: socket.socket, report: SocketReport) -> None:
        self.sock = sock
        self.report = report
        self.sessions: dict[bytes, Session] = {}
        self.awaited: dict[int, tuple[Session, int]] = {}  # transmit stamps to come: session, counter
        self.next_key = 0
        v4 = sock.family == socket.AF_INET
        self.name_bytes = 8 if v4 else 24
        self.address_at = 4 if v4 else 8


class Reflector:
    """All sockets of a reflector process. Open it with `open_reflector`; not for use by two threads."""

    def __init__(self, config: ReflectorConfig, *, clock: Clock) -> None:
        self.answered = 0
        self.refused: Counter[Refusal] = Counter()
        self.send_failed = 0
        self.kernel_rx = 0
        self.user_rx = 0
        self.follow_ups = 0  # replies that carried the kernel's time of an earlier one
        self._config = config
        self._clock = clock
        self._allowed = Allowed(config.allow)
        self._limits = Limits(config.rate_per_source_pps, config.rate_total_pps)
        self._in = Mailbox(_SLOTS, _MAX_PACKET_BYTES, control=True)
        self._out = Mailbox(_SLOTS, _MAX_PACKET_BYTES, control=False)
        self._errors = Mailbox(_SLOTS, 64, control=True)
        self._pending: list[tuple[Session, int]] = []
        self._listeners: dict[int, Listener] = {}
        self._poll: select.epoll | None = None
        self._estimate = 0
        self._refresh_mono_ns = -_SECOND_NS

    def self_check(self) -> list[SocketReport]:
        """Return what every socket is."""
        return [listener.report for listener in self._listeners.values()]

    def session_count(self) -> int:
        """Return how many sessions are remembered."""
        return sum(len(listener.sessions) for listener in self._listeners.values())

    def open(self) -> None:
        """Open all sockets; UnavailableError, with all closed again, when one cannot be."""
        if not self._config.endpoints:
            raise ConfigError("reflector endpoints: the list is empty; name at least one address")
        self._poll = select.epoll()
        for endpoint in self._config.endpoints:
            sock, report = sockets.open_reflector_socket(endpoint.address, endpoint.port, endpoint.netns)
            self._listeners[sock.fileno()] = Listener(sock, report)
            self._poll.register(sock.fileno(), select.EPOLLIN)

    def close(self) -> None:
        """Close all sockets."""
        for listener in self._listeners.values():
            listener.sock.close()
        if self._poll is not None:
            self._poll.close()
            self._poll = None

    def serve_once(self, timeout_s: float) -> None:
        """Answer what waits; when nothing does, wait at most `timeout_s` for it."""
        if self._poll is None:
            raise ConfigError("the reflector is closed; use it inside `open_reflector`")
        events = self._poll.poll(timeout_s)
        self._refresh()
        for fd, mask in events:
            listener = self._listeners[fd]
            if mask & select.EPOLLERR != 0:
                self._take_stamps(listener)
            if mask & select.EPOLLIN != 0:
                self._answer(listener)

    def _refresh(self) -> None:
        mono_ns = self._clock.mono_ns()
        if mono_ns - self._refresh_mono_ns < _SECOND_NS:
            return
        self._refresh_mono_ns = mono_ns
        self._estimate = error_estimate(read_clock())
        oldest_ns = mono_ns - self._config.session_expiry_s * _SECOND_NS
        for listener in self._listeners.values():
            gone = [key for key, session in listener.sessions.items() if session.last_mono_ns < oldest_ns]
            for key in gone:
                del listener.sessions[key]

    def _answer(self, listener: Listener) -> None:
        for _ in range(_MAX_CALLS):
            taken = self._in.receive(listener.sock.fileno())
            mono_ns = self._clock.mono_ns()
            self._pending.clear()
            for slot in range(taken):
                refusal = self._reply(listener, slot, mono_ns)
                if refusal is not None:
                    self.refused[refusal] += 1
            if self._pending:
                self._send(listener)
                self._take_stamps(listener)
            if taken < self._in.slots:
                return

    def _reply(self, listener: Listener, slot: int, mono_ns: int) -> Refusal | None:
        """Put the reply to one request into the next place of the outgoing box, or say why there is none."""
        name = self._in.source(slot, listener.name_bytes)
        peer = name[listener.address_at :]
        fault = self._fault(slot, peer)
        if fault is not None:
            return fault
        if not self._limits.allow(peer, mono_ns):
            return "rate"
        ssid_at = slot * _MAX_PACKET_BYTES + stamp.SSID_AT
        session = self._session(listener, name + self._in.payload[ssid_at : ssid_at + 2])
        if session is None:
            return "sessions"
        session.last_mono_ns = mono_ns
        self._write(session, slot, name, self._in.control_of(slot))
        return None

    def _fault(self, slot: int, peer: bytes) -> Refusal | None:
        if self._in.flags[slot] & MSG_TRUNC != 0:
            return "oversized"
        if peer not in self._allowed:
            return "stranger"
        if self._in.lengths[slot] < stamp.BASE_BYTES:
            return "short"
        multiplier = self._in.payload[slot * _MAX_PACKET_BYTES + stamp.MULTIPLIER_AT]
        return "version" if multiplier == 0 else None  # RFC 4656 4.1.2: a multiplier of 0 is corrupt

    def _session(self, listener: Listener, key: bytes) -> Session | None:
        session = listener.sessions.get(key)
        if session is None:
            if len(listener.sessions) >= self._config.max_sessions:
                return None
            session = listener.sessions[key] = Session()
        return session

    def _write(self, session: Session, slot: int, name: bytes, control: Control) -> None:
        source, out, place = self._in, self._out, len(self._pending)
        at, to, length = slot * _MAX_PACKET_BYTES, place * _MAX_PACKET_BYTES, source.lengths[slot]
        now_ns = self._clock.wall_ns()
        if control.stamp_ns >= 0:
            self.kernel_rx += 1
        else:
            self.user_rx += 1
        out.payload[to : to + length] = source.payload[at : at + length]
        stamp.reflect_tlvs(out.payload, to + stamp.BASE_BYTES, to + length, session.follow_up)
        stamp.encode_base_reply(
            out.payload, to, source.payload[at : at + stamp.BASE_BYTES], counter=session.counter,
            receive_ns=control.stamp_ns if control.stamp_ns >= 0 else now_ns, transmit_ns=now_ns,
            error_estimate=self._estimate, ttl=max(control.hop_limit, 0),
        )  # fmt: skip
        out.name[place * NAME_BYTES : place * NAME_BYTES + len(name)] = name
        out.set_length(place, length)
        self.follow_ups += session.follow_up is not None
        self._pending.append((session, session.counter))
        session.counter = session.counter + 1 & 0xFFFF_FFFF

    def _send(self, listener: Listener) -> None:
        done = 0
        while done < len(self._pending):
            sent = self._out.send(listener.sock.fileno(), done, len(self._pending) - done)
            for awaited in self._pending[done : done + max(sent, 0)]:
                listener.awaited[listener.next_key] = awaited
                listener.next_key = listener.next_key + 1 & 0xFFFF_FFFF
                self.answered += 1
            if sent <= 0:
                self.send_failed += 1
                self._restart_keys(listener)
            done += max(sent, 1)

    def _restart_keys(self, listener: Listener) -> None:
        self._take_stamps(listener)
        listener.awaited.clear()
        listener.next_key = 0
        if listener.report.stamps == "kernel":
            sockets.restart_keys(listener.sock)

    def _take_stamps(self, listener: Listener) -> None:
        for _ in range(_MAX_CALLS):
            taken = self._errors.receive(listener.sock.fileno(), MSG_ERRQUEUE)
            for slot in range(taken):
                control = self._errors.control_of(slot)
                awaited = listener.awaited.pop(control.key, None) if control.origin == ORIGIN_STAMP else None
                if awaited is not None and control.stamp_ns >= 0:
                    session, counter = awaited
                    session.follow_up = (counter, control.stamp_ns)
            if taken < self._errors.slots:
                break
        if len(listener.awaited) > _MAX_AWAITED:
            listener.awaited.clear()


@contextmanager
def open_reflector(config: ReflectorConfig, *, clock: Clock) -> Iterator[Reflector]:
    """Give a reflector with all its sockets open, and close them after.

    Raises:
        ConfigError: No endpoint, or an entry of `allow` that is no address and no prefix.
        UnavailableError: A socket could not be opened; the text names it and the remedy.
    """
    reflector = Reflector(config, clock=clock)
    try:
        reflector.open()
        yield reflector
    finally:
        reflector.close()


def run_reflector(config: ReflectorConfig, *, clock: Clock, stop: Callable[[], bool]) -> None:
    """Answer until `stop` says so, noticed within 0.1 s; says what it did once a minute."""
    with open_reflector(config, clock=clock) as reflector:
        log.info("reflector started", sockets=len(reflector.self_check()), allow=len(config.allow))
        said_ns = clock.mono_ns()
        while not stop():
            reflector.serve_once(_POLL_S)
            if clock.mono_ns() - said_ns >= _REPORT_NS:
                said_ns = clock.mono_ns()
                _say("reflector serves", reflector)
        _say("reflector stopped", reflector)


def _say(event: str, reflector: Reflector) -> None:
    log.info(
        event,
        answered=reflector.answered,
        refused=dict(reflector.refused),
        send_failed=reflector.send_failed,
        sessions=reflector.session_count(),
    )
