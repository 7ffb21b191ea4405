"""Between worker and store, for tests: passes on, loses the answer to an insert, or refuses in the store's place."""

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

HOST: Final = "127.0.0.1"
CHUNK: Final = 1 << 16
INSERT_BYTES: Final = 4096  # more than any question has
STEP_S: Final = 0.05


class StoreProxy:
    """A port that leads to another; `refuse_with`, `lose` and `is_mute` say what goes wrong on the way."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.refuse_with: int | None = None  # answer all that comes with this code of the engine
        self.lose = 0  # so many inserts are taken to the store, and the connection breaks in place of its answer
        self.is_mute = False  # what comes is taken and never answered
        self.refused = 0
        self.lost = 0
        self.stopping = threading.Event()

    def serve(self, listener: socket.socket) -> None:
        """Take connections until `stopping`, each in a thread of its own, and end them all."""
        threads = []
        while not self.stopping.is_set():
            if not select.select([listener], [], [], STEP_S)[0]:
                continue
            client, _ = listener.accept()
            threads.append(threading.Thread(target=self._link, args=(client,), name="store-proxy"))
            threads[-1].start()
        for thread in threads:
            thread.join(5)

    def _link(self, client: socket.socket) -> None:
        with client, socket.create_connection((HOST, self.target), 2) as server:
            try:
                self._pass_on(client, server)
            except OSError:
                return  # one end is gone: the other is closed with it

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        asked, greeted = 0, False
        while not self.stopping.is_set():
            for end in select.select([client, server], [], [], STEP_S)[0]:
                chunk = end.recv(CHUNK)
                if chunk == b"":
                    return
                if end is server:
                    if asked > INSERT_BYTES and self.lose > 0:
                        self.lose -= 1
                        self.lost += 1
                        return
                    asked, greeted = 0, True
                    client.sendall(chunk)
                elif greeted and self.refuse_with is not None:
                    self.refused += 1
                    client.sendall(_refusal(self.refuse_with))
                    return
                elif not (greeted and self.is_mute):
                    asked += len(chunk)
                    server.sendall(chunk)


@contextmanager
def store_proxy(target: int, port: int = 0) -> Iterator[tuple[StoreProxy, int]]:
    """Yield a proxy to a port of the loopback, and the port where it listens."""
    proxy = StoreProxy(target)
    with socket.create_server((HOST, port)) as listener:
        thread = threading.Thread(target=proxy.serve, args=(listener,), name="store-proxy")
        thread.start()
        try:
            yield proxy, listener.getsockname()[1]
        finally:
            proxy.stopping.set()
            thread.join(10)


def _refusal(code: int) -> bytes:
    words = ("DB::Exception", "DB::Exception: refused on purpose", "")
    return b"\2" + struct.pack("<i", code) + b"".join(bytes([len(word)]) + word.encode() for word in words) + b"\0"
