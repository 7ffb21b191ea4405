"""Starts the server and hands it over alive: readiness is an answered SELECT 1, never an open port.

A real `clickhouse` binary is preferred. A directory stays with the engine that began it: its files are not shared.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from deploy.embedded.clickhouse import realserver
from deploy.embedded.clickhouse.engineconfig import DEFAULT_MEMORY_MIB, ENGINE_FOLDER
from deploy.embedded.clickhouse.holder import require_free_directory
from deploy.embedded.clickhouse.logins import Login, write_logins
from deploy.embedded.clickhouse.ping import answers
from deploy.embedded.clickhouse.tcp import HOST
from deploy.ports import require_free
from deploy.supervise import Part, Supervisor
from schemas.errors import ConfigError

START_DEADLINE_S: Final = 20.0
STOP_DEADLINE_S: Final = 15.0  # clients get 5 s to finish, then 5 s to be ended
ANSWER_S: Final = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class ServerHandle:
    """A server that answered: its process and the address for clients."""

    pid: int
    host: str
    port: int


def clickhouse_part(
    data_dir: Path,
    port: int,
    users: Sequence[Login],
    *,
    log_path: Path,
    restart: bool = True,
    deadline_s: float = START_DEADLINE_S,
    memory_mib: int = DEFAULT_MEMORY_MIB,
) -> Part:
    """Write what the server reads and return how it is run; one of `users` has a plain `password` to ask with.

    Raises:
        ConfigError: a port in use, or no login to ask with.
        DirectoryHeldError: another server has the directory; the text names it.
    """
    asking = next((each for each in users if each.password is not None), None)
    if asking is None:
        raise ConfigError("embedded clickhouse: no login with a plain password; readiness cannot be asked")
    require_free(port, what="embedded clickhouse", setting="clickhouse.port", host=HOST)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_free_directory(data_dir)
    return Part(
        name="clickhouse",
        command=_command(data_dir.resolve(), port, users, memory_mib),
        log_path=log_path,
        ready=_ready(port, asking),
        ready_deadline_s=deadline_s,
        stop_deadline_s=STOP_DEADLINE_S,
        restart=restart,
    )


@contextmanager
def running_server(
    data_dir: Path, port: int, users: Sequence[Login], *, log_path: Path, deadline_s: float = START_DEADLINE_S
) -> Iterator[ServerHandle]:
    """Run a server while the context lasts; its data stays in `data_dir` for the next one.

    Raises:
        ConfigError: a port in use.
        DirectoryHeldError: another server has the directory; the text names it.
        UnavailableError: it ended, or did not answer within `deadline_s`; the text holds its last log lines.
    """
    part = clickhouse_part(data_dir, port, users, log_path=log_path, restart=False, deadline_s=deadline_s)
    with Supervisor([part]) as supervisor:
        yield ServerHandle(pid=supervisor.pids()[0], host=HOST, port=port)


def embedded_command(data_dir: Path, port: int, users_file: Path, memory_mib: int) -> tuple[str, ...]:
    """Return the command line of the chdb server."""
    options = ("--data", str(data_dir), "--port", str(port), "--users", str(users_file))
    return (sys.executable, "-m", "deploy.embedded.clickhouse", *options, "--memory-mib", str(memory_mib))


def _command(data_dir: Path, port: int, users: Sequence[Login], memory_mib: int) -> tuple[str, ...]:
    binary = realserver.find_binary()
    if binary is not None and not (data_dir / ENGINE_FOLDER).exists():
        log.info("a real clickhouse is used", binary=str(binary))
        return realserver.command(binary, realserver.write_files(data_dir / "server", port, users, memory_mib))
    users_file = data_dir / "users.toml"
    write_logins(users_file, users)
    return embedded_command(data_dir, port, users_file, memory_mib)


def _ready(port: int, login: Login) -> Callable[[], bool]:
    def ready() -> bool:
        return answers(HOST, port, login.name, login.password or "", ANSWER_S)

    return ready
