"""Talk to a running wire: one JSON command a datagram over a Unix socket, one JSON answer back."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from deploy.lab.ledger import Counts
from deploy.lab.topology import Direction, Impairment
from schemas.errors import ConfigError, UnavailableError

SOCKET_FILE: Final = "wire.sock"
_DATAGRAM_BYTES: Final = 1 << 20
_serial = count()


class Impair(msgspec.Struct, frozen=True, kw_only=True, tag="impair", tag_field="do", forbid_unknown_fields=True):
    """Replace the impairment of a link."""

    link: str
    direction: Direction
    impairment: Impairment


class Adjust(msgspec.Struct, frozen=True, kw_only=True, tag="adjust", tag_field="do", forbid_unknown_fields=True):
    """Change some fields of a link's impairment, by their names, and keep the others."""

    link: str
    direction: Direction
    fields: dict[str, object]


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot", tag_field="do", forbid_unknown_fields=True):
    """Write all records to the file and return the counts."""


class Stop(msgspec.Struct, frozen=True, tag="stop", tag_field="do", forbid_unknown_fields=True):
    """Write all records and end the wire."""


Command = Impair | Adjust | Snapshot | Stop


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command under a number, which its answer repeats: a late answer is not taken for the next one."""

    id: int
    command: Command


class LinkState(msgspec.Struct, frozen=True, kw_only=True):
    """One link: what it does now and what it did so far, each way."""

    name: str
    forward: Impairment
    backward: Impairment
    forward_counts: Counts
    backward_counts: Counts


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of a whole lab. `overrun` frames were dropped before the wire saw them: the truth needs 0."""

    links: tuple[LinkState, ...]
    in_flight: int
    overrun: int
    realtime: bool  # the wire runs under SCHED_FIFO; without it, delays are late by milliseconds now and then

    def link(self, name: str) -> LinkState:
        """Return one link by its name; raises KeyError when there is none."""
        found = {state.name: state for state in self.links}
        return found[name]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to any command; `error` is None when it was done, at `at_ns` of the wall clock."""

    id: int
    at_ns: int
    error: str | None = None
    ledger: Ledger | None = None


class WireClient:
    """Commands to the wire of one run. One caller at a time."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self._sock = sock
        self._peer = peer

    def impair(self, link: str, impairment: Impairment, direction: Direction = "both") -> int:
        """Replace a link's impairment; return when it took effect, wall clock in ns."""
        return self._ask(Impair(link=link, direction=direction, impairment=impairment)).at_ns

    def adjust(self, link: str, direction: Direction = "both", **fields: object) -> int:
        """Change some fields of a link's impairment (`loss_ratio=0.01`); return when, wall clock in ns."""
        return self._ask(Adjust(link=link, direction=direction, fields=fields)).at_ns

    def cut(self, link: str, direction: Direction = "both") -> int:
        """Drop all that arrives at the link from now on; return since when, wall clock in ns."""
        return self.adjust(link, direction, cut=True)

    def heal(self, link: str, direction: Direction = "both") -> int:
        """End a cut; the other impairments are as before. Return since when, wall clock in ns."""
        return self.adjust(link, direction, cut=False)

    def rate(self, link: str, rate_bps: int | None, direction: Direction = "both") -> int:
        """Limit a link to `rate_bps` of IP bits per second, or lift the limit; return since when, wall clock in ns."""
        return self.adjust(link, direction, rate_bps=rate_bps)

    def snapshot(self) -> Ledger:
        """Write all records to the file, then return the counts."""
        ledger = self._ask(Snapshot()).ledger
        if ledger is None:
            raise UnavailableError("lab wire: answered a snapshot without a ledger")
        return ledger

    def stop(self) -> None:
        """End the wire after its last records are on disk."""
        self._ask(Stop())

    def _ask(self, command: Command) -> Answer:
        request = Request(id=next(_serial), command=command)
        try:
            self._sock.sendto(msgspec.json.encode(request), self._peer)
            answer = self._answer(request.id)
        except OSError as err:
            raise UnavailableError(f"lab wire: no answer to {type(command).__name__}: {err}; is the lab up?") from err
        if answer.error is not None:
            raise ConfigError(f"lab wire: {answer.error}")
        return answer

    def _answer(self, request_id: int) -> Answer:
        while True:  # ends by the timeout of the socket
            answer = msgspec.json.decode(self._sock.recv(_DATAGRAM_BYTES), type=Answer)
            if answer.id == request_id:
                return answer


@contextmanager
def open_client(run_dir: Path, *, timeout_s: float = 5.0) -> Iterator[WireClient]:
    """Connect to the wire whose lab lives in `run_dir`; each call on the client fails after `timeout_s`."""
    own = run_dir / f"client-{os.getpid()}-{next(_serial)}.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, short_path(run_dir) as short:
        sock.settimeout(timeout_s)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATAGRAM_BYTES)
        sock.bind(f"{short}/{own.name}")
        try:
            yield WireClient(sock, f"{short}/{SOCKET_FILE}")
        finally:
            own.unlink(missing_ok=True)


@contextmanager
def short_path(run_dir: Path) -> Iterator[str]:
    """Give a path to the folder that fits into the 107 bytes of a Unix address, however deep the folder lies."""
    fd = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
