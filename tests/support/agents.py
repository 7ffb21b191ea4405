"""An agent in a thread, its reflector in another, both on loopback: for tests of the whole probe."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from probes.agent import run_agent
from probes.config import AgentConfig, ThroughputSlot
from probes.keys import enrol
from probes.publish import KafkaConfig, Producer
from probes.reflector import ReflectorConfig, ReflectorEndpoint, run_reflector
from schemas.clock import SystemClock
from schemas.mesh_file import Limits
from schemas.mesh_slice import ProbeSlice, Schedule, SliceStream, slice_to_json

PROBE = "m/p"
SLOT_MS = 1_000
TIMEOUT_MS = 300
LOOPBACK = "127.0.0.1"


def free_udp_port() -> int:
    """Return a UDP port of loopback that nobody had a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        port: int = sock.getsockname()[1]
    return port


def wait_for(what: str, found: Callable[[], bool], deadline_s: float = 10.0) -> None:
    """Wait for `found`; fail, naming what was waited for, at the deadline."""
    end_s = time.monotonic() + deadline_s
    while not found():
        assert time.monotonic() < end_s, f"waited {deadline_s} s for {what}"
        time.sleep(0.02)


def loopback_slice(port: int, *, streams: int = 2, version: str = "v1") -> ProbeSlice:
    """Return a slice of streams to a reflector on loopback, 20 packets a second each, slots of a second."""
    return ProbeSlice(
        mesh="m",
        mesh_version=version,
        probe_id=PROBE,
        schedule=Schedule(slot_ms=SLOT_MS, payload_bytes=44),
        limits=Limits(),
        endpoints=(),
        peers=(),
        streams=tuple(
            SliceStream(
                id=number,
                source="a",
                source_address=LOOPBACK,
                destination=f"b{number}",
                destination_address=LOOPBACK,
                destination_port=port,
                method="stamp",
                traffic_class="be",
                dscp=0,
                interval_ms=50,
                timeout_ms=TIMEOUT_MS,
                planned_per_slot=20,
            )
            for number in range(1, streams + 1)
        ),
    )


def agent_config(
    folder: Path, *, kafka: KafkaConfig | None = None, tests: tuple[ThroughputSlot, ...] = ()
) -> AgentConfig:
    """Return a configuration whose files are in `folder`, the key among them."""
    enrol(folder / "key.toml", PROBE)
    return AgentConfig(
        probe_id=PROBE,
        slice_path=str(folder / "slice.json"),
        key_path=str(folder / "key.toml"),
        spool_path=str(folder / "spool.db"),
        kafka=kafka or KafkaConfig(),
        throughput=tests,
    )


@contextmanager
def running_reflector(port: int) -> Iterator[None]:
    """Answer on loopback."""
    stop = threading.Event()
    config = ReflectorConfig(endpoints=(ReflectorEndpoint(address=LOOPBACK, port=port),), allow=(LOOPBACK,))
    thread = threading.Thread(
        target=run_reflector, args=(config,), kwargs={"clock": SystemClock(), "stop": stop.is_set}
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5.0)


@contextmanager
def running_agent(
    config: AgentConfig, slice_: ProbeSlice, connect: Callable[[], Producer] | None = None
) -> Iterator[None]:
    """Measure until the block is left; it then has 5 s to end, as the agent promises."""
    Path(config.slice_path).write_bytes(slice_to_json(slice_))
    stop = threading.Event()
    thread = threading.Thread(
        target=run_agent,
        args=(config, slice_),
        kwargs={"clock": SystemClock(), "random": Random(1), "stop": stop, "connect": connect},  # noqa: S311 - phases
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5.0)
        assert not thread.is_alive(), "the agent did not end within 5 s"
