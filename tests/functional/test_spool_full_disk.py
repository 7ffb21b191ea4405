"""F17 and F19 on a real disk that is full, read-only, or limited: a tmpfs in a mount namespace that the test makes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.services import require

LIFE = """
import json, resource, sqlite3, subprocess, sys
from pathlib import Path
from support.spools import declared, fill, manual_clock, noise, pending
from probes.spool import open_spool
from probes.spool_reader import open_reader

folder, story = Path(sys.argv[1]), sys.argv[2]
clock, written, refused = manual_clock(), [], 0

def write(spool, count, size=20_000):
    global refused
    for seed in range(count):
        try:
            written.extend(fill(spool, [noise(size, seed)]))
        except sqlite3.OperationalError:
            refused += 1

def mount(options):
    subprocess.run(["mount", "-o", options, str(folder)], check=True, timeout=10)

if story == "read-only":
    with open_spool(folder / "s.db", clock=clock) as spool:
        write(spool, 5)
    mount("remount,ro")
before = len(written)
with open_spool(folder / "s.db", clock=clock) as spool:
    if story == "full":
        write(spool, 300)
    if story == "filled by others":
        write(spool, 20)
        hog = folder / "hog"
        with hog.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        write(spool, 60)
        hog.unlink(missing_ok=True)
        spool.trim()
        write(spool, 20)
    if story == "read-only":
        write(spool, 5)
        mount("remount,rw")
        write(spool, 5)
    if story == "limited":
        write(spool, 5)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, resource.RLIM_INFINITY))
        write(spool, 60)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        write(spool, 5)
    last = max(state.last_seq for state in spool.states() if state.spool_id == spool.spool_id)
with open_spool(folder / "s.db", clock=clock) as spool, open_reader(spool.path, clock=clock) as reader:
    kept, gone = set(pending(reader)), declared(spool)
facts = {"written": len(written), "refused": refused, "kept": len(kept), "dropped": len(gone), "run": last + 1}
facts |= {"untold": len(set(written) - kept - gone), "both": len(kept & gone), "before": before}
print(json.dumps(facts | {"newest": written[-1] in kept}))
"""


def life(tmp_path: Path, story: str, megabytes: int) -> dict[str, Any]:
    """Return what a spool on a small disk of its own says after its story."""
    able = os.geteuid() == 0 and shutil.which("unshare") is not None
    require("a mount namespace", able, "run as root, with util-linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size={megabytes}m tmpfs "$1" && shift && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(disk), sys.executable, "-c", LIFE, str(disk), story]
    paths = [path for path in sys.path if path != ""]
    env = {**os.environ, "PYTHONPATH": ":".join(paths)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=env, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


@pytest.mark.parametrize("story", ["full", "filled by others", "read-only", "limited"])
def test_f17_f19_on_a_disk_that_is_full_or_refuses_every_record_called_written_is_there_or_declared(
    tmp_path: Path, story: str
) -> None:
    facts = life(tmp_path, story, megabytes=4)
    assert facts["untold"] == facts["both"] == 0, facts
    assert facts["newest"], facts
    assert facts["run"] + facts["before"] == facts["written"], facts
    if story == "full":
        assert (facts["refused"], facts["dropped"] > 0) == (0, True), facts
    if story == "read-only":
        assert (facts["refused"], facts["dropped"]) == (5, 0), facts
