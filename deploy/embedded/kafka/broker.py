"""Starts the broker and hands it over alive: readiness is an answered admin request, never an open port."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from deploy.embedded.kafka.archive import adopt_draft, archive_flag
from deploy.embedded.kafka.config import HOST, BrokerPlace, server_properties
from deploy.embedded.kafka.install import Say, install_jars
from deploy.embedded.kafka.java import Java, require_java
from deploy.embedded.kafka.storage import ensure_formatted
from deploy.locks import require_unlocked
from deploy.ports import require_free
from deploy.supervise import Part, Supervisor
from deploy.topics_admin import broker_answers
from schemas.errors import UnavailableError

START_DEADLINE_S: Final = 30.0
STOP_DEADLINE_S: Final = 15.0  # a clean stop takes 2 s, and 4 s the once that it leaves a class archive
ANSWER_S: Final = 2.0

# What a broker of some hundred messages a second needs; it stays under 250 MiB of resident memory with these.
_MEMORY: Final = ("-Xms64m", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_QUIET: Final = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
_STAMPED: Final = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)

_KNOWN_FAULTS: Final = {
    "Address already in use": "a port was taken by another process while the broker started",
    "No space left on device": "the disk is full; free some and start again",
    "OutOfMemoryError": "the broker ran out of its 192 MiB of heap",
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class BrokerHandle:
    """A broker that answered: its process and the address for clients."""

    pid: int
    bootstrap: str


def _say_to_log(text: str) -> None:
    log.info("embedded kafka", what=text)


def broker_part(
    place: BrokerPlace,
    *,
    log_path: Path,
    restart: bool = True,
    deadline_s: float = START_DEADLINE_S,
    say: Say = _say_to_log,
) -> Part:
    """Make everything that the broker needs (jars, formatted folder, properties) and return how it is run.

    Raises:
        ConfigError: a port or the folder in use, a folder that is not Kafka's.
        UnavailableError: no Java, no Maven, a download that failed; each with the line that gets it.
    """
    java = require_java()
    jars = install_jars(say)
    require_free(place.port, what="embedded kafka", setting="kafka.port", host=HOST)
    require_free(place.controller_port, what="embedded kafka", setting="kafka.controller_port", host=HOST)
    require_unlocked(place.lock_path, what="embedded kafka")
    place.state_dir.mkdir(parents=True, exist_ok=True)
    adopt_draft(place.state_dir, java, jars)
    ensure_formatted(place, java, jars)
    place.properties_path.write_text(server_properties(place))
    return Part(
        name="kafka",
        command=broker_command(place, java, jars),
        log_path=log_path,
        ready=_ready(place),
        ready_deadline_s=deadline_s,
        stop_deadline_s=STOP_DEADLINE_S,
        restart=restart,
        lock_path=place.lock_path,
    )


def broker_command(place: BrokerPlace, java: Java, jars: Path) -> tuple[str, ...]:
    """Return the command line of the broker."""
    flags = (*_MEMORY, archive_flag(place.state_dir, java, jars), _QUIET, *_STAMPED)
    return (java.program, *flags, "-cp", f"{jars}/*", "kafka.Kafka", str(place.properties_path))


@contextmanager
def running_broker(
    state_dir: Path, port: int, controller_port: int, *, log_path: Path, deadline_s: float = START_DEADLINE_S
) -> Iterator[BrokerHandle]:
    """Run a broker while the context lasts; its data stays in `state_dir` for the next one.

    Raises:
        ConfigError: a port or the folder in use, a folder that is not Kafka's.
        UnavailableError: something it needs is missing, or it did not answer within `deadline_s`.
    """
    place = BrokerPlace(state_dir=state_dir.absolute(), port=port, controller_port=controller_port)
    part = broker_part(place, log_path=log_path, restart=False, deadline_s=deadline_s)
    with ExitStack() as stack:
        try:
            supervisor = stack.enter_context(Supervisor([part]))
        except UnavailableError as err:
            raise UnavailableError(explain(str(err))) from err
        yield BrokerHandle(pid=supervisor.pids()[0], bootstrap=place.bootstrap)


def explain(failure: str) -> str:
    """Return the failure, led by its cause in plain words when the log names one that is known."""
    causes = [cause for sign, cause in _KNOWN_FAULTS.items() if sign in failure]
    return f"embedded kafka: {causes[0]}\n{failure}" if causes else failure


def _ready(place: BrokerPlace) -> Callable[[], bool]:
    def answers() -> bool:
        return broker_answers(place.bootstrap, ANSWER_S)

    return answers
