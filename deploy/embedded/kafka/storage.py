"""The data folder: formatted once, as a whole or not at all, and never again while it holds anything."""

import base64
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Final

from deploy.embedded.kafka.config import BrokerPlace, server_properties
from deploy.embedded.kafka.java import Java
from schemas.errors import ConfigError, UnavailableError

MARK: Final = "meta.properties"  # Kafka's own: holds the cluster id, beside the data that it belongs to
FORMAT_DEADLINE_S: Final = 30.0


def ensure_formatted(place: BrokerPlace, java: Java, jars: Path) -> None:
    """Format the data folder of `place` when it is new; leave it alone when it is formatted.

    Raises:
        ConfigError: it holds files but no mark of Kafka's: not ours to format.
        UnavailableError: Kafka's own formatter failed.
    """
    if (place.log_dir / MARK).exists():
        return
    if place.log_dir.exists() and any(place.log_dir.iterdir()):
        raise ConfigError(
            f"{place.log_dir} holds files but no {MARK}, so it is no Kafka data folder, or a damaged one; "
            "it is not formatted over: move it away, or choose another state folder"
        )
    _format_beside(place, java, jars)


def new_cluster_id() -> str:
    """Return 22 characters of URL-safe base64 of a UUID, as Kafka wants it; never one that starts like an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _format_beside(place: BrokerPlace, java: Java, jars: Path) -> None:
    """Format in a folder beside it and rename that, so that a kill leaves no half-formatted data folder."""
    fresh = place.state_dir / "data.formatting"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    properties = place.state_dir / "format.properties"
    properties.write_text(server_properties(place, log_dir=fresh))
    _run_formatter([*_formatter(java, jars), "-t", new_cluster_id(), "-c", str(properties)])
    properties.unlink()
    if place.log_dir.exists():
        place.log_dir.rmdir()  # it was found empty
    fresh.rename(place.log_dir)


def _formatter(java: Java, jars: Path) -> list[str]:
    flags = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return [java.program, *flags, "-cp", f"{jars}/*", "kafka.tools.StorageTool", "format"]


def _run_formatter(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_DEADLINE_S, check=False)
    except subprocess.TimeoutExpired as err:
        raise UnavailableError(f"Kafka's formatter did not end within {FORMAT_DEADLINE_S:g} s") from err
    if done.returncode != 0:
        raise UnavailableError(f"Kafka's formatter failed: {(done.stderr or done.stdout).strip()[-400:]}")
