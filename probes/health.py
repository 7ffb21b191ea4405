"""How fit the probe and its host are: what a batch and a heartbeat say beside the measurement."""

from pathlib import Path
from typing import Final

import msgspec

from schemas.records import ProbeCondition

PROC_STAT: Final = Path("/proc/stat")
_STEAL: Final = 7  # user nice system idle iowait irq softirq steal; guest times are already in user
_FIELDS: Final = 8


class CpuTicks(msgspec.Struct, frozen=True):
    """The counters of all CPUs together, in clock ticks since boot."""

    steal: int
    total: int


def parse_ticks(text: str) -> CpuTicks | None:
    """Return the counters of the first line of /proc/stat, None where this kernel says it otherwise."""
    name, *ticks = text.partition("\n")[0].split()[: _FIELDS + 1] or [""]
    if name != "cpu" or len(ticks) < _FIELDS or not all(tick.isdigit() for tick in ticks):
        return None
    numbers = [int(tick) for tick in ticks]
    return CpuTicks(numbers[_STEAL], sum(numbers))


class StealMeter:
    """CPU time that the hypervisor took, from one look to the next."""

    def __init__(self, path: Path = PROC_STAT) -> None:
        self._path = path
        self._last: CpuTicks | None = None

    def take_ppm(self) -> int | None:
        """Return the stolen share since the last call in parts per million; None the first time or where unknown."""
        last, self._last = self._last, self._look()
        if last is None or self._last is None or self._last.total <= last.total:
            return None
        return (self._last.steal - last.steal) * 1_000_000 // (self._last.total - last.total)

    def _look(self) -> CpuTicks | None:
        try:
            return parse_ticks(self._path.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError):
            return None  # not every host tells


def with_steal(condition: ProbeCondition, steal_ppm: int | None) -> ProbeCondition:
    """Return the engine's word with the host's added."""
    return msgspec.structs.replace(condition, steal_ppm=steal_ppm)
