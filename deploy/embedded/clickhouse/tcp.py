"""The listening socket: a thread for each client, and an end in order."""

import itertools
import socket
import threading
from collections.abc import Sequence
from typing import Final

import structlog

from deploy.embedded.clickhouse import packets
from deploy.embedded.clickhouse.channel import Channel
from deploy.embedded.clickhouse.engine import Engine
from deploy.embedded.clickhouse.logins import Login
from deploy.embedded.clickhouse.session import Services, Session
from deploy.embedded.clickhouse.watch import Watch
from schemas.errors import UnavailableError

log = structlog.get_logger(__name__)

HOST: Final = "127.0.0.1"  # loopback alone: passwords travel in clear text
MAX_CLIENTS: Final = 200
GRACE_S: Final = 5.0
_ACCEPT_TICK_S: Final = 0.25
_TOO_MANY: Final = 202


class PortInUseError(UnavailableError):
    """The port is taken or not allowed."""


def listen(port: int) -> socket.socket:
    """Return a socket that listens on loopback; port 0 takes a free one.

    Raises:
        PortInUseError: the text names the port and the remedy.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(MAX_CLIENTS)
    except OSError as err:
        listener.close()
        raise PortInUseError(f"port {port} on {HOST} cannot be used: {err.strerror}; choose another port") from err
    listener.settimeout(_ACCEPT_TICK_S)
    return listener


class Server:
    """All clients of one engine."""

    def __init__(self, engine: Engine, logins: Sequence[Login]) -> None:
        self._watch = Watch(engine.kill)
        self._stopping = threading.Event()
        self._services = Services(engine, logins, self._watch, self._stopping.is_set)
        self._numbers = itertools.count(1)
        self._clients: dict[threading.Thread, Channel] = {}

    def run(self, listener: socket.socket, until: threading.Event) -> bool:
        """Serve until the event is set, then end all clients; return whether all of them ended in time."""
        watcher = threading.Thread(target=self._watch.run, args=(self._stopping,), name="watch", daemon=True)
        watcher.start()
        while not until.is_set():
            self._accept(listener)
        self._stopping.set()
        watcher.join(GRACE_S)
        return self._end_clients()

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except TimeoutError:
            return
        self._clients = {thread: channel for thread, channel in self._clients.items() if thread.is_alive()}
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tag = f"client-{next(self._numbers)}"
        if len(self._clients) >= MAX_CLIENTS:
            _turn_away(client)
            return
        channel = Channel(client)
        session = Session(channel, self._services, tag)
        thread = threading.Thread(target=_serve, args=(session, client), name=tag, daemon=True)
        self._clients[thread] = channel
        thread.start()

    def _end_clients(self) -> bool:
        """Let running statements finish for `GRACE_S`, then end them."""
        if self._join(GRACE_S, if_waiting=True):
            return True
        log.warning("clients still busy, their queries are ended", clients=len(self._clients))
        self._watch.kill_all()
        return self._join(GRACE_S, if_waiting=False)

    def _join(self, within_s: float, *, if_waiting: bool) -> bool:
        ticks = int(within_s / _ACCEPT_TICK_S)
        for _ in range(ticks):
            alive = [(thread, channel) for thread, channel in self._clients.items() if thread.is_alive()]
            if not alive:
                return True
            for _, channel in alive:
                channel.hang_up(if_waiting=if_waiting)
            alive[0][0].join(_ACCEPT_TICK_S)
        return not any(thread.is_alive() for thread in self._clients)


def _serve(session: Session, client: socket.socket) -> None:
    with client:
        session.serve()


def _turn_away(client: socket.socket) -> None:
    with client:
        log.warning("client turned away", most=MAX_CLIENTS)
        client.settimeout(1.0)
        client.sendall(packets.exception(_TOO_MANY, f"DB::Exception: Too many clients; {MAX_CLIENTS} is the most."))
