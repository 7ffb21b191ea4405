"""The wire process of a lab: frames in with kernel stamps, decided, held, released at arrival + delay, written down.

It sleeps at least 100 us a turn and never spins: a spinning real-time task loses the processor for 50 ms each second.
Run as `python -m deploy.lab.wire RUN_DIR`; `deploy.lab.lab` does.
"""

import ctypes
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec
import structlog

from deploy.lab.control import SOCKET_FILE, short_path
from deploy.lab.desk import Desk, Gauges, lane_pairs, lanes_by_arrival
from deploy.lab.frames import BATCH, FramePort, open_packet_socket
from deploy.lab.ledger import RECORDS_FILE, Recorder
from deploy.lab.marks import MarkLayout, mark_reader
from deploy.lab.namespaces import WIRE, namespace_name
from deploy.lab.netns import in_namespace
from deploy.lab.passage import EARLY_NS, Passage
from deploy.lab.topology import Topology
from schemas.clock import Clock, SystemClock

log = structlog.get_logger(__name__)

CONFIG_FILE: Final = "wire.json"
_SHORTEST_SLEEP_NS: Final = 150_000
_LONGEST_SLEEP_NS: Final = 5_000_000  # a command waits no longer than this
_IDLE_MS: Final = 100
_CHORES_NS: Final = 2_000_000
_FLUSH_NS: Final = 200_000_000
_DATAGRAM_BYTES: Final = 1 << 16
_PR_SET_TIMERSLACK: Final = 29
_REALTIME_PRIORITY: Final = 10


class WireConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the wire process is told at its start, through a file in the run's folder."""

    run_id: str
    topology: Topology
    layout: MarkLayout
    seed: int
    parent_pid: int  # the wire ends when this process is gone


class Chores:
    """What the loop does beside frames: commands, records to disk, an eye on the parent."""

    def __init__(self, sock: socket.socket, answers_to: str, desk: Desk, recorder: Recorder, parent_pid: int) -> None:
        self._sock = sock
        self._answers_to = answers_to
        self._desk = desk
        self._recorder = recorder
        self._parent_pid = parent_pid
        self._flush_due_ns = 0
        self._orphaned = False
        self.interrupted = False

    @property
    def over(self) -> bool:
        """Whether the wire is to end."""
        return self._desk.stopped or self._orphaned or self.interrupted

    def interrupt(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the shape of a signal handler
        """End the wire at its next turn."""
        self.interrupted = True

    def do(self, now_ns: int) -> None:
        """Carry out the commands that wait; every fifth of a second also write records and look for the parent."""
        while self._answer_one():
            pass
        if now_ns >= self._flush_due_ns:
            self._flush_due_ns = now_ns + _FLUSH_NS
            self._recorder.flush()
            self._orphaned = os.getppid() != self._parent_pid

    def _answer_one(self) -> bool:
        try:
            datagram, sender = self._sock.recvfrom(_DATAGRAM_BYTES)
        except BlockingIOError:
            return False
        answer = self._desk.handle(datagram)
        try:
            self._sock.sendto(answer, f"{self._answers_to}/{Path(sender).name}")
        except OSError as err:  # the asker is gone or has no name: its command is done all the same
            log.warning("answer not delivered", error=str(err))
        return True


class Wire:
    """The loop: receive, release, chores, sleep."""

    def __init__(self, port: FramePort, passage: Passage, chores: Chores, desk: Desk, clock: Clock) -> None:
        self._port = port
        self._passage = passage
        self._chores = chores
        self._desk = desk
        self._clock = clock
        self._chores_due_ns = 0

    def run(self, wait_ms: Callable[[int], object]) -> None:
        """Work until it is over; `wait_ms` returns when a frame or a command arrives, or after so many milliseconds."""
        while not self._chores.over:
            frames = self._port.receive()
            if len(frames) > 0:
                self._passage.admit(frames, self._clock.wall_ns(), self._clock.mono_ns())
            self._passage.release(self._clock)
            self._do_chores()
            if len(self._passage) == 0:
                wait_ms(_IDLE_MS)
                self._chores_due_ns = 0
            elif len(frames) < BATCH:
                self._sleep()
        self._passage.abandon()

    def _do_chores(self) -> None:
        now_ns = self._clock.mono_ns()
        if now_ns >= self._chores_due_ns:
            self._chores_due_ns = now_ns + _CHORES_NS
            self._chores.do(now_ns)

    def _sleep(self) -> None:
        due_ns = self._passage.next_due_ns()
        if due_ns is not None:
            left_ns = min(due_ns - self._clock.mono_ns() - EARLY_NS // 2, self._desk.quiet_ns, _LONGEST_SLEEP_NS)
            self._clock.sleep_s(max(left_ns, _SHORTEST_SLEEP_NS) / 1e9)


def claim_realtime() -> bool:
    """Ask for exact timers and SCHED_FIFO; return whether the kernel gave the latter."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_REALTIME_PRIORITY))
    except PermissionError:
        log.warning("no realtime priority", consequence="delays are late by milliseconds now and then")
        return False
    return True


def serve(run_dir: Path, config: WireConfig, clock: Clock) -> None:
    """Build the wire and run it to its end."""
    with ExitStack() as stack:
        with in_namespace(namespace_name(config.run_id, WIRE)):
            packets = stack.enter_context(open_packet_socket())
            pairs = lane_pairs(config.topology, socket.if_nametoindex, config.seed)
        folder = stack.enter_context(short_path(run_dir))
        recorder = Recorder(stack.enter_context((run_dir / RECORDS_FILE).open("ab", buffering=0)).fileno())
        stack.callback(recorder.flush)
        port = FramePort(packets, clock)
        lanes = lanes_by_arrival(pairs)
        passage = Passage(port, lanes, mark_reader(config.layout), recorder)
        gauges = Gauges(passage.__len__, port.overrun, recorder.flush, realtime=claim_realtime())
        desk = Desk(pairs, gauges, clock)
        commands = stack.enter_context(_listen(folder))
        chores = Chores(commands, folder, desk, recorder, config.parent_pid)
        signal.signal(signal.SIGTERM, chores.interrupt)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
        poller = select.poll()
        poller.register(packets, select.POLLIN)
        poller.register(commands, select.POLLIN)
        gc.freeze()
        gc.disable()  # a collection is a millisecond of lateness; the loop makes no cycles
        Wire(port, passage, chores, desk, clock).run(poller.poll)


@contextmanager
def _listen(folder: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        Path(folder, SOCKET_FILE).unlink(missing_ok=True)
        sock.bind(f"{folder}/{SOCKET_FILE}")
        yield sock
        Path(folder, SOCKET_FILE).unlink(missing_ok=True)


def main(run_dir: Path) -> None:
    """Serve the run whose configuration lies in `run_dir`."""
    config = msgspec.json.decode((run_dir / CONFIG_FILE).read_bytes(), type=WireConfig)
    serve(run_dir, config, SystemClock())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
