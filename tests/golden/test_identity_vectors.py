"""Ids written once are looked up for ten years: these never change."""

import json
from pathlib import Path

from schemas.clock import ManualClock
from schemas.identity import new_spool_id, stream_id

VECTORS = json.loads((Path(__file__).parent / "identity.json").read_text(encoding="utf-8"))


def test_stream_ids_are_what_they_were_when_frozen() -> None:
    assert len(VECTORS["stream_id"]) >= 5
    for vector in VECTORS["stream_id"]:
        assert stream_id(*vector["parts"]) == vector["id"], vector


def test_the_example_of_rfc_9562_is_reproduced() -> None:
    example = VECTORS["uuid7"]
    clock = ManualClock(wall_ns=example["unix_ms"] * 1_000_000)
    random = (example["rand_a"] << 62 | int(example["rand_b"], 16)).to_bytes(10, "big")
    assert str(new_spool_id(clock, lambda _: random)) == example["uuid"]
