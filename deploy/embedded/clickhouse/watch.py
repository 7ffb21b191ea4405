"""While queries run: who cancelled, who left, and a sign of life for who waits."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from deploy.embedded.clickhouse.channel import Channel, Sign

log = structlog.get_logger(__name__)

TICK_S: Final = 0.1
TICKS_PER_BEAT: Final = 10


class Watch:
    """Looks at every client whose query runs, ten times a second.

    Args:
        kill: ends the running query of a tag; called again until the query is over, for it may come too early.
    """

    def __init__(self, kill: Callable[[str], None]) -> None:
        self._kill = kill
        self._running: dict[str, Channel] = {}
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def over(self, tag: str, channel: Channel) -> Iterator[None]:
        """Watch a client while the block runs."""
        with self._lock:
            self._cancelled.discard(tag)
            self._running[tag] = channel
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(tag, None)

    def was_cancelled(self, tag: str) -> bool:
        """Say whether the client itself ended its last query."""
        with self._lock:
            return tag in self._cancelled

    def run(self, until: threading.Event) -> None:
        """Look until the event is set."""
        ticks = 0
        while not until.wait(TICK_S):
            ticks += 1
            for tag, channel in self._all():
                self._look(tag, channel, beat=ticks % TICKS_PER_BEAT == 0)

    def kill_all(self) -> None:
        """End every running query."""
        for tag, _ in self._all():
            self._kill(tag)

    def _all(self) -> list[tuple[str, Channel]]:
        with self._lock:
            return list(self._running.items())

    def _look(self, tag: str, channel: Channel, *, beat: bool) -> None:
        sign = channel.peek()
        if sign is Sign.NOTHING:
            if beat:
                channel.beat()
            return
        if not self.was_cancelled(tag):
            log.info("query ended by its client", tag=tag, sign=sign.value)
        with self._lock:
            if tag in self._running:
                self._cancelled.add(tag)
        self._kill(tag)
