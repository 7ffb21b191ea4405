"""What chaos runs on: broker and engine under a supervisor, a proxy before the engine, workers that come back."""

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
from chaos.proxy import Proxy
from support.engine import READER, WRITER

from deploy.child import end, spawn
from deploy.embedded.clickhouse.launch import clickhouse_part
from deploy.embedded.kafka.broker import broker_part
from deploy.embedded.kafka.config import BrokerPlace
from deploy.ports import free_port
from deploy.supervise import Supervisor
from deploy.topics_admin import ensure_topics
from schemas.clock import SystemClock
from schemas.topics import TOPICS
from streams.migrate import migrate
from streams.store import StoreConfig
from streams.worker_config import WorkerConfig

CLOCK: Final = SystemClock()
START_S: Final = 60.0
END_S: Final = 20.0
TICK_S: Final = 0.1
SESSION_TIMEOUT_S: Final = 3.0  # less than in production, so that many faults fit into a minute
DIES_S: Final = 10.0
_WORKER: Final = Path(__file__).with_name("worker.py")
_TESTS: Final = Path(__file__).parents[1]


class Stage:
    """The services, shared by all seeds; each seed has a database and a group of its own."""

    def __init__(self, home: Path, bootstrap: str, services: Supervisor, proxy: Proxy, engine_port: int) -> None:
        self.home = home
        self.bootstrap = bootstrap
        self.proxy = proxy
        self._services = services
        self._engine_port = engine_port

    def database(self) -> tuple[StoreConfig, StoreConfig]:
        """Return a new database, as the workers reach it and as the judge does."""
        named: dict[str, Any] = {
            "user": WRITER.name,
            "password": WRITER.password or "",
            "database": f"chaos_{uuid.uuid4().hex[:12]}",
        }
        direct = StoreConfig(port=self._engine_port, read_timeout_s=60.0, **named)
        migrate(direct, profile="embedded", clock=CLOCK)
        return StoreConfig(port=self.proxy.port, read_timeout_s=5.0, **named), direct

    def kill(self, name: str) -> None:
        """End a service by SIGKILL; its supervisor starts it again."""
        self._signal(name, signal.SIGKILL)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stop a service's process for the time of the block."""
        self._signal(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(name, signal.SIGCONT)

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Kill a service and keep it down for the time of the block."""
        self._services.hold(name)
        try:
            yield
        finally:
            self._services.release(name)

    def _signal(self, name: str, number: int) -> None:
        for status in self._services.status():
            if status.name == name and status.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(status.pid, number)


@contextmanager
def running_stage() -> Iterator[Stage]:
    """Run broker, engine and proxy in a folder that is removed at the end."""
    with TemporaryDirectory(prefix="isochrone-chaos-") as folder:
        home = Path(folder)
        place = BrokerPlace(state_dir=home / "kafka", port=free_port(), controller_port=free_port())
        port = free_port()
        parts = [
            broker_part(place, log_path=home / "kafka.log", deadline_s=START_S),
            clickhouse_part(home / "engine", port, (WRITER, READER), log_path=home / "engine.log", deadline_s=START_S),
        ]
        proxy = Proxy(free_port(), port)
        try:
            with Supervisor(parts) as services:
                ensure_topics(place.bootstrap, TOPICS, "embedded")
                yield Stage(home, place.bootstrap, services, proxy, port)
        finally:
            proxy.close()


class Workers:
    """One worker that is started again whenever it ends, and more of them for a while."""

    def __init__(self, stage: Stage, config: WorkerConfig, broken: str) -> None:
        self.restarts = 0
        self._home = stage.home
        self._path = stage.home / f"{config.group}.json"
        self._path.write_bytes(msgspec.json.encode(config))
        self._broken = broken
        self._lock = threading.Lock()
        self._stopping = False
        self._process = self._start()
        self._watch = threading.Thread(target=self._keep, name="workers", daemon=True)
        self._watch.start()

    def signal(self, number: int) -> None:
        """Send a signal to the worker."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def die_at(self, point: str, count: int) -> None:
        """Replace the worker by one that kills itself at a point of its flushes."""
        with self._lock:
            end(self._process, deadline_s=END_S, clock=CLOCK)
            self._process = doomed = self._start(point, count)
        with suppress(subprocess.TimeoutExpired):
            doomed.wait(DIES_S)

    @contextmanager
    def another(self) -> Iterator[None]:
        """Run one more for the time of the block."""
        process = self._start()
        try:
            yield
        finally:
            end(process, deadline_s=END_S, clock=CLOCK)

    def stop(self) -> None:
        """End them all."""
        self._stopping = True
        self._watch.join()
        end(self._process, deadline_s=END_S, clock=CLOCK)

    @property
    def log(self) -> Path:
        """Return what they said."""
        return self._path.with_suffix(".log")

    def _keep(self) -> None:
        while not self._stopping:
            with self._lock:
                if self._process.poll() is not None:
                    self.restarts += 1
                    self._process = self._start()
            CLOCK.sleep_s(TICK_S)

    def _start(self, point: str = "none", count: int = -1) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(_WORKER), str(self._path), point, str(count), self._broken]
        return spawn(command, env={"PYTHONPATH": f"{_TESTS}{os.pathsep}{_TESTS.parent}"}, log_path=self.log)
