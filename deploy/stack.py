"""The composition root: which parts, in which order, with which configuration. Started forward, stopped in reverse.

Broker and store come first and are made right (topics, migrations, plan) before anything of ours speaks to them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog

from dashboards.page.serve import page_url
from deploy.apply import apply_mesh
from deploy.configfile import write_config
from deploy.embedded.clickhouse.launch import clickhouse_part
from deploy.embedded.clickhouse.logins import Login
from deploy.embedded.kafka.broker import broker_part
from deploy.embedded.kafka.config import BrokerPlace
from deploy.parts import (
    agent_part,
    evaluator_part,
    page_config,
    page_part,
    probe_files,
    reflector_part,
    rollup_part,
    worker_part,
)
from deploy.place import READER, WRITER, Address, Place
from deploy.ports import require_free
from deploy.settings import Settings
from deploy.supervise import Part, Supervisor
from deploy.topics_admin import ensure_topics
from probes.config import ThroughputSlot
from probes.keys import enrol, load_signer
from probes.plan import LoadedSpan
from schemas.clock import Clock
from schemas.mesh import Mesh, with_probe_keys
from schemas.tables import DATABASE
from schemas.topics import TOPICS
from streams.migrate import migrate
from streams.store import StoreConfig, open_store, store_config

log = structlog.get_logger(__name__)

LOOPBACK: Final = "127.0.0.1"
REPORT_READ_S: Final = 60.0


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Throughput tests of this run, and the times in which they load streams."""

    slots: tuple[ThroughputSlot, ...] = ()
    spans: tuple[LoadedSpan, ...] = ()


class Stack:
    """A running stack: broker and store; worker, rollup, page; the edge: reflector and probes of a lab, evaluator."""

    def __init__(self, groups: Sequence[Supervisor], edge: ExitStack, address: Address, mesh: Mesh) -> None:
        self.address = address
        self.mesh = mesh
        self._groups = groups
        self._edge = edge

    def supervisor_of(self, part: str) -> Supervisor:
        """Return who looks after a part; raises KeyError when there is none of that name."""
        found = {name: group for group in self._groups for name in group.restarts}
        return found[part]

    def restarts(self) -> dict[str, int]:
        """Return how often each part was started again."""
        return {name: count for group in self._groups for name, count in group.restarts.items()}

    def pids(self) -> tuple[int, ...]:
        """Return the pids of all parts that run now."""
        return tuple(pid for group in self._groups for pid in group.pids())

    def check(self) -> None:
        """Raise what ended the supervision, if anything did."""
        for group in self._groups:
            group.check()

    def stop_edge(self) -> None:
        """End the evaluator, so that nobody is alarmed; then the probes, which hand over what they have."""
        self._edge.close()


@contextmanager
def running_stack(
    settings: Settings,
    mesh: Mesh,
    place: Place,
    *,
    clock: Clock,
    netns: Mapping[str, str] | None = None,
    load: Callable[[], Load] = Load,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Stack]:
    """Run everything on this machine while the context lasts.

    Args:
        settings: what the operator wants; a broker or store given there is used instead of the embedded one.
        mesh: the plan; it is put in force.
        place: the folder of the stack; data stays there for the next run.
        clock: for the plan.
        netns: endpoint -> namespace: run all probes and one reflector in a lab. None: the probes run elsewhere.
        load: throughput tests, asked for right before the probes start.
        say: told of each step, for people.

    Raises:
        ConfigError: a setting, a port, the mesh.
        UnavailableError: a part that must run does not.
    """
    (writer, reader), bootstrap = _stores(settings, place), _bootstrap(settings)
    if netns is not None:
        mesh = enrolled(place, mesh)
    page = page_config(place, settings, reader, mesh)
    require_free(page.port, what="posture page", setting="page.port")
    with ExitStack() as stack:
        say("starting broker and store")
        groups = [stack.enter_context(Supervisor(_base_parts(settings, place)))]
        _make_right(settings, mesh, writer, bootstrap, clock)
        access = settings.kafka.access
        address = Address(
            mesh=mesh.id, bootstrap=bootstrap, access=access, writer=writer, reader=reader, page_url=page_url(page)
        )
        write_config(place.address_file, address)
        say("starting worker, rollup and page")
        worker = worker_part(place, bootstrap, writer, access=access, profile=settings.profile)
        parts = [worker, rollup_part(place, writer), page_part(place, page)]
        groups.append(stack.enter_context(Supervisor(parts)))
        edge = stack.enter_context(ExitStack())
        if netns is not None:
            say("starting reflector and probes")
            groups.append(edge.enter_context(Supervisor(_edge_parts(place, mesh, address, netns, load()))))
        say("starting the evaluator")
        groups.append(edge.enter_context(Supervisor([evaluator_part(place, settings, writer, mesh.id)])))
        yield Stack(groups, edge, address, mesh)


def enrolled(place: Place, mesh: Mesh) -> Mesh:
    """Return the mesh with the keys of all its probes, made where they are missing."""
    keys: dict[str, Sequence[tuple[str, str]]] = {}
    for probe in mesh.probes:
        path = probe_files(place, probe.id).key
        enrol(path, probe.id)
        signer = load_signer(path)
        keys[probe.id] = [(signer.key_id, signer.public.hex())]
    return with_probe_keys(mesh, keys)


def _base_parts(settings: Settings, place: Place) -> list[Part]:
    parts: list[Part] = []
    if settings.kafka.bootstrap == "":
        parts.append(broker_part(_broker_place(settings, place), log_path=place.logs / "kafka.log"))
    if settings.clickhouse.url == "":
        parts.append(
            clickhouse_part(
                place.root / "clickhouse",
                settings.clickhouse.port,
                _logins(place),
                log_path=place.logs / "clickhouse.log",
                memory_mib=settings.clickhouse.memory_mib,
            )
        )
    return parts


def _edge_parts(place: Place, mesh: Mesh, address: Address, netns: Mapping[str, str], load: Load) -> list[Part]:
    agents = [
        agent_part(
            place,
            mesh,
            probe.id,
            bootstrap=address.bootstrap,
            access=address.access,
            netns=netns,
            throughput=load.slots,
            loaded=load.spans,
        )
        for probe in mesh.probes
    ]
    return [reflector_part(place, mesh, netns), *agents]


def _make_right(settings: Settings, mesh: Mesh, writer: StoreConfig, bootstrap: str, clock: Clock) -> None:
    """Bring topics, tables and plan to what the parts rely on, or refuse with what differs."""
    ensure_topics(bootstrap, TOPICS, settings.profile, access=settings.kafka.access)
    migrate(writer, profile=settings.profile, clock=clock)
    with open_store(writer) as store:
        applied = apply_mesh(store, mesh, clock=clock)
    log.info("mesh in force", mesh=mesh.id, version=applied.version, valid_from_s=applied.valid_from_s)


def _stores(settings: Settings, place: Place) -> tuple[StoreConfig, StoreConfig]:
    if settings.clickhouse.url != "":
        given = store_config(settings.clickhouse.url)
        return given, given
    secrets = place.secrets()
    base = StoreConfig(host=LOOPBACK, port=settings.clickhouse.port, database=DATABASE)
    writer = msgspec.structs.replace(base, user=WRITER, password=secrets.writer_password)
    return writer, msgspec.structs.replace(
        base, user=READER, password=secrets.reader_password, read_timeout_s=REPORT_READ_S
    )


def _logins(place: Place) -> list[Login]:
    secrets = place.secrets()
    return [
        Login(name=WRITER, password=secrets.writer_password),
        Login(name=READER, password=secrets.reader_password, readonly=True),
    ]


def _broker_place(settings: Settings, place: Place) -> BrokerPlace:
    folder: Path = (place.root / "kafka").absolute()
    return BrokerPlace(state_dir=folder, port=settings.kafka.port, controller_port=settings.kafka.controller_port)


def _bootstrap(settings: Settings) -> str:
    return settings.kafka.bootstrap or f"{LOOPBACK}:{settings.kafka.port}"
