"""The engine and the reflector over the lab's wire: every fate, direction, copy and delay against the ledger's."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.lab import two_hosts
from support.probing import dice, drive, reflecting

from deploy.lab import truth
from deploy.lab.lab import Lab, running_lab
from deploy.lab.topology import Impairment
from probes.directions import lost_directions
from probes.engine.core import open_engine
from probes.engine.targets import StreamTarget
from probes.packets import Fate, Packets
from probes.reflector import ReflectorEndpoint
from schemas.clock import SystemClock

pytestmark = [pytest.mark.needs_net, pytest.mark.alone]

STAMP, ICMP = 1 << 62, (1 << 62) + 1
FAR = 1 << 62  # later than any due time


def probe(lab: Lab, seconds: float) -> dict[int, Packets]:
    """Probe from a to b with both methods at 100/s; return what settled of each stream, by token."""
    stream = StreamTarget(
        row=0, stream_id=1, token=STAMP, method="stamp", source=lab.address("a"), destination=lab.address("b"),
        netns=lab.namespace("a"), interval_ns=10_000_000, timeout_ns=300_000_000,
    )  # fmt: skip
    echo = msgspec.structs.replace(stream, row=1, stream_id=2, token=ICMP, method="icmp")
    endpoint = ReflectorEndpoint(address=lab.address("b"), netns=lab.namespace("b"))
    with (
        reflecting(endpoint, allow=(lab.address("a"),)),
        open_engine([stream, echo], clock=SystemClock(), random=dice(3)) as engine,
    ):
        drive(engine, seconds)
        settled = (engine.last_settled_index + 1).tolist()
        rows = {token: engine.stretch(row, 0, FAR)[0] for row, token in enumerate((STAMP, ICMP))}
    return {token: rows[token][:count] for token, count in zip(rows, settled, strict=True)}


def told(lab: Lab, token: int, count: int) -> truth.Table:
    """Return the ledger's rows of the first `count` packets of a stream."""
    table = truth.losses(lab.records())
    mine: truth.Table = table[(table["token"] == np.uint64(token)) & (table["index"] < count)]
    return mine


def test_losses_directions_and_copies_are_the_ledgers_packet_for_packet(tmp_path: Path) -> None:
    forward = Impairment(delay_us=3_000, loss_ratio=0.05, duplicate_ratio=0.03)
    backward = Impairment(delay_us=7_000, loss_ratio=0.08, duplicate_ratio=0.03)
    with running_lab(two_hosts(forward, backward), tmp_path / "run", deadline_s=15.0, seed=11) as lab:
        seen = probe(lab, 3.0)
        for token, packets in seen.items():
            ledger = told(lab, token, packets.size)
            lost = truth.lost(ledger)
            assert packets.size > 200
            assert packets["index"].tolist() == ledger["index"].tolist() == list(range(packets.size))
            assert packets["fate"].tolist() == np.where(lost, Fate.LOST, Fate.ANSWERED).tolist()
            assert packets["duplicates"][~lost].tolist() == (ledger["reply_copies"][~lost] - 1).tolist()
        ledger = told(lab, STAMP, seen[STAMP].size)
    answered = np.flatnonzero(seen[STAMP]["fate"] == Fate.ANSWERED)
    inner = slice(int(answered[0]), int(answered[-1]) + 1)  # a loss at an end has no answer on both sides
    assert lost_directions(seen[STAMP], inner.start, inner.stop) == (
        truth.lost_forward(ledger[inner]).sum(),
        truth.lost_backward(ledger[inner]).sum(),
    )
    assert truth.lost_backward(ledger).sum() > 0


def test_delays_are_the_ledgers_each_way(tmp_path: Path) -> None:
    topology = two_hosts(Impairment(delay_us=3_000), Impairment(delay_us=7_000))
    with running_lab(topology, tmp_path / "run", deadline_s=15.0) as lab:
        seen = probe(lab, 1.5)[STAMP]
        records = lab.records()
    records = records[records["token"] == np.uint64(STAMP)]
    for way, reply in (("forward_ns", False), ("backward_ns", True)):
        true_us = truth.path_delay_us(records, reply=reply)["delay_us"][: seen.size]
        error_us = seen[way][:-1] / 1_000 - true_us[: seen.size - 1]
        assert np.median(np.abs(error_us)) < 30, way
        assert np.percentile(np.abs(error_us), 90) < 150, way
