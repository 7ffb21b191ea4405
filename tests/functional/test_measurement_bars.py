"""What is planted on a link is what the summary says: the variation within 5 %, the loss runs exactly."""

from pathlib import Path

import numpy as np
import pytest
from support.lab import two_hosts
from support.probing import dice, drive, reflecting

from deploy.lab import truth
from deploy.lab.lab import Lab, running_lab
from deploy.lab.topology import GilbertElliott, Impairment
from probes.engine.core import open_engine
from probes.engine.targets import StreamTarget
from probes.packets import Packets
from probes.reflector import ReflectorEndpoint
from probes.summarise import StreamSummary, summarise_stream
from schemas.clock import SystemClock

pytestmark = [pytest.mark.needs_net, pytest.mark.alone]

TOKEN = 1 << 62
FAR = 1 << 62  # later than any due time
JITTER_US = 100


def measured(lab: Lab, seconds: float) -> Packets:
    """Probe from a to b at 200/s; return the packets that settled."""
    stream = StreamTarget(
        row=0, stream_id=1, token=TOKEN, method="stamp", source=lab.address("a"), destination=lab.address("b"),
        netns=lab.namespace("a"), interval_ns=5_000_000, timeout_ns=300_000_000,
    )  # fmt: skip
    endpoint = ReflectorEndpoint(address=lab.address("b"), netns=lab.namespace("b"))
    with (
        reflecting(endpoint, allow=(lab.address("a"),)),
        open_engine([stream], clock=SystemClock(), random=dice(5)) as engine,
    ):
        drive(engine, seconds)
        settled = int(engine.last_settled_index[0]) + 1
        return engine.stretch(0, 0, FAR)[0][:settled]


def summary_of(packets: Packets) -> StreamSummary:
    return summarise_stream(packets, 0, packets.size, stream_id=1, planned=packets.size, two_way=False)


def test_a_planted_jitter_of_100_us_on_a_30_ms_path_is_the_ipdv_within_5_percent(tmp_path: Path) -> None:
    jittery = Impairment(delay_us=15_000, jitter_us=JITTER_US, keep_order=False)
    with running_lab(two_hosts(jittery), tmp_path / "run", deadline_s=15.0, seed=3) as lab:
        packets = measured(lab, 3.5)
        records = lab.records()
    said = summary_of(packets)
    for delay, reply in ((said.forward, False), (said.backward, True)):
        planted = truth.path_delay_us(records, reply=reply)
        planted_us = np.abs(truth.ipdv_us(planted[planted["index"] < packets.size])["delay_us"])
        assert delay.ipdv_pairs > 600
        assert delay.ipdv_abs_sum_us / delay.ipdv_pairs == pytest.approx(planted_us.mean(), rel=0.05)
        assert planted_us.mean() == pytest.approx(2 * JITTER_US / np.sqrt(np.pi), rel=0.35)  # the wire's own lateness


def test_planted_bursts_are_the_loss_runs_run_for_run(tmp_path: Path) -> None:
    bursty = Impairment(delay_us=5_000, gilbert_elliott=GilbertElliott(p=0.02, r=0.25))
    with running_lab(two_hosts(bursty, Impairment(delay_us=5_000)), tmp_path / "run", deadline_s=15.0, seed=9) as lab:
        packets = measured(lab, 3.5)
        losses = truth.losses(lab.records())
    losses = losses[(losses["token"] == np.uint64(TOKEN)) & (losses["index"] < packets.size)]
    runs = truth.loss_runs(losses)
    said = summary_of(packets)
    assert said.loss_runs == runs.size > 5
    assert said.loss_run_max == runs["length"].max() > 2
    assert said.sent - said.received == truth.lost(losses).sum()
