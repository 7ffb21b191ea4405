"""Which Java runs the broker, and whether it is new enough."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import UnavailableError

JAVA_AT_LEAST: Final = 17  # what Kafka 4 asks of a broker
JAVA_REMEDY: Final = "apt-get install default-jdk-headless (or set JAVA_HOME to a JDK 17 or newer)"
_ANSWER_S: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Java:
    """A Java virtual machine: the program, its full version (`17.0.15`) and its first number."""

    program: str
    version: str
    major: int


def find_java() -> Java | None:
    """Return the Java of JAVA_HOME or else of PATH, or None when there is none that answers."""
    program = _program()
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "-version"], capture_output=True, text=True, timeout=_ANSWER_S, check=True
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_version(program, answer)


def parse_version(program: str, answer: str) -> Java | None:
    """Return what `java -version` said, or None when it holds no version; `1.8.0_362` is major 8."""
    found = re.search(r'version "(?P<full>(?:1\.)?(?P<major>\d+)[^"]*)"', answer)
    if found is None:
        return None
    return Java(program=program, version=found["full"], major=int(found["major"]))


def require_java() -> Java:
    """Return a Java that can run the broker.

    Raises:
        UnavailableError: none, or one that is too old; the text has the line that gets it.
    """
    java = find_java()
    if java is None:
        raise UnavailableError(f"no java on PATH or in JAVA_HOME; the embedded broker needs it: {JAVA_REMEDY}")
    if java.major < JAVA_AT_LEAST:
        raise UnavailableError(
            f"{java.program} is Java {java.version}; the embedded broker needs {JAVA_AT_LEAST} or newer: {JAVA_REMEDY}"
        )
    return java


def _program() -> str | None:
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").exists():
        return str(Path(home) / "bin" / "java")
    return shutil.which("java")
