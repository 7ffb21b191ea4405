"""A rollup as its own process, for tests: `rollup_main.py CONFIG.json POINT` dies by SIGKILL when it reaches POINT."""

import os
import signal
import sys
import threading
from pathlib import Path

import msgspec

from schemas.clock import SystemClock
from streams.rollup import RollupConfig, run_rollup


def main() -> None:
    """Run until the point is reached."""
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=RollupConfig)

    def mine(point: str) -> None:
        if point == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)

    run_rollup(config, clock=SystemClock(), stop=threading.Event(), at=mine)


if __name__ == "__main__":
    main()
