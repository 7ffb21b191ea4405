"""A whole lab for as long as a block lasts: namespaces up, wire running; and all of it gone afterwards."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from deploy.lab import namespaces
from deploy.lab.control import Ledger, WireClient, open_client
from deploy.lab.ledger import RECORDS_FILE, Records, read_records
from deploy.lab.marks import MarkLayout
from deploy.lab.topology import Topology, check_topology
from deploy.lab.wire import CONFIG_FILE, WireConfig
from schemas.clock import Clock, SystemClock
from schemas.errors import ConfigError, UnavailableError

log = structlog.get_logger(__name__)

LOG_FILE: Final = "wire.log"
_STOP_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.02
_serial = itertools.count()


class Lab:
    """A running lab."""

    def __init__(self, config: WireConfig, run_dir: Path, wire: WireClient, process: "subprocess.Popen[bytes]") -> None:
        self.topology = config.topology
        self.run_dir = run_dir
        self.run_id = config.run_id
        self.wire = wire
        self.wire_pid = process.pid
        self._process = process
        self._hosts = {host.name: host for host in config.topology.hosts}

    def alive(self) -> bool:
        """Return whether the wire process runs."""
        return self._process.poll() is None

    def namespace(self, host: str) -> str:
        """Return the namespace of a host, for `in_namespace`; raises KeyError for an unknown host."""
        return namespaces.namespace_name(self.run_id, self._hosts[host].name)

    def address(self, host: str) -> str:
        """Return the first address of a host; raises KeyError for an unknown host."""
        return self._hosts[host].addresses[0]

    def cut_host(self, host: str) -> list[str]:
        """Cut every link of a host, and return their names; `wire.heal` brings each back."""
        cut = [link.name for link in self.topology.links if host in (link.a, link.b)]
        for name in cut:
            self.wire.cut(name)
        return cut

    def ledger(self) -> Ledger:
        """Return the counts of all links, after every record so far is on disk."""
        return self.wire.snapshot()

    def records(self) -> Records:
        """Return all records of test packets that have left or been dropped until now."""
        self.wire.snapshot()
        return read_records(self.run_dir / RECORDS_FILE)


@contextmanager
def running_lab(
    topology: Topology,
    run_dir: Path,
    *,
    deadline_s: float,
    seed: int = 0,
    layout: MarkLayout | None = None,
    clock: Clock | None = None,
) -> Iterator[Lab]:
    """Bring a lab up in `run_dir`, a folder of its own, and take all of it down afterwards, whatever happened inside.

    Args:
        topology: hosts and links; the records number the links by their place.
        run_dir: where records, log and control socket lie; the records stay there.
        deadline_s: how long bringing up may take.
        seed: of the dice; the same seed and the same packets give the same losses.
        layout: where test packets carry token and index.
        clock: for the deadline.

    Raises:
        ConfigError: the topology breaks a rule.
        UnavailableError: no root, no iproute2, the folder already holds a run, or the wire was not ready in time.
    """
    check_topology(topology)
    clock = clock or SystemClock()
    until_ns = clock.mono_ns() + round(deadline_s * 1e9)
    config = WireConfig(
        run_id=namespaces.new_run_id(next(_serial)),
        topology=topology,
        layout=layout or MarkLayout(),
        seed=seed,
        parent_pid=os.getpid(),
    )
    _claim(run_dir, config)
    stale = namespaces.remove_stale()
    if len(stale) > 0:
        log.warning("leftovers of a dead lab removed", namespaces=len(stale))
    try:
        namespaces.make(config.run_id, topology)
        with _wire_process(run_dir) as process:
            _wait_ready(process, run_dir, until_ns, clock)
            with open_client(run_dir) as wire:
                yield Lab(config, run_dir, wire, process)
    finally:
        namespaces.remove(config.run_id)


def take_down(run_dir: Path, *, deadline_s: float, clock: Clock | None = None) -> None:
    """End the lab of `run_dir`, which another process holds or held; its records stay.

    Raises:
        ConfigError: the folder holds no lab.
        UnavailableError: its namespaces were still there at the deadline.
    """
    clock = clock or SystemClock()
    until_ns = clock.mono_ns() + round(deadline_s * 1e9)
    try:
        config = msgspec.json.decode((run_dir / CONFIG_FILE).read_bytes(), type=WireConfig)
    except FileNotFoundError as err:
        raise ConfigError(f"{run_dir}: no lab was ever up here; give the folder that `lab up` was given") from err
    with suppress(UnavailableError), open_client(run_dir, timeout_s=deadline_s) as wire:
        wire.stop()  # its holder sees the end of the wire and cleans up
    namespaces.remove_stale()
    while len(left := namespaces.of_run(config.run_id)) > 0:
        if clock.mono_ns() > until_ns:
            raise UnavailableError(f"lab: process {config.parent_pid} still holds {len(left)} namespaces; end it")
        clock.sleep_s(_POLL_S)


def _claim(run_dir: Path, config: WireConfig) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    try:
        with (run_dir / CONFIG_FILE).open("xb") as file:
            file.write(msgspec.json.encode(config))
    except FileExistsError as err:
        raise UnavailableError(f"lab: {run_dir} already holds a run; give a new folder, its records are kept") from err


@contextmanager
def _wire_process(run_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (run_dir / LOG_FILE).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.lab.wire", str(run_dir.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=Path(__file__).parents[2],  # where the packages are, installed or checked out
        )
    try:
        yield process
    finally:
        _end(process, run_dir)


def _end(process: "subprocess.Popen[bytes]", run_dir: Path) -> None:
    """End the wire: SIGTERM lets it write its last records, SIGKILL is for one that hangs."""
    if process.poll() is not None:
        if process.returncode != 0:
            log.error("lab wire died", exit_code=process.returncode, log=_tail(run_dir))
        return
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        log.warning("lab wire did not end, killed", waited_s=_STOP_TIMEOUT_S)
        process.kill()
        process.wait(_STOP_TIMEOUT_S)


def _wait_ready(process: "subprocess.Popen[bytes]", run_dir: Path, until_ns: int, clock: Clock) -> None:
    while not _answers(run_dir):
        if process.poll() is not None:
            raise UnavailableError(f"lab wire ended at its start with code {process.returncode}: {_tail(run_dir)}")
        if clock.mono_ns() > until_ns:
            raise UnavailableError(f"lab wire did not answer on its control socket in time: {_tail(run_dir)}")
        clock.sleep_s(_POLL_S)


def _answers(run_dir: Path) -> bool:
    try:
        with open_client(run_dir, timeout_s=1.0) as wire:
            wire.snapshot()
    except UnavailableError:
        return False
    return True


def _tail(run_dir: Path) -> str:
    return (run_dir / LOG_FILE).read_text(encoding="utf-8", errors="replace")[-1000:].strip() or "its log is empty"
