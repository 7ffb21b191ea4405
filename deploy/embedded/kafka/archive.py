"""The class archive (AppCDS): made by the first broker when it stops, and used by every later one to start faster."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from deploy.embedded.kafka.java import Java

_CHECK_S: Final = 20.0


def archive_path(jars: Path, java: Java) -> Path:
    """Return where the archive of this Java and these jars belongs: an archive is good for one pair only."""
    return jars.with_name(f"classes-{java.version}.jsa")


def draft_path(state_dir: Path) -> Path:
    """Return where a broker leaves an archive; the next start takes it over when it is sound."""
    return state_dir / "classes-draft.jsa"


def adopt_draft(state_dir: Path, java: Java, jars: Path) -> None:
    """Move the archive that a stopped broker left into the cache, or drop it when it is cut short."""
    draft, archive = draft_path(state_dir), archive_path(jars, java)
    if not draft.exists():
        return
    if not archive.exists() and _is_sound(draft, java, jars):
        arrived = archive.with_name(f"{archive.name}.{state_dir.stat().st_ino}")
        shutil.copy(draft, arrived)  # the cache may be on another file system
        arrived.replace(archive)
    draft.unlink()


def archive_flag(state_dir: Path, java: Java, jars: Path) -> str:
    """Return the option that uses the archive, or makes one at the next stop when there is none."""
    archive = archive_path(jars, java)
    if archive.exists():
        return f"-XX:SharedArchiveFile={archive}"
    return f"-XX:ArchiveClassesAtExit={draft_path(state_dir)}"


def _is_sound(draft: Path, java: Java, jars: Path) -> bool:
    command = [java.program, "-Xshare:on", f"-XX:SharedArchiveFile={draft}", "-cp", f"{jars}/*", "-version"]
    try:
        return subprocess.run(command, capture_output=True, timeout=_CHECK_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
