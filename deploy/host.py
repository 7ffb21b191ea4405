"""What the doctor asks the host: each question a function, so that a test answers in its place."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.clock_state import ClockState, read_clock_state
from deploy.embedded.kafka.java import Java, find_java
from deploy.ports import port_is_free
from deploy.procfs import port_holder

_FONTS_ANSWER_S = 20.0


def _clock() -> ClockState | None:
    try:
        return read_clock_state()
    except OSError:
        return None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None


def _library_loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _chinese_font() -> str | None:
    """Return the family of a font that has Chinese, by fontconfig, or by its file where that is not installed."""
    try:
        answer = subprocess.run(
            ["fc-list", ":lang=zh", "family"], capture_output=True, text=True, timeout=_FONTS_ANSWER_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        found = sorted(Path("/usr/share/fonts").glob("**/*CJK*"))
        return found[0].name if found else None
    return next(iter(sorted(answer.splitlines(), key=lambda name: ("Noto" not in name, name))), None)


def _free_disk_bytes(folder: Path) -> int:
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def _holder(port: int) -> str | None:
    return None if port_is_free(port) else port_holder(port) or "another process"


@dataclass(frozen=True, kw_only=True)
class Host:
    """The answers of this machine; a path that cannot be read, a program that is not there are None."""

    which: Callable[[str], str | None] = shutil.which
    java: Callable[[], Java | None] = find_java
    python_version: tuple[int, int, int] = sys.version_info[:3]
    read: Callable[[str], str | None] = _read
    library_loads: Callable[[str], bool] = _library_loads
    chinese_font: Callable[[], str | None] = _chinese_font
    clock: Callable[[], ClockState | None] = _clock
    port_holder: Callable[[int], str | None] = _holder
    free_disk_bytes: Callable[[Path], int] = _free_disk_bytes
    group_ids: Callable[[], frozenset[int]] = lambda: frozenset({os.getegid(), *os.getgroups()})
