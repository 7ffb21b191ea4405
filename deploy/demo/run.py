"""The demonstration: a living system, a cut link, a dead probe, a throughput test, and then the proof."""

import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog

from deploy.demo.kills import kill_each
from deploy.demo.memory import PeakMemory
from deploy.demo.result import DemoResult
from deploy.demo.scenario import GREEN_DEADLINE_S, Scenario, load_of, planted, streams_over
from deploy.demo.truth import Comparison, compare
from deploy.demo.waits import Waiter
from deploy.demo.watch import Watch
from deploy.demo.webhook import open_receiver
from deploy.hold import announce, mesh_lab
from deploy.lab.lab import Lab
from deploy.parts import command
from deploy.place import Place
from deploy.ports import free_port, port_is_free
from deploy.settings import AlertSettings, ClickHouseSettings, KafkaSettings, PageSettings, Settings
from deploy.stack import Stack, running_stack
from schemas.clock import Clock, wall_ms
from schemas.errors import UnavailableError
from schemas.mesh import Mesh
from streams.reconcile import Reconciliation, reconcile
from streams.store import open_store

log = structlog.get_logger(__name__)

NOTICE_DEADLINE_S: Final = 45.0
GREY_DEADLINE_S: Final = 60.0
RETURN_DEADLINE_S: Final = 60.0
SETTLE_DEADLINE_S: Final = 30.0
REPORT_DEADLINE_S: Final = 90.0
PAGE_PORT: Final = 8642

Say = Callable[[str], None]


class Out(msgspec.Struct, frozen=True, kw_only=True):
    """Where the demo leaves what it made."""

    folder: Path

    @property
    def page(self) -> Path:
        """The posture page as it stood near the end."""
        return self.folder / "page.html"

    @property
    def report(self) -> Path:
        """The report that is named in demo.json."""
        return self.folder / "report.pdf"


class Measured(msgspec.Struct, kw_only=True):
    """What the script found on its way; None until it did."""

    cut_to_webhook_s: float | None = None
    heal_to_resolve_s: float | None = None
    cause_named: bool = False
    grey_streams: int = 0
    throughput_mbps: float | None = None
    killed: list[str] = []


def demo_settings(webhook: str, page_port: int) -> Settings:
    """Return the settings of a stack that gets in nobody's way: free ports, the demo's policy, one webhook."""
    return Settings(
        kafka=KafkaSettings(port=free_port(), controller_port=free_port()),
        clickhouse=ClickHouseSettings(port=free_port()),
        page=PageSettings(port=page_port),
        alerts=AlertSettings(webhook=webhook, policy="demo"),
    )


def run_demo(
    scenario: Scenario, mesh: Mesh, place: Place, out: Out, *, kills: bool, clock: Clock, say: Say
) -> DemoResult:
    """Run the script and return what was measured; files are in `out`.

    Raises:
        UnavailableError: a part did not start, or something that must happen did not by its deadline.
    """
    began_ns, began_s = clock.mono_ns(), wall_ms(clock) // 1000
    with ExitStack() as stack:
        receiver = stack.enter_context(open_receiver(clock))
        say("building the lab")
        lab, netns = stack.enter_context(mesh_lab(mesh, place, clock, planted(scenario)))
        page_port = PAGE_PORT if port_is_free(PAGE_PORT) else free_port()
        settings, load = demo_settings(receiver.url, page_port), load_of(scenario, mesh, clock)
        running = stack.enter_context(
            running_stack(settings, mesh, place, clock=clock, netns=netns, load=load, say=say)
        )
        announce(running, say)
        memory = stack.enter_context(PeakMemory(lambda: (*running.pids(), lab.wire_pid)))
        store = stack.enter_context(open_store(running.address.reader))
        watch = Watch(store, mesh.id, receiver, clock)
        script = _Script(scenario, running, lab, watch, Waiter(clock, running.check), clock, say)
        found = script.play(began_s, kills=kills)
        _save_page(running.address.page_url, out.page)
        say("ending the probes: they hand over what they have")
        running.stop_edge()
        proof = script.settle(began_s)
        truth = compare(watch.slots(began_s), lab.records())
        say("building the report")
        recomputed = _report(place, out, began_s, wall_ms(clock) // 1000)
        said = {
            **watch.sent(began_s),
            **_proof(proof),
            **_truth(truth),
            **msgspec.structs.asdict(found),
            "network_alarms": len(watch.alarms("network")),
            "probe_alarms": len(watch.alarms("infrastructure")),
            "grey_streams_wanted": script.killed_streams,
            "throughput_set_mbps": scenario.test_bps / 1e6,
            "memory_mib": round(memory.peak_bytes / 2**20, 1),
            "restarts": {name: count for name, count in running.restarts().items() if count > 0},
            "seconds": round((clock.mono_ns() - began_ns) / 1e9, 1),
            "page_url": running.address.page_url,
            "page_html": str(out.page),
            "report_pdf": str(out.report),
            "report_recomputed": recomputed,
        }
        return msgspec.convert(said, DemoResult)


class _Script:
    """The events in their order; each waits for its moment and for what it must bring about."""

    def __init__(
        self, scenario: Scenario, running: Stack, lab: Lab, watch: Watch, waiter: Waiter, clock: Clock, say: Say
    ) -> None:
        self._scenario = scenario
        self._running = running
        self._lab = lab
        self._watch = watch
        self._waiter = waiter
        self._clock = clock
        self._say = say
        self._zero_ns = clock.mono_ns()
        self._found = Measured()
        self._killed_part = f"probe-{scenario.killed_probe.split('/')[1]}"
        self.killed_streams = sum(each.probe_id == scenario.killed_probe for each in running.mesh.streams)

    def play(self, began_s: int, *, kills: bool) -> Measured:
        """Play all of it and return what was found."""
        took_s = self._waiter.until("all cells to turn green", self._watch.all_ok, deadline_s=GREEN_DEADLINE_S)
        self._say(f"all {len(self._running.mesh.streams)} streams are ok after {took_s:.0f} s")
        self._cut()
        self._heal()
        self._kill_probe()
        self._throughput(began_s)
        self._at(1.0)
        self._running.supervisor_of(self._killed_part).release(self._killed_part)
        if kills:
            self._found.killed = kill_each(self._running, self._watch, self._waiter, self._say)
        self._await_revived()
        return self._found

    def settle(self, began_s: int) -> Reconciliation:
        """Wait until every batch that was produced has its fate, and return the account."""
        address = self._running.address
        last: list[Reconciliation] = []

        def settled() -> bool:
            with open_store(address.reader) as store:
                last[:] = [reconcile(store, since_ms=began_s * 1000, until_ms=wall_ms(self._clock))]
            return last[0].batches.pending == 0 and last[0].residual == 0

        try:
            self._waiter.until("every batch to have its fate", settled, deadline_s=SETTLE_DEADLINE_S)
        except UnavailableError as err:
            log.warning("not settled", error=str(err))  # the account itself says what is missing
        return last[0]

    def _at(self, share: float) -> None:
        self._waiter.sleep_until(self._zero_ns + round(share * self._scenario.seconds * 1e9))

    def _cut(self) -> None:
        segment = self._scenario.cut_segment
        self._at(self._scenario.cut_at)
        cut_ns = self._clock.mono_ns()
        self._lab.wire.cut(segment)
        self._say(f"cut {segment}: {len(streams_over(self._running.mesh, segment))} streams cross it")
        self._wait_notice("network", "open", cut_ns, f"an alarm for {segment}")
        notice = self._watch.first("network", "open", after_ns=cut_ns)
        if notice is None:
            return
        self._found.cut_to_webhook_s = round((notice.at_ns - cut_ns) / 1e9, 2)
        self._found.cause_named = notice.body["cause"] == segment
        self._say(
            f"alarm after {self._found.cut_to_webhook_s:.1f} s\n  {notice.body['text_zh']}\n  {notice.body['text_en']}"
        )

    def _heal(self) -> None:
        self._at(self._scenario.heal_at)
        heal_ns = self._clock.mono_ns()
        self._lab.wire.heal(self._scenario.cut_segment)
        self._say(f"healed {self._scenario.cut_segment}")
        if self._found.cut_to_webhook_s is None:
            return
        self._wait_notice("network", "resolved", heal_ns, "the alarm to resolve")
        notice = self._watch.first("network", "resolved", after_ns=heal_ns)
        if notice is not None:
            self._found.heal_to_resolve_s = round((notice.at_ns - heal_ns) / 1e9, 2)
            self._say(f"resolved after {self._found.heal_to_resolve_s:.1f} s")

    def _kill_probe(self) -> None:
        probe = self._scenario.killed_probe
        self._at(self._scenario.kill_at)
        self._say(f"kill -9 probe {probe}")
        self._running.supervisor_of(self._killed_part).hold(self._killed_part)
        self._try("its cells to turn grey", lambda: self._watch.grey(probe) == self.killed_streams, GREY_DEADLINE_S)
        self._found.grey_streams = self._watch.grey(probe)
        self._say(f"{self._found.grey_streams} of its {self.killed_streams} streams are unknown: probe_dead")
        self._wait_notice("infrastructure", "open", 0, "an infrastructure alarm for the dead probe")

    def _throughput(self, began_s: int) -> None:
        self._try("the throughput test", lambda: self._watch.throughput(began_s) is not None, NOTICE_DEADLINE_S)
        self._found.throughput_mbps = self._watch.throughput(began_s)
        self._say(f"throughput {self._found.throughput_mbps or 0:.3f} of {self._scenario.test_bps / 1e6:g} Mbit/s")

    def _await_revived(self) -> None:
        """Wait for the killed probe, started again: what its spool still held is then told, and nothing stays open."""
        probe = self._scenario.killed_probe
        self._try("the killed probe to be heard again", lambda: self._watch.known(probe), RETURN_DEADLINE_S)

    def _wait_notice(self, category: str, state: str, after_ns: int, what: str) -> None:
        self._try(what, lambda: self._watch.first(category, state, after_ns=after_ns) is not None, NOTICE_DEADLINE_S)

    def _try(self, what: str, found: Callable[[], bool], deadline_s: float) -> None:
        """Wait; a bar that then does not hold is the result's to say, so the script goes on."""
        try:
            self._waiter.until(what, found, deadline_s=deadline_s)
        except UnavailableError as err:
            self._running.check()
            self._say(str(err))


def _proof(proof: Reconciliation) -> dict[str, int]:
    batches = proof.batches
    return {
        "summaries_produced": batches.produced,
        "summaries_stored": batches.stored,
        "summaries_quarantined": batches.quarantined,
        "summaries_dropped": batches.dropped,
        "residual": proof.residual,
    }


def _truth(truth: Comparison) -> dict[str, object]:
    return {
        "loss_equals_ledger": truth.mismatches == [],
        "packets_compared": truth.packets,
        "packets_lost": truth.lost,
        "mismatches": [
            f"stream {each.stream_id} spool {each.spool_id} {each.what}: stored {each.stored}, ledger {each.ledger}"
            for each in truth.mismatches[:50]
        ],
        "delay_error_us_p50": truth.delay_error_us_p50,
        "delay_error_us_p99": truth.delay_error_us_p99,
    }


def _save_page(url: str, path: Path) -> None:
    """Keep the page as a file: the look a reader of demo.json can open later."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(url, timeout=10) as answer:
        path.write_bytes(answer.read())


def _report(place: Place, out: Out, from_s: int, until_s: int) -> bool:
    """Build the report of all whole minutes that the demo touched, and return whether its numbers are had again."""
    period = ("--from", _minute(from_s), "--until", _minute(until_s + 59))
    built = _ask(place, "build", "--out", str(out.folder), *period)
    if built.returncode != 0:
        raise UnavailableError(f"the report was not built: {built.stderr.strip()[-500:]}")
    out.report.write_bytes((out.folder / "report.zh.pdf").read_bytes())
    return _ask(place, "verify", str(out.folder / "report.json")).returncode == 0


def _ask(place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the very command that an assessor runs."""
    line = command("report", *words, "--state", str(place.root))
    return subprocess.run(line, capture_output=True, text=True, timeout=REPORT_DEADLINE_S, check=False)


def _minute(at_s: int) -> str:
    return datetime.fromtimestamp(at_s - at_s % 60, UTC).isoformat()
