"""The loop of a probe: measure, sum up between the packets, hand over to the spool, say that we live.

One thread does all of it and never waits for a disk or a broker: the outbox and the publisher have their own. A run is
the time of one engine and one spool_id; a new slice of the mesh, or a wall clock that went back, begins a new run.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import structlog

from probes.config import AgentConfig, ThroughputSlot
from probes.engine.adjtimex import read_clock
from probes.engine.core import open_engine
from probes.health import StealMeter, with_steal
from probes.keys import load_signer
from probes.outbox import Outbox, open_outbox
from probes.plan import LoadedSpan, is_loaded, targets_of
from probes.publish import Producer, make_producer
from probes.publisher import Publisher, open_publisher
from probes.reporter import Reporter
from probes.run import LOOK_NS, Run
from probes.slice_file import SliceFile
from probes.spool import Spool, open_spool
from probes.throughput import TestResult, Tests
from schemas.clock import Clock, floor_ms, wall_ms
from schemas.envelope import Signer
from schemas.identity import new_spool_id
from schemas.mesh_slice import ProbeSlice, SliceStream
from schemas.records import ProbeCondition

log = structlog.get_logger(__name__)

_DRAIN_S = 2.0
_FLUSH_S = 1.0


class Agent:
    """What outlives a run: the signer, the spool, the tests, the watched slice."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        signer: Signer,
        spool: Spool,
        outbox: Outbox,
        clock: Clock,
        random: Random,
        stop: threading.Event,
    ) -> None:
        self._config = config
        self._signer = signer
        self._spool = spool
        self._outbox = outbox
        self._clock = clock
        self._random = random
        self._stop = stop
        self._steal = StealMeter()
        self._loaded = (*config.loaded, *map(_loaded_by, config.throughput))
        self._tests = Tests(config.throughput, netns=config.netns, clock=clock, report=self._report_test)
        self._file = SliceFile(Path(config.slice_path), config.probe_id, clock)
        self._reporter: Reporter | None = None

    def run(self, slice_: ProbeSlice, random_bytes: Callable[[int], bytes]) -> None:
        """Run after run until the stop, each on the newest slice and under a spool_id of its own."""
        spool_id = self._spool.spool_id
        while not self._stop.is_set():
            log.info("run begins", probe_id=slice_.probe_id, mesh_version=slice_.mesh_version, spool_id=spool_id)
            slice_ = self._run_once(slice_, spool_id)
            spool_id = str(new_spool_id(self._clock, random_bytes))
        self._tests.stop()

    def _run_once(self, slice_: ProbeSlice, spool_id: str) -> ProbeSlice:
        """Return the slice of the next run."""
        reporter = self._reporter = Reporter(
            slice_, spool_id, signer=self._signer, spool=self._spool, outbox=self._outbox, clock=self._clock
        )
        if slice_.streams and not self._file.is_stale:
            return self._measure(reporter, spool_id)
        return self._idle(reporter)

    def _measure(self, reporter: Reporter, spool_id: str) -> ProbeSlice:
        targets = targets_of(reporter.slice, spool_id=spool_id, netns=self._config.netns)
        slot_ns = reporter.slice.schedule.slot_ms * 1_000_000
        with open_engine(targets, clock=self._clock, random=self._random, slot_ns=slot_ns) as engine:
            run = Run(
                engine,
                reporter,
                clock=self._clock,
                steal=self._steal,
                tick_ms=self._config.tick_ms,
                loaded=self._is_loaded,
            )
            after = self._turns(run, reporter.slice)
            run.finish()
        return after

    def _turns(self, run: Run, slice_: ProbeSlice) -> ProbeSlice:
        """Measure until the stop, the end of the last slot of this slice, or a wall clock that went back."""
        after, until_ms = slice_, None
        while not self._stop.is_set() and (until_ms is None or wall_ms(self._clock) < until_ms):
            if not run.turn():
                continue
            self._look()
            newer = self._file.newer(after)
            after = newer or after
            if until_ms is None and (newer is not None or self._file.is_stale):
                slot_ms = slice_.schedule.slot_ms
                until_ms = floor_ms(wall_ms(self._clock), slot_ms) + slot_ms  # no slot is in two runs
                run.end_at(until_ms)
            if run.is_clock_back:
                log.error("wall clock went back, a new run begins", probe_id=slice_.probe_id)
                break
        return after

    def _idle(self, reporter: Reporter) -> ProbeSlice:
        """Send heartbeats alone, while there is nothing to measure."""
        slice_, beat_ms = reporter.slice, -1
        log.warning("nothing to measure", probe_id=slice_.probe_id, streams=len(slice_.streams))
        while not self._stop.wait(LOOK_NS / 1e9):
            self._look()
            now_ms = floor_ms(wall_ms(self._clock), slice_.schedule.slot_ms)
            if now_ms != beat_ms:
                beat_ms = now_ms
                reporter.heartbeat(read_clock(), with_steal(ProbeCondition(), self._steal.take_ppm()))
            newer = self._file.newer(slice_)
            if newer is not None:
                return newer
        return slice_

    def _look(self) -> None:
        self._outbox.check()
        self._tests.look()

    def _is_loaded(self, stream: SliceStream, start_ms: int, end_ms: int) -> bool:
        return is_loaded(stream, self._loaded, start_ms=start_ms, end_ms=end_ms)

    def _report_test(self, slot: ThroughputSlot, result: TestResult) -> None:
        if self._reporter is not None:
            self._reporter.test(slot, result)


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
        ConfigError: The key cannot be used, or the slice contradicts itself.
        UnavailableError: The spool is held by another agent, no socket can be opened, or a thread of ours has died.
    """
    signer = load_signer(Path(config.key_path))
    to_broker = connect or (lambda: make_producer(config.kafka, config.probe_id))
    path = Path(config.spool_path)
    jitter = Random(random.getrandbits(64))  # noqa: S311 - its own, so that no other thread takes the phases' numbers
    with (
        open_spool(path, clock=clock, config=config.spool, random_bytes=random_bytes) as spool,
        open_outbox(spool, clock=clock) as outbox,
        open_publisher(
            config.probe_id,
            path,
            outbox,
            clock=clock,
            random=jitter,
            connect=to_broker,
            backlog=config.backlog,
            answer_s=1.5 * config.kafka.delivery_timeout_ms / 1000,
        ) as publisher,
    ):
        agent = Agent(config, signer=signer, spool=spool, outbox=outbox, clock=clock, random=random, stop=stop)
        agent.run(slice_, random_bytes)
        _hand_over(outbox, publisher)


def _hand_over(outbox: Outbox, publisher: Publisher) -> None:
    written = outbox.flush(_FLUSH_S)
    sent = written and publisher.drain(_DRAIN_S)
    log.info("agent ends", written=written, sent=sent, delivered=publisher.delivered)


def _loaded_by(test: ThroughputSlot) -> LoadedSpan:
    until_ms = test.start_ms + test.duration_ms
    return LoadedSpan(from_ms=test.start_ms, until_ms=until_ms, endpoints=(test.source, test.destination))
