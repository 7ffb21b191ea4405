"""Every example of every version ever sent is read, verified and stored as it always was. Examples are only added."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import msgspec
import pytest
from support import wire_messages as wire

from schemas.codec import decode, encode
from schemas.envelope import Signer
from schemas.records import Heartbeat, SummaryBatch, ThroughputResult
from schemas.topics import HEALTH, SUMMARY, THROUGHPUT
from streams.columns import lists
from streams.membership import MemberKey, Membership, make_plan
from streams.rows import health_row, summary_columns, throughput_row
from streams.verify import Verdict, VerifiedHeartbeat, VerifiedSummary, VerifiedThroughput, verify

WIRE = Path(str(resources.files("schemas"))) / "wire"
EXAMPLES = sorted(WIRE.glob("v*/*.json"))
KINDS: dict[str, tuple[Callable[[bytes], bytes], str, type]] = {
    "summary": (lambda value: encode(decode(value, SummaryBatch)), SUMMARY.name, VerifiedSummary),
    "heartbeat": (lambda value: encode(decode(value, Heartbeat)), HEALTH.name, VerifiedHeartbeat),
    "throughput": (lambda value: encode(decode(value, ThroughputResult)), THROUGHPUT.name, VerifiedThroughput),
}
PROBE, NOW_MS = "demo/telecom-north", 1_760_000_060_000
SIGNER = Signer("north-1", b"\x07" * 32)


def verified(path: Path) -> Verdict:
    value = path.read_bytes()
    _, topic, _ = KINDS[path.stem.split("_")[0]]
    streams = msgspec.json.decode(value).get("stream_id", [])
    plan = make_plan(
        mesh="demo",
        version="v",
        valid_from_ms=0,
        keys=[MemberKey(probe_id=PROBE, key_id=SIGNER.key_id, public=SIGNER.public)],
        probe_of_stream=dict.fromkeys(streams, PROBE),
        probe_of_endpoint={"dcp-beijing/telecom": PROBE},
    )
    return verify(wire.signed(value, topic, PROBE, SIGNER, received_ms=NOW_MS), Membership([plan]), now_ms=NOW_MS)


def named(stem: str) -> Verdict:
    return verified(WIRE / "v1" / f"{stem}.json")


def test_there_is_an_example_of_every_record() -> None:
    assert {path.stem.split("_")[0] for path in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_example_is_read_verified_and_says_the_same_when_written_again(path: Path) -> None:
    again, _, taken = KINDS[path.stem.split("_")[0]]
    assert isinstance(verified(path), taken)
    written = msgspec.json.decode(again(path.read_bytes()))
    assert written | msgspec.json.decode(path.read_bytes()) == written


def test_the_complete_summary_means_what_it_meant() -> None:
    verdict = named("summary_complete")
    assert isinstance(verdict, VerifiedSummary)
    block = lists(summary_columns([verdict]))
    assert block["stream_id"] == [4719744756515591, 5914962472603837, 3263553108285293]
    assert (block["slot"], block["seq"], block["revision"]) == ([1_760_000_040] * 3, [41] * 3, [2] * 3)
    assert (block["sent"], block["received"], block["lost_unresolved"]) == ([100, 99, 10], [97, 0, 10], [0, 99, 0])
    assert block["loaded"] == [0, 0, 1]
    assert [sum(counts) for counts in block["forward_count"]] == [97, 0, 0]
    assert (block["forward_bin"][0][0], block["forward_bin"][0][-1]) == (428, 429)


def test_the_heartbeat_means_what_it_meant() -> None:
    verdict = named("heartbeat")
    assert isinstance(verdict, VerifiedHeartbeat)
    row = health_row(verdict)
    assert row[:5] == (PROBE, "01890a5d-ac96-774b-bcce-b302099a8057", 12, 1_760_000_051, 1_760_000_051_234)
    assert row[-3:-1] == ([12, 100], [80, 100])


def test_the_throughput_result_means_what_it_meant() -> None:
    verdict = named("throughput")
    assert isinstance(verdict, VerifiedThroughput)
    assert throughput_row(verdict)[3:6] == ("t-20251009-0001", 1_760_000_040, 1_760_000_040_000)
