"""The largest memory that the parts took together."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

from deploy.procfs import pss_bytes

EVERY_S: Final = 2.0


class PeakMemory:
    """Samples the sum of PSS of the parts and their children while the context lasts."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self.peak_bytes = 0
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        """End."""
        self._stop.set()
        self._thread.join(EVERY_S + 5)

    def _sample(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.peak_bytes = max(self.peak_bytes, pss_bytes(self._pids()))
