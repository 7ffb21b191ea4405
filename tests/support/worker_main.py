"""A worker as its own process, for tests: `worker_main.py CONFIG.json [POINT N]` dies by SIGKILL at the N-th POINT."""

import os
import signal
import sys
from pathlib import Path

import msgspec

from streams.app import run_worker
from streams.worker_config import WorkerConfig


class Mine:
    """Kills this process when a point of the flush is reached for the n-th time."""

    def __init__(self, point: str, countdown: int) -> None:
        self._point = point
        self._countdown = countdown

    def __call__(self, point: str) -> None:
        """Count; at zero, die as a power cut would."""
        self._countdown -= point == self._point
        if self._countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the worker until a signal."""
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=WorkerConfig)
    mine = Mine(sys.argv[2], int(sys.argv[3])) if len(sys.argv) > 2 else Mine("", -1)
    run_worker(config, at=mine)


if __name__ == "__main__":
    main()
