import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dashboards.grafana.sync import BOARDS, connect, load_board, sync
from schemas.errors import ConfigError, UnavailableError


class FakeGrafana:
    """The three calls that sync makes, with Grafana's own answers."""

    def __init__(self, refuse: int = 0) -> None:
        self.folders: list[dict[str, Any]] = []
        self.boards: dict[str, dict[str, Any]] = {}
        self.tokens: set[str] = set()
        self.refuse = refuse

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, object]:
        if self.refuse > 0:
            return self.refuse, {"message": "Permission denied"}
        if method == "GET":
            return 200, self.folders
        if path == "/api/folders":
            self.folders.append(body)
            return 200, body
        self.boards[body["dashboard"]["uid"]] = body
        uid = body["dashboard"]["uid"]
        return 200, {"uid": uid, "url": f"/d/{uid}", "version": len(self.boards)}


@contextmanager
def serving(fake: FakeGrafana) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._any()

        def do_POST(self) -> None:
            self._any()

        def _any(self) -> None:
            size_bytes = int(self.headers.get("Content-Length", "0"))
            body = json.loads(self.rfile.read(size_bytes) or b"{}")
            fake.tokens.add(self.headers.get("Authorization", ""))
            status, answer = fake.answer(self.command, self.path.split("?")[0], body)
            payload = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_every_board_lands_in_our_folder_under_its_own_uid() -> None:
    fake = FakeGrafana()
    with serving(fake) as url:
        synced = sync(connect(url, "t0ken"))
    assert [board.uid for board in synced] == [load_board(name)["uid"] for name in BOARDS]
    assert {board["folderUid"] for board in fake.boards.values()} == {"isochrone"}
    assert fake.tokens == {"Bearer t0ken"}


def test_a_second_sync_makes_no_second_folder() -> None:
    fake = FakeGrafana()
    with serving(fake) as url:
        sync(connect(url, "t"))
        sync(connect(url, "t"))
    assert len(fake.folders) == 1


def test_a_refusal_names_the_right_that_is_missing() -> None:
    with serving(FakeGrafana(refuse=403)) as url, pytest.raises(ConfigError, match="editor"):
        sync(connect(url, "t"))


def test_a_grafana_that_is_away_is_said_so() -> None:
    with serving(FakeGrafana()) as url:
        gone = url
    with pytest.raises(UnavailableError, match="does not answer"):
        sync(connect(gone, "t"))
