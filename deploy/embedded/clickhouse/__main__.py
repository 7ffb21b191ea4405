"""Run the embedded ClickHouse server: `python -m deploy.embedded.clickhouse --data DIR --port P --users FILE`.

Ends with 0 after SIGTERM or SIGINT, 2 for a wrong users file, 3 for a port that cannot be used, 4 for a directory that
another process holds, 5 for no chdb or an engine that does not open; always with one line that says what to do.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from deploy.embedded.clickhouse.engine import open_engine
from deploy.embedded.clickhouse.engineconfig import DEFAULT_MEMORY_MIB, MIB
from deploy.embedded.clickhouse.holder import DirectoryHeldError, hold
from deploy.embedded.clickhouse.logins import load_logins
from deploy.embedded.clickhouse.tcp import HOST, PortInUseError, Server, listen
from schemas.clock import SystemClock
from schemas.errors import ConfigError, IsochroneError

log = structlog.get_logger(__name__)

EXIT_CODES: Final = {ConfigError: 2, PortInUseError: 3, DirectoryHeldError: 4}
EXIT_UNAVAILABLE: Final = 5


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What the ready file says once clients can connect."""

    pid: int
    host: str
    port: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit code."""
    options = _parser().parse_args(arguments)
    _log_plainly()
    until = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: until.set())
    try:
        in_order = _serve(options, until)
    except IsochroneError as err:
        sys.stderr.write(f"embedded clickhouse: {err}\n")
        return EXIT_CODES.get(type(err), EXIT_UNAVAILABLE)
    log.info("stopped", in_order=in_order)
    if not in_order:
        sys.stderr.flush()
        os._exit(0)  # a thread is inside the engine: the interpreter must not be taken apart under it
    return 0


def _serve(options: argparse.Namespace, until: threading.Event) -> bool:
    logins = load_logins(options.users)
    options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with hold(options.data, SystemClock()), listen(options.port) as listener:
        port = listener.getsockname()[1]
        with open_engine(options.data, options.memory_mib * MIB) as engine:
            log.info("ready", host=HOST, port=port, data=str(options.data), engine=engine.version)
            _write_ready(options.ready_file, port)
            return Server(engine, logins).run(listener, until)


def _write_ready(path: Path | None, port: int) -> None:
    if path is None:
        return
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(Ready(pid=os.getpid(), host=HOST, port=port)))
    part.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.embedded.clickhouse", description=(__doc__ or "").strip())
    parser.add_argument("--data", type=Path, required=True, help="directory of the data; made when absent")
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--users", type=Path, required=True, help="TOML file of [[login]] tables")
    parser.add_argument("--ready-file", type=Path, help="written when clients can connect: pid, host, port")
    parser.add_argument("--memory-mib", type=int, default=DEFAULT_MEMORY_MIB, help="cap of the engine's memory")
    return parser


def _log_plainly() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    sys.exit(main())
