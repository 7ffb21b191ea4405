"""How long the disk of a probe lasts: bytes of real batches, told from a stretch of them."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from benchmarks.national import SLOT_MS, National
from support.spools import HEADERS, HEALTH, TOPIC, manual_clock, pending, saying

from probes.seqless import pack_seqless
from probes.spool import SpoolConfig, open_spool
from probes.spool_file import used_bytes
from probes.spool_group import Entry
from probes.spool_reader import open_reader
from schemas.codec import encode
from schemas.records import SummaryBatch

SLOTS = 60
HOURS = 72


@pytest.fixture(scope="module")
def mesh() -> National:
    return National(1, distinct=12)


@pytest.fixture(scope="module")
def largest(mesh: National) -> str:
    return max(mesh.probes, key=lambda probe_id: mesh.message(probe_id, 0, 0).streams)


def batches(mesh: National, probe_id: str) -> Iterator[bytes]:
    for seq in range(SLOTS):
        yield mesh.message(probe_id, 1_800_000_000_000 + seq * SLOT_MS, seq).value


def test_f17_two_gibibytes_keep_72_hours_of_the_largest_probe_of_the_national_mesh(
    tmp_path: Path, mesh: National, largest: str
) -> None:
    clock = manual_clock()
    values = list(batches(mesh, largest))
    with open_spool(tmp_path / "s.db", clock=clock) as spool, open_reader(spool.path, clock=clock) as reader:
        begun = used_bytes(spool.store.connection())
        for value in values:
            beat = Entry(spool.spool_id, HEALTH, saying(value[:700]))
            spool.append_all([Entry(spool.spool_id, TOPIC, saying(value)), beat])
        slot_bytes = (used_bytes(spool.store.connection()) - begun) / SLOTS
        kept = [value for key, value in sorted(pending(reader).items()) if key.topic == TOPIC]
        (row,) = reader.rows(spool.spool_id, TOPIC, 5, 5)
    slots_of_72_h = HOURS * 3_600_000 // SLOT_MS
    assert slots_of_72_h * slot_bytes < SpoolConfig().max_bytes / 2, "half: the other half is for early revisions"
    assert kept == values, "what is published is what was signed, byte for byte"
    assert row.headers == HEADERS


def test_a_record_packed_before_its_seq_is_known_is_the_same_bytes(mesh: National, largest: str) -> None:
    def record_of(seq: int) -> SummaryBatch:
        return msgspec.structs.replace(mesh.batch(largest, 0, 3), seq=seq, mesh_version='a "seq":0, b')

    value_of = pack_seqless(record_of)
    for seq in (0, 1, 7, 1 << 40):
        assert value_of(seq) == encode(record_of(seq))
