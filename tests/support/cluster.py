"""Three brokers on one machine, each also a controller: what a nation runs, as small as it gets."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from support.children import wait_for

from deploy.child import reap, spawn
from deploy.embedded.kafka.broker import broker_command
from deploy.embedded.kafka.config import HOST, BrokerPlace, server_properties
from deploy.embedded.kafka.install import install_jars
from deploy.embedded.kafka.java import Java, require_java
from deploy.embedded.kafka.storage import MARK, ensure_formatted, new_cluster_id
from deploy.ports import free_port
from deploy.topics_admin import broker_answers

NODES: Final = (1, 2, 3)
START_S: Final = 60.0
REPLICATED: Final = {
    "offsets.topic.replication.factor": "3",
    "offsets.topic.num.partitions": "1",
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
}


@dataclass(frozen=True)
class Node:
    """One broker: where it lives and how it is run."""

    number: int
    place: BrokerPlace
    command: tuple[str, ...]


class Cluster:
    """The brokers by number; each may be killed and started again."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = {node.number: node for node in nodes}
        self._running = {node.number: self._spawned(node) for node in nodes}

    @property
    def bootstrap(self) -> str:
        """Return the addresses of all."""
        return ",".join(node.place.bootstrap for node in self._nodes.values())

    def await_ready(self, *numbers: int) -> None:
        """Return when each answers for itself."""
        for number in numbers:
            answers = partial(broker_answers, self._nodes[number].place.bootstrap, 2.0)
            wait_for(f"broker {number}", answers, START_S, every_s=0.1)

    def kill(self, number: int) -> None:
        """End one as a power cut would."""
        reap(self._running.pop(number))

    def start(self, *numbers: int) -> None:
        """Start some again."""
        self._running |= {number: self._spawned(self._nodes[number]) for number in numbers}
        self.await_ready(*numbers)

    def close(self) -> None:
        """End all that run; nothing of them is kept."""
        for process in self._running.values():
            reap(process)

    def _spawned(self, node: Node) -> subprocess.Popen[bytes]:
        return spawn(node.command, env={}, log_path=node.place.state_dir / "kafka.log")


@contextmanager
def running_cluster(home: Path) -> Iterator[Cluster]:
    """Run three brokers that make one cluster while the block lasts."""
    java, jars = require_java(), install_jars(lambda _: None)
    places = [BrokerPlace(state_dir=home / f"kafka-{n}", port=free_port(), controller_port=free_port()) for n in NODES]
    voters = ",".join(f"{n}@{HOST}:{place.controller_port}" for n, place in zip(NODES, places, strict=True))
    places[0].state_dir.mkdir(parents=True)
    ensure_formatted(places[0], java, jars)
    for number, place in zip(NODES, places, strict=True):
        _settle(number, place, places[0], voters)
    cluster = Cluster([_node(n, place, java, jars) for n, place in zip(NODES, places, strict=True)])
    try:
        cluster.await_ready(*NODES)
        yield cluster
    finally:
        cluster.close()


def _settle(number: int, place: BrokerPlace, first: BrokerPlace, voters: str) -> None:
    """Give a broker its properties and a formatted folder of the same cluster."""
    if place is not first:
        shutil.copytree(first.log_dir, place.log_dir)
    mark = place.log_dir / MARK
    own = {"node.id": str(number), "directory.id": new_cluster_id()}  # of the same form
    mark.write_text(replaced(mark.read_text(), own))
    own = {"node.id": str(number), "controller.quorum.voters": voters, **REPLICATED}
    place.properties_path.write_text(replaced(server_properties(place), own))


def replaced(text: str, own: dict[str, str]) -> str:
    """Return properties with some of them replaced or added."""
    named = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return "".join(f"{key}={value}\n" for key, value in (named | own).items())


def _node(number: int, place: BrokerPlace, java: Java, jars: Path) -> Node:
    return Node(number, place, broker_command(place, java, jars))
