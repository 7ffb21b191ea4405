"""One probe floods, the others go on: how much later are theirs readable?"""

import statistics
import threading
import uuid
from typing import Final

import msgspec
from chaos.probes import Probes
from chaos.run import apply_meshes, begin_at_the_end
from chaos.stage import CLOCK, SESSION_TIMEOUT_S, Stage, Workers
from support.stores import sql
from support.traffic import MINUTE_MS, SLOT_MS, Fleet, traffic

from schemas.clock import floor_ms, wall_ms
from schemas.records import SummaryBatch
from streams.store import StoreConfig
from streams.worker_config import WorkerConfig

PROBES: Final = 60
ROUNDS: Final = 15
PER_S: Final = 300  # messages of the flooder; the others send a round a second
POLL_S: Final = 0.05
STUCK_S: Final = 60.0


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from acknowledged to readable, of whole rounds of the others."""

    quiet_s: list[float]
    flooded_s: list[float]
    flood_messages: int

    @property
    def ratio(self) -> float:
        """Return how much longer a round takes in the flood, median against median."""
        return statistics.median(self.flooded_s) / statistics.median(self.quiet_s)


def flood(stage: Stage) -> Latency:
    """Measure rounds without the flood, then with it.

    Raises:
        TimeoutError: a round was not readable within a minute.
    """
    end_ms = floor_ms(wall_ms(CLOCK), MINUTE_MS)
    fleet = Fleet(probes=PROBES, peers=1, moves_at_ms=end_ms - 60 * MINUTE_MS)
    through, direct = stage.database()
    apply_meshes(direct, fleet)
    config = WorkerConfig(
        bootstrap=stage.bootstrap,
        group=f"flood-{uuid.uuid4().hex[:8]}",
        store=through,
        session_timeout_s=SESSION_TIMEOUT_S,
    )
    begin_at_the_end(config)
    probes = Probes(stage.bootstrap, fleet, stage.home / f"{config.group}.produced")
    workers = Workers(stage, config, "whole")
    try:
        others = _Others(direct, probes, fleet, end_ms)
        others.round()  # until the worker has joined
        quiet_s = [others.round() for _ in range(ROUNDS)]
        flooder = _Flooder(stage, fleet, end_ms)
        try:
            flooded_s = [others.round() for _ in range(ROUNDS)]
        finally:
            sent = flooder.stop()
    finally:
        workers.stop()
        probes.close()
    return Latency(quiet_s=quiet_s, flooded_s=flooded_s, flood_messages=sent)


class _Others:
    def __init__(self, config: StoreConfig, probes: Probes, fleet: Fleet, end_ms: int) -> None:
        self._config = config
        self._probes = probes
        self._drafts = _drafts(fleet, end_ms)[1:]
        self._slot_ms = end_ms
        self._seq = 1_000_000

    def round(self) -> float:
        """Send a batch of each probe but the flooder; return the seconds until all are readable."""
        begun_ns = CLOCK.mono_ns()
        self._seq += 1
        self._slot_ms -= SLOT_MS
        for draft in self._drafts:
            self._probes.send(msgspec.structs.replace(draft, seq=self._seq, slot_start_ms=self._slot_ms))
        self._probes.deliver()
        acknowledged_ns = CLOCK.mono_ns()
        with sql(self._config) as run:
            while run(f"SELECT count() FROM batch WHERE seq = {self._seq}")[0][0] < len(self._drafts):  # noqa: S608
                if CLOCK.mono_ns() - acknowledged_ns > STUCK_S * 1e9:
                    raise TimeoutError(f"waited {STUCK_S:g} s for a round of {len(self._drafts)} messages")
                CLOCK.sleep_s(POLL_S)
        took_s = (CLOCK.mono_ns() - acknowledged_ns) / 1e9
        CLOCK.sleep_s(max(0.0, 1.0 - (CLOCK.mono_ns() - begun_ns) / 1e9))
        return took_s


class _Flooder:
    def __init__(self, stage: Stage, fleet: Fleet, end_ms: int) -> None:
        self._probes = Probes(stage.bootstrap, fleet, stage.home / "flood.produced")
        self._draft = _drafts(fleet, end_ms)[0]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flood")
        self._thread.start()

    def stop(self) -> int:
        """Stop it; return how many messages it sent."""
        self._over.set()
        self._thread.join()
        self._probes.deliver()
        self._probes.close()
        return len(self._probes.sent)

    def _run(self) -> None:
        seq = 2_000_000
        while not self._over.wait(0.1):
            for _ in range(PER_S // 10):
                seq += 1
                slot_ms = self._draft.slot_start_ms - seq % 360 * SLOT_MS
                self._probes.send(msgspec.structs.replace(self._draft, seq=seq, slot_start_ms=slot_ms))


def _drafts(fleet: Fleet, end_ms: int) -> list[SummaryBatch]:
    """Return a batch of each probe."""
    found: dict[str, SummaryBatch] = {}
    for record in traffic(1, fleet, slots=3, end_ms=end_ms):
        if isinstance(record, SummaryBatch) and record.slot_start_ms > end_ms - MINUTE_MS:
            found.setdefault(record.probe_id, record)
    return [found[name] for name in sorted(found)]
