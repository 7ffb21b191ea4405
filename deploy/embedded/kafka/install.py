"""Fetches the broker's jars once with the user's own Maven, and takes no jar that differs from `jars.sha256`."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from schemas.errors import UnavailableError

POM: Final = Path(__file__).with_name("pom.xml")
LOCK: Final = Path(__file__).with_name("jars.sha256")
FETCH_DEADLINE_S: Final = 300.0
MAVEN_REMEDY: Final = "apt-get install maven"

Say = Callable[[str], None]


def kafka_version() -> str:
    """Return the broker's version, as pom.xml names it."""
    found = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>([^<]+)</version>", POM.read_text())
    if found is None:
        raise UnavailableError(f"{POM} names no kafka version")
    return found[1]


def cache_dir() -> Path:
    """Return the folder of this version's files in the user's cache (XDG_CACHE_HOME, else ~/.cache)."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    return base / "isochrone" / f"kafka-{kafka_version()}-{key}"


def install_jars(say: Say, *, cache: Path | None = None, deadline_s: float = FETCH_DEADLINE_S) -> Path:
    """Return the folder that holds the broker's jars, fetched now when they are not there yet.

    Raises:
        UnavailableError: no Maven, no answer by the deadline, Maven's own error, or a jar that is not the locked one.
    """
    jars = (cache or cache_dir()) / "jars"
    if jars.is_dir():  # it got its name when it was whole
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    say(f"kafka {kafka_version()}: fetching {len(_locked())} jars (about 45 MB) with Maven, once")
    with _workplace(jars.parent) as work:
        _fetch(work, deadline_s)
        _check(work / "jars")
        _publish(work / "jars", jars)
    say(f"kafka {kafka_version()}: ready in {jars}")
    return jars


@contextmanager
def _workplace(beside: Path) -> Iterator[Path]:
    """Yield a folder on the same file system, so that the finished jars move in one step."""
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=beside) as work:
        yield Path(work)


def _fetch(work: Path, deadline_s: float) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise UnavailableError(f"no mvn on PATH; the embedded broker's jars come by Maven: {MAVEN_REMEDY}")
    shutil.copy(POM, work / "pom.xml")  # Maven writes beside the file it reads
    command = [
        maven,
        "-q",
        "-B",
        "-C",
        "dependency:copy-dependencies",
        "-DoutputDirectory=jars",
        "-DincludeScope=runtime",
    ]
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=deadline_s, check=False)
    except subprocess.TimeoutExpired as err:
        raise UnavailableError(
            f"Maven did not fetch the broker's jars within {deadline_s:g} s; "
            f"try again (what came is kept), or see where it hangs: mvn -f {POM} dependency:resolve"
        ) from err
    if done.returncode != 0:
        raise UnavailableError(f"Maven could not fetch the broker's jars: {_first_error(done.stdout + done.stderr)}")


def _first_error(output: str) -> str:
    errors = [line.removeprefix("[ERROR]").strip() for line in output.splitlines() if line.startswith("[ERROR]")]
    return next(filter(None, errors), output.strip()[-400:] or "it said nothing")


def _locked() -> dict[str, str]:
    """Return the SHA-256 of each jar by its name."""
    return {name: digest for digest, name in (line.split() for line in LOCK.read_text().splitlines())}


def _check(jars: Path) -> None:
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars.iterdir()}
    locked = _locked()
    wrong = sorted(name for name in found.keys() | locked.keys() if found.get(name) != locked.get(name))
    if wrong:
        raise UnavailableError(
            f"{len(wrong)} jars differ from {LOCK}: {', '.join(wrong[:5])}; nothing was installed. "
            "Clear them from Maven's local repository and try again; if it repeats, distrust the repository you use"
        )


def _publish(whole: Path, jars: Path) -> None:
    try:
        whole.rename(jars)
    except OSError:
        if not jars.is_dir():  # else another run was first, with the same jars
            raise
