"""Spools for tests: records of a kind, a clock that stands, and what a file says of every seq."""

from collections.abc import Iterable
from pathlib import Path
from random import Random

from probes.spool import Spool
from probes.spool_group import Entry, Make
from probes.spool_reader import SpoolKey, SpoolReader
from schemas.clock import ManualClock

TOPIC = "isochrone.summary.v1"
HEALTH = "isochrone.health.v1"
HEADERS = [("isochrone-key", b"k1"), ("isochrone-signature", bytes(64))]
LANES = ("live", "backlog")


def manual_clock() -> ManualClock:
    """Return a clock at some day of 2027."""
    return ManualClock(wall_ns=1_800_000_000 * 10**9)


def saying(value: bytes) -> Make:
    """Return a `make` that says the same whatever the seq."""
    return lambda _: (value, HEADERS)


def noise(size: int, seed: int = 1) -> bytes:
    """Return bytes that no packing makes smaller."""
    return Random(seed).randbytes(size)  # noqa: S311 - a test wants the same bytes again


def text(size: int, seed: int = 1) -> bytes:
    """Return bytes that packing makes smaller, as JSON's are."""
    return noise(size // 2 + 1, seed).hex().encode()[:size]


def fill(spool: Spool, values: Iterable[bytes], topic: str = TOPIC) -> list[SpoolKey]:
    """Append a record a value in one group and return their keys."""
    seqs = spool.append_all([Entry(spool.spool_id, topic, saying(value)) for value in values])
    return [SpoolKey(spool.spool_id, topic, seq) for seq in seqs]


def pending(reader: SpoolReader) -> dict[SpoolKey, bytes]:
    """Return all that is to be sent."""
    rows = [*reader.pending(1 << 30, "live"), *reader.pending(1 << 30, "backlog")]
    return {row.key: row.value for row in rows}


def declared(spool: Spool) -> set[SpoolKey]:
    """Return what the states declare as dropped, seq by seq."""
    return {
        SpoolKey(state.spool_id, state.topic, seq)
        for state in spool.states()
        for lo, hi in state.dropped
        for seq in range(lo, hi + 1)
    }


def file_bytes(path: Path) -> int:
    """Return what a spool takes on the disk, its log included."""
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*") if part.name != f"{path.name}.lock")
