"""What a thread frees is the system's again."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
from threading import Thread
if sys.argv[1] == "told":
    from streams.heap import give_back_freed
    assert give_back_freed()

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

def use():
    for _ in range(3):
        held = [bytearray(1 << 20) for _ in range(100)]
        small = [bytes(40_000) for _ in range(300)]

before = resident_mib()
for _ in range(2):
    thread = Thread(target=use)
    thread.start()
    thread.join()
print(resident_mib() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_a_thread_has_freed_does_not_stay() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, "told"], check=True, capture_output=True, text=True, timeout=30
    )
    assert float(ran.stdout) < 10
