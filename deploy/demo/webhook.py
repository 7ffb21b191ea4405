"""A receiver for alerts on loopback: remembers each notice with the moment it came in."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec

from schemas.clock import Clock

MAX_BODY_BYTES: Final = 1 << 20


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery, as it came."""

    at_ns: int  # monotonic
    body: dict[str, Any]


class Receiver:
    """What was delivered so far; safe to read from any thread."""

    def __init__(self, port: int, path: str) -> None:
        self.url = f"http://127.0.0.1:{port}{path}"
        self._notices: list[Notice] = []
        self._changed = threading.Condition()

    def add(self, notice: Notice) -> None:
        """Keep a delivery."""
        with self._changed:
            self._notices.append(notice)
            self._changed.notify_all()

    def notices(self) -> list[Notice]:
        """Return all deliveries in order of arrival."""
        with self._changed:
            return list(self._notices)


@contextmanager
def open_receiver(clock: Clock) -> Iterator[Receiver]:
    """Yield a receiver that listens on a free loopback port, under a path that only its owner knows."""
    path = f"/{secrets.token_urlsafe(16)}"
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    receiver = Receiver(server.server_port, path)
    server.RequestHandlerClass = _handler(receiver, path, clock)
    thread = threading.Thread(target=server.serve_forever, name="webhook", daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _handler(receiver: Receiver, path: str, clock: Clock) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Takes JSON posts on one path."""

        def do_POST(self) -> None:
            self.send_response(self._take())
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _take(self) -> int:
            size_bytes = int(self.headers.get("Content-Length", "0"))
            if not secrets.compare_digest(self.path.encode(), path.encode()):
                return 404
            if size_bytes > MAX_BODY_BYTES:
                return 413
            try:
                body = msgspec.json.decode(self.rfile.read(size_bytes), type=dict[str, Any])
            except msgspec.DecodeError:
                return 400
            receiver.add(Notice(at_ns=clock.mono_ns(), body=body))
            return 204

        def log_message(self, *_: object) -> None:
            """Say nothing: the demo prints what it received."""

    return Handler
