"""The loop of a probe: measure, sum up between the packets, hand over to the spool, say that we live.

One thread does all of it and never waits for a disk or a broker: the outbox and the publisher have their own. A run is
the time of one engine and one spool_id; a new slice of the mesh, or a wall clock that went back, begins a new run.
"""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import structlog

from probes.batch import BatchHeader, make_batch
from probes.config import AgentConfig
from probes.engine.adjtimex import read_clock
from probes.engine.core import Engine, open_engine
from probes.health import StealMeter, with_steal
from probes.keys import load_signer
from probes.outbox import Outbox, open_outbox
from probes.plan import is_loaded, targets_of
from probes.publish import Producer, Publisher, make_producer, open_publisher
from probes.slice_file import SliceFile
from probes.slots import Said, SlotKeeper
from probes.spool import Entry, Make, Spool, open_spool
from schemas.clock import Clock, floor_ms, wall_ms
from schemas.codec import encode
from schemas.envelope import Signer
from schemas.identity import new_spool_id
from schemas.mesh_slice import ProbeSlice, SliceStream
from schemas.records import ClockState, Heartbeat, ProbeCondition
from schemas.topics import HEALTH, SUMMARY

log = structlog.get_logger(__name__)

LOOK_NS: Final = 50_000_000  # how late a slot, a stop or a new slice may be noticed
_SPARE_NS: Final = 500_000  # work on a summary only while the next departure is farther away than one takes
_PATIENCE_NS: Final = 4_000_000
_CLOCK_BACK_NS: Final = 5_000_000_000  # a wall clock that went back by more would leave the streams waiting
_DRAIN_S: Final = 2.0
_FLUSH_S: Final = 1.0


class Agent:
    """What lives as long as the process; the runs use it."""

    def __init__(self, config: AgentConfig, *, signer: Signer, spool: Spool, outbox: Outbox, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.started_at_ms = wall_ms(clock)
        self._signer = signer
        self._spool = spool
        self._outbox = outbox
        self._steal = StealMeter()

    def check(self) -> None:
        """Raise UnavailableError when what is measured would not reach the disk any more."""
        self._outbox.check()

    def spool_record(self, spool_id: str, topic: str, record_of: Callable[[int], msgspec.Struct]) -> None:
        """Have a record written, signed, under the next seq of this run and topic."""
        self._outbox.put(Entry(spool_id, topic, self._made(topic, record_of)))

    def condition_of(self, engine: Engine | None) -> ProbeCondition:
        """Return how fit the probe and its host were since the last call."""
        condition = ProbeCondition() if engine is None else engine.take_condition()
        return with_steal(condition, self._steal.take_ppm())

    def heartbeat(self, slice_: ProbeSlice, spool_id: str, clock: ClockState, condition: ProbeCondition) -> None:
        """Spool a sign of life with the state of every run that the spool file knows."""
        sent_at_ms = wall_ms(self.clock)
        self.spool_record(
            spool_id,
            HEALTH.name,
            lambda seq: Heartbeat(
                mesh=slice_.mesh,
                mesh_version=slice_.mesh_version,
                probe_id=slice_.probe_id,
                spool_id=spool_id,
                seq=seq,
                sent_at_ms=sent_at_ms,
                started_at_ms=self.started_at_ms,
                clock=clock,
                condition=condition,
                spools=self._spool.states(),
            ),
        )

    def _made(self, topic: str, record_of: Callable[[int], msgspec.Struct]) -> Make:
        def make(seq: int) -> tuple[bytes, list[tuple[str, bytes]]]:
            value = encode(record_of(seq))  # type: ignore[arg-type]  # the callers give records
            return value, self._signer.sign(topic, value)

        return make


class Run:
    """One engine, one spool_id, one version of the mesh."""

    def __init__(self, agent: Agent, slice_: ProbeSlice, spool_id: str, engine: Engine) -> None:
        self._agent = agent
        self._slice = slice_
        self._spool_id = spool_id
        self._engine = engine
        self._clock = agent.clock
        self._condition = ProbeCondition()
        self._beat_ms = floor_ms(wall_ms(self._clock), slice_.schedule.slot_ms)
        self._looked_ns = -LOOK_NS
        self._stepped_ns = 0
        self._slots = SlotKeeper(
            engine,
            slice_.streams,
            slot_ms=slice_.schedule.slot_ms,
            clock=self._clock,
            emit=self._emit,
            loaded=self._is_loaded,
        )

    def turn(self) -> bool:
        """Measure, and use the time until the next departure; return whether it was a turn with a look around."""
        self._engine.tick()
        is_look = self._clock.mono_ns() - self._looked_ns >= LOOK_NS
        if is_look:
            self._looked_ns = self._clock.mono_ns()
            self._slots.look()
            self._beat()
        self._work_and_sleep()
        return is_look

    @property
    def is_clock_back(self) -> bool:
        """Return whether the wall clock went back so far that the engine would wait for it."""
        return self._wait_ns() > max(target.interval_ns for target in self._engine.targets) + _CLOCK_BACK_NS

    def finish(self) -> None:
        """Hand over what is settled, and a last heartbeat."""
        self._engine.tick()
        self._slots.look()
        self._slots.finish()
        self._agent.heartbeat(self._slice, self._spool_id, self._engine.clock_state, self._condition)

    def _wait_ns(self) -> int:
        return self._engine.next_due_ns() - self._clock.wall_ns()

    def _may_step(self) -> bool:
        """Return whether there is time for a piece of work; a little is done however busy the streams are."""
        return self._wait_ns() > _SPARE_NS or self._clock.mono_ns() - self._stepped_ns >= _PATIENCE_NS

    def _work_and_sleep(self) -> None:
        while self._may_step() and self._slots.step():
            self._stepped_ns = self._clock.mono_ns()
        sleep_ns = min(self._wait_ns(), self._agent.config.tick_ms * 1_000_000)
        if sleep_ns > 0:
            self._clock.sleep_s(sleep_ns / 1e9)

    def _beat(self) -> None:
        """Send a heartbeat at every start of a slot; the condition then is that of the slot just over."""
        now_ms = floor_ms(wall_ms(self._clock), self._slice.schedule.slot_ms)
        if now_ms == self._beat_ms:
            return
        self._beat_ms = now_ms
        self._condition = self._agent.condition_of(self._engine)
        self._agent.heartbeat(self._slice, self._spool_id, self._engine.clock_state, self._condition)

    def _emit(self, said: Said) -> None:
        header = BatchHeader(
            mesh=self._slice.mesh,
            mesh_version=self._slice.mesh_version,
            probe_id=self._slice.probe_id,
            slot_start_ms=said.slot.start_ms,
            slot_ms=self._slice.schedule.slot_ms,
            revision=said.revision,
            complete=said.complete,
            timeout_ms=max(stream.timeout_ms for stream in self._slice.streams),
            clock=self._engine.clock_state,
            condition=self._condition,
        )
        summaries, spool_id = said.summaries, self._spool_id
        self._agent.spool_record(
            spool_id, SUMMARY.name, lambda seq: make_batch(header, summaries, spool_id=spool_id, seq=seq)
        )

    def _is_loaded(self, stream: SliceStream, start_ms: int, end_ms: int) -> bool:
        return is_loaded(stream, self._agent.config.loaded, start_ms=start_ms, end_ms=end_ms)


def run_agent(
    config: AgentConfig,
    slice_: ProbeSlice,
    *,
    clock: Clock,
    random: Random,
    stop: threading.Event,
    connect: Callable[[], Producer] | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> None:
    """Measure until `stop` is set; then hand over what is settled and give the broker 2 s to take it.

    Args:
        config: This process.
        slice_: What it measures; the file is watched for a newer one.
        clock: Wall and monotonic time.
        random: Draws the phases of the streams.
        stop: Ends the agent within 5 s.
        connect: Makes the producer; kafka-python's by default.
        random_bytes: Source of the spool ids.

    Raises:
        ConfigError: The key or the slice cannot be used.
        UnavailableError: The spool is held by another agent, no socket can be opened, or a thread of ours has died.
    """
    signer = load_signer(Path(config.key_path))
    to_broker = connect or (lambda: make_producer(config.kafka, config.probe_id))
    path = Path(config.spool_path)
    with (
        open_spool(path, clock=clock, config=config.spool, random_bytes=random_bytes) as spool,
        open_outbox(spool, clock=clock) as outbox,
        open_publisher(config.probe_id, path, outbox, clock=clock, connect=to_broker) as publisher,
    ):
        agent = Agent(config, signer=signer, spool=spool, outbox=outbox, clock=clock)
        spool_ids = _spool_ids(spool.spool_id, clock, random_bytes)
        _runs(agent, slice_, spool_ids, random=random, stop=stop)
        _hand_over(outbox, publisher)


def _runs(agent: Agent, slice_: ProbeSlice, spool_ids: Iterator[str], *, random: Random, stop: threading.Event) -> None:
    """Run after run, until `stop`."""
    file = SliceFile(Path(agent.config.slice_path), agent.config.probe_id, agent.clock)
    while not stop.is_set():
        spool_id = next(spool_ids)
        log.info("run begins", probe_id=slice_.probe_id, mesh_version=slice_.mesh_version, spool_id=spool_id)
        if slice_.streams and not file.is_stale:
            slice_ = _measure(agent, slice_, spool_id, file, random=random, stop=stop)
        else:
            slice_ = _idle(agent, slice_, spool_id, file, stop=stop)


def _measure(
    agent: Agent, slice_: ProbeSlice, spool_id: str, file: SliceFile, *, random: Random, stop: threading.Event
) -> ProbeSlice:
    """Measure one run; return the slice of the next."""
    targets = targets_of(slice_, spool_id=spool_id, netns=agent.config.netns)
    slot_ms = slice_.schedule.slot_ms
    after: ProbeSlice | None = None
    with open_engine(targets, clock=agent.clock, random=random, slot_ns=slot_ms * 1_000_000) as engine:
        run = Run(agent, slice_, spool_id, engine)
        until_ms: int | None = None  # a new slice begins with a slot, so that no slot is in two runs
        while not stop.is_set() and (until_ms is None or wall_ms(agent.clock) < until_ms):
            if not run.turn():
                continue
            agent.check()
            newer = file.newer(after or slice_)
            after = newer or after
            if until_ms is None and (newer is not None or file.is_stale):
                until_ms = floor_ms(wall_ms(agent.clock), slot_ms) + slot_ms
            if run.is_clock_back:
                log.error("wall clock went back, a new run begins", probe_id=slice_.probe_id)
                break
        run.finish()
    return after or slice_


def _idle(agent: Agent, slice_: ProbeSlice, spool_id: str, file: SliceFile, *, stop: threading.Event) -> ProbeSlice:
    """Send heartbeats alone, while there is nothing to measure; return the slice of the next run."""
    log.warning("nothing to measure", probe_id=slice_.probe_id, streams=len(slice_.streams), stale=file.is_stale)
    beat_ms = -1
    while not stop.wait(LOOK_NS / 1e9):
        agent.check()
        now_ms = floor_ms(wall_ms(agent.clock), slice_.schedule.slot_ms)
        if now_ms != beat_ms:
            beat_ms = now_ms
            agent.heartbeat(slice_, spool_id, read_clock(), agent.condition_of(None))
        newer = file.newer(slice_)
        if newer is not None:
            return newer
    return slice_


def _hand_over(outbox: Outbox, publisher: Publisher) -> None:
    written = outbox.flush(_FLUSH_S)
    sent = written and publisher.drain(_DRAIN_S)
    log.info("agent ends", written=written, sent=sent, delivered=publisher.delivered)


def _spool_ids(first: str, clock: Clock, random_bytes: Callable[[int], bytes]) -> Iterator[str]:
    yield first
    while True:
        yield str(new_spool_id(clock, random_bytes))
