"""One socket and the streams that share it: packets out, replies, transmit stamps and ICMP errors in.

A packet is ours when it carries the token of a stream of this socket and comes from that stream's destination.
Everything else is counted by name and dropped.
"""

import errno
import socket
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from probes import icmp, stamp
from probes.engine import sockets
from probes.engine.book import Book
from probes.engine.libc import MSG_ERRQUEUE
from probes.engine.mmsg import MSG_TRUNC, NAME_BYTES, ORIGIN_ICMP, ORIGIN_STAMP, Control, Mailbox
from probes.engine.sockets import SocketReport
from probes.engine.targets import StreamTarget
from schemas.clock import Clock
from schemas.errors import UnavailableError

log = structlog.get_logger()

PACKET_BYTES: Final = 84  # of both methods, so that one mailbox serves all
_RECEIVE_BYTES: Final = 256
_SLOTS: Final = 64
_MAX_CALLS: Final = 64  # a flood must not hold up the schedule: the rest is read at the next tick
_MAX_AWAITED: Final = 16_384  # transmit stamps that a host may owe us before we take it that they never come
_REOPEN_NS: Final = 10_000_000_000
_MAX_SSID: Final = 65_535


class Mailboxes:
    """The memory that all sockets of an engine use in turn."""

    def __init__(self) -> None:
        self.out = Mailbox(_SLOTS, PACKET_BYTES, control=False)
        self.replies = Mailbox(_SLOTS, _RECEIVE_BYTES, control=True)
        self.errors = Mailbox(_SLOTS, _RECEIVE_BYTES, control=True)


class Wire:
    """A socket with its streams. Without a socket (it could not be opened) every send fails, by name."""

    def __init__(self, targets: Sequence[StreamTarget], book: Book, boxes: Mailboxes, clock: Clock) -> None:
        first = targets[0]
        self.version = first.version
        self.sock: socket.socket | None = None
        self.report = SocketReport(
            netns=first.netns,
            source=first.source,
            method=first.method,
            mode="closed",
            stamps="user",
            receive_buffer_bytes=0,
            full_buffer=False,
        )
        self._first = first
        self._stamp = first.method == "stamp"
        self._raw_v4 = False
        self._token_at = stamp.TOKEN_AT if self._stamp else icmp.TOKEN_AT
        self._book = book
        self._boxes = boxes
        self._clock = clock
        self._rows = {target.token: target.row for target in targets}
        self._tokens = {target.row: target.token for target in targets}
        self._ssids = {target.row: 1 + target.row % _MAX_SSID for target in targets}
        self._names = {target.row: _name(target) for target in targets}
        self._templates = {row: bytes(self._template(row)) for row in self._tokens}
        self._identifier = first.token & 0xFFFF
        self._next_key = 0
        self._awaited: dict[int, tuple[int, int]] = {}
        self._reopen_mono_ns = 0

    def open(self) -> None:
        """Open the socket; when that cannot be, the report says why and sends fail until `reopen` succeeds."""
        self._reopen_mono_ns = self._clock.mono_ns() + _REOPEN_NS
        try:
            self.sock, self.report = sockets.open_probe_socket(self._first)
        except UnavailableError as err:
            self.report = msgspec.structs.replace(self.report, error=str(err))
            log.warning("probe socket not open", source=self.report.source, netns=self.report.netns, cause=str(err))
            return
        self._raw_v4 = self.report.mode == "icmp-raw" and self.version == 4

    def due_to_reopen(self) -> bool:
        """Return whether the socket is closed and its next attempt is due."""
        return self.sock is None and self._clock.mono_ns() >= self._reopen_mono_ns

    def close(self) -> None:
        """Close the socket, if it is open."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def send(self, batch: Sequence[tuple[int, int]], error_estimate: int) -> None:
        """Send the planned packets (row, index) of the batch; each is sent or failed in the book afterwards."""
        for at in range(0, len(batch), _SLOTS):
            if self.sock is None:
                for row, index in batch[at : at + _SLOTS]:
                    self._book.send_failed(row, index, "no_socket")
            else:
                self._send(self.sock, batch[at : at + _SLOTS], error_estimate)

    def receive(self) -> None:
        """Take all replies that wait."""
        if self.sock is None:
            return
        box, fd = self._boxes.replies, self.sock.fileno()
        for _ in range(_MAX_CALLS):
            taken = box.receive(fd)
            wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
            for slot in range(taken):
                self._reply(box, slot, wall_ns, mono_ns)
            if taken < box.slots:
                return

    def receive_errors(self) -> None:
        """Take all transmit stamps and ICMP errors that wait."""
        if self.sock is None:
            return
        box, fd = self._boxes.errors, self.sock.fileno()
        for _ in range(_MAX_CALLS):
            taken = box.receive(fd, MSG_ERRQUEUE)
            for slot in range(taken):
                self._error(box, slot, box.control_of(slot))
            if taken < box.slots:
                return

    def _send(self, sock: socket.socket, batch: Sequence[tuple[int, int]], error_estimate: int) -> None:
        wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        for slot, (row, index) in enumerate(batch):
            self._fill(slot, row, index, wall_ns, error_estimate)
        done = 0
        while done < len(batch):
            sent = self._boxes.out.send(sock.fileno(), done, len(batch) - done)
            for row, index in batch[done : done + max(sent, 0)]:
                self._book.sent(row, index, wall_ns=wall_ns, mono_ns=mono_ns)
                self._awaited[self._next_key] = (row, index)
                self._next_key = self._next_key + 1 & 0xFFFF_FFFF
            if sent <= 0:
                self._book.send_failed(*batch[done], errno.errorcode.get(-sent, str(-sent)))
                self._restart_keys(sock)
            done += max(sent, 1)
        if len(self._awaited) > _MAX_AWAITED:
            self._awaited.clear()

    def _fill(self, slot: int, row: int, index: int, wall_ns: int, error_estimate: int) -> None:
        box = self._boxes.out
        at, name_at, name = slot * PACKET_BYTES, slot * NAME_BYTES, self._names[row]
        box.payload[at : at + PACKET_BYTES] = self._templates[row]
        box.name[name_at : name_at + len(name)] = name
        if self._stamp:
            stamp.fill_request(
                box.payload, at, token=self._tokens[row], index=index, sent_ns=wall_ns,
                error_estimate=error_estimate, ssid=self._ssids[row],
            )  # fmt: skip
        else:
            icmp.fill_request(
                box.payload, at, version=self.version, identifier=self._identifier, token=self._tokens[row], index=index
            )

    def _template(self, row: int) -> bytearray:
        return stamp.request_template(self._ssids[row]) if self._stamp else bytearray(PACKET_BYTES)

    def _restart_keys(self, sock: socket.socket) -> None:
        self.receive_errors()
        self._awaited.clear()
        self._next_key = 0
        if self.report.stamps == "kernel":
            sockets.restart_keys(sock)

    def _reply(self, box: Mailbox, slot: int, wall_ns: int, mono_ns: int) -> None:
        at, length = slot * _RECEIVE_BYTES, box.lengths[slot]
        if self._raw_v4:
            header = (box.payload[at] & 0x0F) * 4
            at, length = at + header, length - header
        packet = self._match(box, slot, at, length)
        if packet is None:
            return
        row, index = packet
        t4_ns = box.control_of(slot).stamp_ns
        if t4_ns < 0:
            t4_ns = wall_ns
            self._book.counters.user_rx += 1
        else:
            self._book.counters.kernel_rx += 1
        if self._stamp:
            self._stamp_reply(box.payload, at, length, (row, index, t4_ns, mono_ns))
        elif box.payload[at] != icmp.ECHO_REPLY[self.version]:
            self._book.counters.ignored["not_a_reply"] += 1
        else:
            self._book.answered(row, index, t4_ns=t4_ns, mono_ns=mono_ns)

    def _stamp_reply(self, memory: memoryview, at: int, length: int, arrival: tuple[int, int, int, int]) -> None:
        row, index, t4_ns, mono_ns = arrival
        counter, t3, f3, estimate, _, t2, f2, sequence, *_ = stamp.REPLY.unpack_from(memory, at)
        if sequence != index & 0xFFFF_FFFF:
            self._book.counters.ignored["garbage"] += 1
            return
        self._book.answered(
            row, index, t4_ns=t4_ns, mono_ns=mono_ns, t2_ns=stamp.from_wire(t2, f2, estimate),
            t3_ns=stamp.from_wire(t3, f3, estimate), counter=counter,
        )  # fmt: skip
        if length >= stamp.REQUEST_BYTES:
            follow_up = stamp.decode_follow_up(memory, at + stamp.FOLLOW_UP_AT, estimate)
            if follow_up is not None:
                self._book.followed_up(row, *follow_up)

    def _match(self, box: Mailbox, slot: int, at: int, length: int) -> tuple[int, int] | None:
        """Return (row, index) of the packet of ours that the bytes at `at` answer or quote, None when there is none."""
        ignored = self._book.counters.ignored
        if box.flags[slot] & MSG_TRUNC != 0:
            ignored["oversized"] += 1
            return None
        if length < self._token_at + stamp.TOKEN.size:
            ignored["short"] += 1
            return None
        token, index = stamp.TOKEN.unpack_from(box.payload, at + self._token_at)
        row = self._rows.get(token)
        if row is None:
            ignored["foreign_token"] += 1
            return None
        name = self._names[row]
        if box.source(slot, len(name)) != name:
            ignored["wrong_source"] += 1
            return None
        return row, index

    def _error(self, box: Mailbox, slot: int, control: Control) -> None:
        if control.origin == ORIGIN_STAMP:
            awaited = self._awaited.pop(control.key, None)
            if awaited is None or control.stamp_ns < 0:
                self._book.counters.stray_stamps += 1
            else:
                self._book.kernel_sent(*awaited, control.stamp_ns)
        elif control.origin in ORIGIN_ICMP:
            packet = self._match(box, slot, slot * _RECEIVE_BYTES, box.lengths[slot])
            if packet is not None:
                cause = icmp.cause_text(self.version, control.icmp_type, control.icmp_code)
                self._book.unreachable(*packet, cause)
        else:
            self._book.counters.ignored["local_error"] += 1


def _name(target: StreamTarget) -> bytes:
    return sockets.name_of(target.version, target.destination, target.port if target.method == "stamp" else 0)
