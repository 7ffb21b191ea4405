"""The probe's slice of the mesh as a file that changes under the agent."""

from pathlib import Path
from typing import Final

import structlog

from schemas.clock import Clock
from schemas.errors import ConfigError
from schemas.mesh_slice import ProbeSlice, slice_from_json

log = structlog.get_logger(__name__)

GOOD_FOR_NS: Final = 24 * 3_600_000_000_000  # an agent works that long on the last good slice, then it stops sending
_LOOK_NS: Final = 1_000_000_000

_State = tuple[int, int, int]  # inode, size, mtime: what tells one file from the next


def read_slice(path: Path, probe_id: str) -> ProbeSlice:
    """Return the slice of a file.

    Raises:
        ConfigError: It cannot be read, is no slice, or is another probe's.
    """
    try:
        value = path.read_bytes()
    except OSError as err:
        raise ConfigError(f"slice {path}: {err}; `isochrone mesh export --probe {probe_id}` writes it") from err
    try:
        slice_ = slice_from_json(value)
    except ConfigError as err:
        raise ConfigError(f"slice {path}: {err}") from err
    if slice_.probe_id != probe_id:
        raise ConfigError(f"slice {path} is of probe {slice_.probe_id}, this is {probe_id}; give each its own")
    return slice_


class SliceFile:
    """Says when there is a new slice, and when the last good one is too old to go on with."""

    def __init__(self, path: Path, probe_id: str, clock: Clock) -> None:
        self._path = path
        self._probe_id = probe_id
        self._clock = clock
        self._seen = _state(path)
        self._is_good = True  # the caller has just read it
        self._looked_ns = self._good_ns = clock.mono_ns()

    @property
    def is_stale(self) -> bool:
        """Return whether no good slice has been there for 24 h."""
        return self._clock.mono_ns() - self._good_ns >= GOOD_FOR_NS

    def newer(self, current: ProbeSlice) -> ProbeSlice | None:
        """Return the slice that takes the place of `current`, None while there is none; looks once a second."""
        now_ns = self._clock.mono_ns()
        if now_ns - self._looked_ns < _LOOK_NS:
            return None
        self._looked_ns = now_ns
        state = _state(self._path)
        if state == self._seen:
            self._good_ns = now_ns if self._is_good else self._good_ns
            return None
        self._seen = state
        return self._read(current, now_ns)

    def _read(self, current: ProbeSlice, now_ns: int) -> ProbeSlice | None:
        try:
            found = read_slice(self._path, self._probe_id)
        except ConfigError as err:
            log.error("slice cannot be read, going on with the last good one", error=str(err))  # noqa: TRY400 - one line
            self._is_good = False
            return None
        self._is_good, self._good_ns = True, now_ns
        return found if found != current else None


def _state(path: Path) -> _State | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
