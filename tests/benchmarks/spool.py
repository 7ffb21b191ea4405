"""The spool of one probe: records a second, how soon a record is safe, how long the disk lasts, how soon it is back."""

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from benchmarks.harness import ROOT, Bench, medians, percentile
from benchmarks.national import SLOT_MS, National

from probes.outbox import GROUP, open_outbox
from probes.spool import Spool, SpoolConfig, open_spool
from probes.spool_file import used_bytes
from probes.spool_group import Entry
from probes.spool_reader import SpoolKey, open_reader
from schemas.clock import SystemClock, wall_ms
from schemas.topics import HEALTH, SUMMARY

HEADERS: Final = [("isochrone-key", b"0123abcd"), ("isochrone-signature", bytes(range(64)))]
SMALL_BYTES: Final = 200
SMALL: Final = 50_000  # records of a run
BATCHES: Final = 600
SLOTS: Final = 1_080  # three hours
PUTS: Final = 300
KILLS: Final = 5
ENDURANCE_H: Final = 72
SLOTS_PER_H: Final = 3_600_000 // SLOT_MS
DRILL: Final = """
import sys
from pathlib import Path
from probes.spool import open_spool
from probes.spool_group import Entry
from schemas.clock import SystemClock
with open_spool(Path(sys.argv[1]), clock=SystemClock()) as spool:
    while True:
        seqs = spool.append_all([Entry(spool.spool_id, "t", lambda seq: (b"%d" % seq * 50, []))] * 25)
        print(spool.spool_id, seqs[-1], flush=True)
"""


@contextmanager
def fresh_spool() -> Iterator[Spool]:
    """Yield a new spool on the disk of this checkout: a file system in memory would sync for nothing."""
    folder = ROOT / "bench"
    folder.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix="spool-") as name,
        open_spool(Path(name) / "spool.sqlite", clock=SystemClock()) as spool,
    ):
        yield spool


def saying(value: bytes) -> Callable[[int], tuple[bytes, list[tuple[str, bytes]]]]:
    """Return a `make` that says the same whatever the seq."""
    return lambda _: (value, HEADERS)


def largest_probe() -> Iterator[bytes]:
    """Yield batches of the probe of the national mesh that has the most streams, slot by slot."""
    mesh = National(1, distinct=60)
    probe = max(mesh.probes, key=lambda probe_id: mesh.message(probe_id, 0, 0).streams)
    seq = 0
    while True:
        yield mesh.message(probe, wall_ms(SystemClock()), seq).value
        seq += 1


def rate(bench: Bench) -> None:
    """Records a second in groups of 100, as the outbox writes them; each group synced to the disk."""
    values = list(islice(largest_probe(), 60))

    def write(count: int, value_of: Callable[[int], bytes]) -> float:
        with fresh_spool() as spool:
            begun_ns = bench.clock.mono_ns()
            for at in range(0, count, GROUP):
                group = range(at, at + GROUP)
                spool.append_all(Entry(spool.spool_id, SUMMARY.name, saying(value_of(each))) for each in group)
            return count / ((bench.clock.mono_ns() - begun_ns) / 1e9)

    def outbox() -> float:
        written = threading.Event()
        with fresh_spool() as spool, open_outbox(spool, clock=bench.clock) as box:
            box.on_written(lambda: written.set() if box.written >= SMALL else None)
            begun_ns = bench.clock.mono_ns()
            for _ in range(SMALL):
                box.put(Entry(spool.spool_id, SUMMARY.name, saying(bytes(SMALL_BYTES))))
            written.wait(60.0)
            return box.written / ((bench.clock.mono_ns() - begun_ns) / 1e9)

    runs = {
        "small": lambda: write(SMALL, lambda _: bytes(SMALL_BYTES)),
        "outbox": outbox,
        "batch": lambda: write(BATCHES, lambda at: values[at % len(values)]),
    }
    found = medians(runs)
    bench.at_least(f"records of {SMALL_BYTES} B, in groups of {GROUP}", found["small"], "records/s", 50_000)
    bench.beside("the same, handed over one by one to the outbox", found["outbox"], "records/s")
    size = sum(map(len, values)) / len(values)
    bench.beside(f"batches of {size / 1000:.0f} kB of a cluster's probe, packed", found["batch"], "records/s")


def safe(bench: Bench) -> None:
    """How soon a record that was handed over survives a power cut, one at a time; and what kill -9 costs."""
    values = list(islice(largest_probe(), 30))
    waits_ms: list[float] = []
    with fresh_spool() as spool, open_outbox(spool, clock=bench.clock) as outbox:
        box_written = threading.Event()
        outbox.on_written(box_written.set)
        for number in range(PUTS):
            box_written.clear()
            begun_ns = bench.clock.mono_ns()
            outbox.put(Entry(spool.spool_id, SUMMARY.name, saying(values[number % len(values)])))
            box_written.wait(10.0)
            waits_ms.append((bench.clock.mono_ns() - begun_ns) / 1e6)
    bench.beside("handed over to synced, p50", percentile(waits_ms, 0.5), "ms")
    bench.at_most("handed over to synced, p99: lost at a power cut", percentile(waits_ms, 0.99), "ms", 200)
    bench.equal(f"records called written that {KILLS} kills -9 lost", sum(killed() for _ in range(KILLS)), "records", 0)


def killed() -> int:
    """Return how many records that a writer had called written are gone after kill -9."""
    with tempfile.TemporaryDirectory(dir=ROOT / "bench", prefix="spool-") as name:
        path = Path(name) / "spool.sqlite"
        with subprocess.Popen(
            [sys.executable, "-c", DRILL, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as writer:
            assert writer.stdout is not None
            lines = list(islice(writer.stdout, 40))
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.read().splitlines()
        spool_id, last = next(line.split() for line in reversed(lines) if len(line.split()) == 2)
        with open_spool(path, clock=SystemClock()), open_reader(path, clock=SystemClock()) as reader:
            kept = {row.key.seq for row in reader.rows(spool_id, "t", 0, 1 << 60)}
        return len(set(range(int(last) + 1)) - kept)


def endurance(bench: Bench) -> None:
    """How long 2 GiB last without a broker, from what three hours of the largest probe take; and the way back."""
    with fresh_spool() as spool:
        begun = used_bytes(spool.store.connection())
        batches = largest_probe()
        for _ in range(0, SLOTS, 20):
            for value in islice(batches, 20):
                beat = Entry(spool.spool_id, HEALTH.name, saying(value[:700]))
                spool.append_all([Entry(spool.spool_id, SUMMARY.name, saying(value)), beat])
        slot_bytes = (used_bytes(spool.store.connection()) - begun) / SLOTS
        hours = SpoolConfig().max_bytes / slot_bytes / SLOTS_PER_H
        bench.beside("on the disk, a slot with its heartbeat", slot_bytes / 1000, "kB")
        bench.at_least("2 GiB last the largest probe of the national mesh", hours, "h", ENDURANCE_H)
        bench.beside(f"check of {SLOTS / SLOTS_PER_H:g} h at the start", _took_ms(bench, spool.check), "ms")
        keys = [SpoolKey(spool.spool_id, SUMMARY.name, seq) for seq in range(SLOTS)]
        bench.beside(f"acknowledging {SLOTS} records", _took_ms(bench, lambda: spool.acknowledge(keys)), "ms")
        spool.store.connection().execute("UPDATE record SET state = 0")
        spool.store.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with spool.path.open("r+b") as file:
            file.seek(spool.path.stat().st_size // 2)
            file.write(b"\xff" * 4096)
        spool.close()
        bench.beside("a damaged page found, everything else brought over", _took_ms(bench, spool.check), "ms")
        bench.at_most("records lost to one damaged page", spool.store.lost, "records", 4)


def _took_ms(bench: Bench, work: Callable[[], None]) -> float:
    begun_ns = bench.clock.mono_ns()
    work()
    return (bench.clock.mono_ns() - begun_ns) / 1e6


SECTIONS: Final = {"rate": rate, "safe": safe, "endurance": endurance}
