import http.client
from urllib.parse import urlsplit

from deploy.demo.webhook import open_receiver
from schemas.clock import ManualClock


def post(url: str, body: bytes) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    connection.request("POST", parts.path, body)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_notice_is_kept_with_the_moment_it_came_in() -> None:
    clock = ManualClock()
    with open_receiver(clock) as receiver:
        clock.advance_s(3)
        assert post(receiver.url, b'{"state": "open"}') == 204
        (notice,) = receiver.notices()
        assert (notice.at_ns, notice.body) == (3 * 10**9, {"state": "open"})


def test_a_stranger_and_garbage_are_refused_and_not_kept() -> None:
    with open_receiver(ManualClock()) as receiver:
        assert post(receiver.url + "x", b"{}") == 404
        assert post(receiver.url, b"{") == 400
        assert receiver.notices() == []
