"""The processes of a stack: the configuration each one reads, and how it is run. Writes files, starts nothing."""

import dataclasses
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from alerts.evaluator import EvaluatorConfig
from alerts.relay import RelayConfig, Target
from dashboards.page.app import PageConfig
from dashboards.page.serve import ServeConfig
from deploy.configfile import write_config
from deploy.place import Place
from deploy.reflector_host import ReflectorHost
from deploy.settings import Settings
from deploy.supervise import Part
from deploy.topics_admin import LOCAL, REPLICATION, Profile
from probes.config import AgentConfig, ThroughputSlot
from probes.plan import LoadedSpan
from probes.publish import kafka_config
from probes.receiver import ReceiverConfig, ReceiverEndpoint
from probes.reflector import ReflectorConfig, ReflectorEndpoint
from schemas.kafka_access import KafkaAccess
from schemas.mesh import Mesh
from schemas.mesh_slice import probe_slice, slice_to_json
from streams.intake import EXIT_BREAKER, EXIT_HOLE
from streams.rollup import RollupConfig
from streams.store import StoreConfig
from streams.worker_config import WorkerConfig


def command(*words: str) -> tuple[str, ...]:
    """Return the command line of one of our own commands, in this very interpreter."""
    return (sys.executable, "-m", "deploy.cli.main", *words)


def worker_part(
    place: Place,
    bootstrap: str,
    store: StoreConfig,
    *,
    access: KafkaAccess = LOCAL,
    profile: Profile = "embedded",
) -> Part:
    """Return the worker: verify, fold, store."""
    config = WorkerConfig(bootstrap=bootstrap, access=access, store=store, least_replicas=REPLICATION[profile])
    part = _part(place, "worker", config)
    return dataclasses.replace(part, final_codes=frozenset({EXIT_BREAKER, EXIT_HOLE}))


def rollup_part(place: Place, store: StoreConfig) -> Part:
    """Return the rollup: hours and local days out of minutes."""
    return _part(place, "rollup", RollupConfig(store=store))


def evaluator_part(place: Place, settings: Settings, store: StoreConfig, mesh: str) -> Part:
    """Return the evaluator: judge, converge, deliver."""
    alerts = settings.alerts
    targets = (Target(name="webhook", url=alerts.webhook),) if alerts.webhook else ()
    config = EvaluatorConfig(
        mesh=mesh,
        store=store,
        policy=alerts.policy,
        relay=RelayConfig(mesh=mesh, store=store, targets=targets),
        exercise=alerts.exercise,
    )
    return _part(place, "evaluator", config)


def page_part(place: Place, config: ServeConfig) -> Part:
    """Return the posture page; it is ready when it answers."""
    return _part(place, "page", config, ready=_answers(f"http://{config.host}:{config.port}/healthz"))


def page_config(place: Place, settings: Settings, store: StoreConfig, mesh: Mesh) -> ServeConfig:
    """Return what the page shows and where."""
    page = PageConfig(
        mesh=mesh.id,
        token=place.secrets().page_token,
        language="en" if settings.page.language == "en" else "zh",
        timezone=mesh.timezone,
    )
    return ServeConfig(page=page, store=store, port=settings.page.port)


def reflector_part(place: Place, mesh: Mesh, netns: Mapping[str, str]) -> Part:
    """Return one process that answers for all endpoints: the mesh's own addresses and nobody else."""
    allow = tuple(each.address for each in mesh.endpoints)
    config = ReflectorHost(
        reflector=ReflectorConfig(
            endpoints=tuple(
                ReflectorEndpoint(address=each.address, port=each.port, netns=netns.get(each.id))
                for each in mesh.endpoints
            ),
            allow=allow,
        ),
        receiver=ReceiverConfig(
            endpoints=tuple(
                ReceiverEndpoint(address=each.address, netns=netns.get(each.id)) for each in mesh.endpoints
            ),
            allow=allow,
        ),
    )
    return _part(place, "reflector", config)


class ProbeFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where one probe keeps its key, its slice and its spool."""

    folder: Path

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / "key.toml"

    @property
    def slice(self) -> Path:
        """The probe's slice of the mesh."""
        return self.folder / "slice.json"

    @property
    def spool(self) -> Path:
        """The spool."""
        return self.folder / "spool.sqlite"


def probe_files(place: Place, probe_id: str) -> ProbeFiles:
    """Return where a probe that this stack runs keeps its files."""
    return ProbeFiles(folder=place.root / "probes" / probe_id.split("/")[1])


def agent_part(
    place: Place,
    mesh: Mesh,
    probe_id: str,
    *,
    bootstrap: str,
    access: KafkaAccess = LOCAL,
    netns: Mapping[str, str],
    throughput: tuple[ThroughputSlot, ...] = (),
    loaded: tuple[LoadedSpan, ...] = (),
) -> Part:
    """Return one probe; its slice is written anew, its spool and key stay."""
    files = probe_files(place, probe_id)
    files.folder.mkdir(parents=True, exist_ok=True)
    files.slice.write_bytes(slice_to_json(probe_slice(mesh, probe_id)))
    own = mesh.probe_by_id[probe_id].endpoints
    config = AgentConfig(
        probe_id=probe_id,
        slice_path=str(files.slice),
        key_path=str(files.key),
        spool_path=str(files.spool),
        kafka=kafka_config(bootstrap, access),
        netns={endpoint: netns[endpoint] for endpoint in own if endpoint in netns},
        throughput=tuple(slot for slot in throughput if slot.source in own),
        loaded=loaded,
    )
    return _part(place, f"probe-{files.folder.name}", config, words=("probe", "run"))


def _part(
    place: Place,
    name: str,
    config: msgspec.Struct,
    *,
    words: tuple[str, ...] = (),
    ready: Callable[[], bool] = lambda: True,
) -> Part:
    path = write_config(place.run / f"{name}.json", config)
    run = command(*(words or (name,)), "--config", str(path))
    return Part(name=name, command=run, log_path=place.logs / f"{name}.log", ready=ready)


def _answers(url: str) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own loopback address
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return ready
