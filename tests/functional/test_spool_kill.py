"""E12 in small: a writer killed at any moment loses nothing that `append` had returned."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from probes.spool import open_spool
from probes.spool_reader import open_reader
from schemas.clock import SystemClock

WRITER = """
import sys
from pathlib import Path
from probes.spool import open_spool
from probes.spool_group import Entry
from schemas.clock import SystemClock
with open_spool(Path(sys.argv[1]), clock=SystemClock()) as spool:
    while True:
        seqs = spool.append_all([Entry(spool.spool_id, "t", lambda seq: (b"%d" % seq * 50, []))] * 7)
        print(spool.spool_id, seqs[-1], flush=True)
"""


def run_and_kill(path: Path, after_s: float) -> tuple[str, int]:
    """Return the (spool_id, seq) that the writer last said was safe before SIGKILL."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        assert first, "the writer never wrote its first record"
        time.sleep(after_s)
        writer.kill()
        said = [first, *writer.stdout.read().splitlines()]
    whole = [line for line in said if len(line.split()) == 2]
    spool_id, seq = whole[-1].split()
    return spool_id, int(seq)


@pytest.mark.parametrize("after_s", [0.0, 0.011, 0.033, 0.071, 0.123])
def test_f_kill_of_the_writer_loses_nothing_that_it_called_safe(tmp_path: Path, after_s: float) -> None:
    path = tmp_path / "spool.db"
    spool_id, safe = run_and_kill(path, after_s)
    clock = SystemClock()
    with open_spool(path, clock=clock) as spool, open_reader(path, clock=clock) as reader:
        (state,) = spool.states()
        kept = [row.key.seq for row in reader.rows(spool_id, "t", 0, 1 << 60)]
    assert state.spool_id == spool_id
    assert state.last_seq >= safe
    assert kept == list(range(state.last_seq + 1))
