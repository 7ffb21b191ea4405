"""Between worker and store: passes on, loses the answer to an insert, or answers in the store's place."""

import socket
import struct
import threading
from contextlib import suppress
from typing import Final

from deploy.embedded.clickhouse.tcp import HOST

CHUNK: Final = 1 << 16
_INSERT_BYTES: Final = 4096  # more than any question has
_CONNECT_S: Final = 2.0


class Proxy:
    """A port that leads to another; `lose_answers` and `refuse` say what goes wrong on the way."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.lost = 0
        self.refused = 0
        self._target = target
        self._to_lose = 0
        self._code: int | None = None
        self._listener = socket.create_server((HOST, port))
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def lose_answers(self, count: int) -> None:
        """Take the next inserts to the store and break the connection instead of bringing its answer."""
        self._to_lose = count

    def refuse(self, code: int | None) -> None:
        """Answer every request with an error of the store; None: no more."""
        self._code = code

    def close(self) -> None:
        """Listen no longer."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection((HOST, self._target), _CONNECT_S)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                link = _Link(self, client, server)
                for pump in (link.up, link.down):
                    threading.Thread(target=pump, name="proxy", daemon=True).start()

    def loses(self) -> bool:
        """Return whether the answer at hand is lost, and count it."""
        if self._to_lose <= 0:
            return False
        self._to_lose -= 1
        self.lost += 1
        return True

    def refusal(self) -> bytes | None:
        """Return what is answered in the store's place, if anything."""
        if self._code is None:
            return None
        self.refused += 1
        words = [_text(word) for word in ("DB::Exception", "DB::Exception: refused on purpose", "")]
        return b"\2" + struct.pack("<i", self._code) + b"".join(words) + b"\0"


class _Link:
    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._asked = 0  # bytes since the last answer
        self._greeted = False
        self._ended = threading.Semaphore(1)  # of the two ways, the one that ends last closes

    def up(self) -> None:
        with suppress(OSError):
            while (chunk := self._client.recv(CHUNK)) != b"":
                answer = self._proxy.refusal() if self._greeted else None
                if answer is not None:
                    self._client.sendall(answer)
                    break
                self._asked += len(chunk)
                self._server.sendall(chunk)
        self._break()

    def down(self) -> None:
        with suppress(OSError):
            while (chunk := self._server.recv(CHUNK)) != b"":
                if self._asked > _INSERT_BYTES and self._proxy.loses():
                    break
                self._greeted, self._asked = True, 0
                self._client.sendall(chunk)
        self._break()

    def _break(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if not self._ended.acquire(blocking=False):
            self._client.close()
            self._server.close()


def _text(word: str) -> bytes:
    return bytes([len(word)]) + word.encode()
