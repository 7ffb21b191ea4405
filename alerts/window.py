"""The newest revisions of the last minutes, a stream at a time: a cache of the table, filled again after a start."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from alerts.facts import SlotFacts, merge_facts, slot_facts

_Key = tuple[int, str, str]  # start of the slot, spool, probe


class RowWindow:
    """Holds what `judge_rows` returned; adding the same rows again, in any order, changes nothing."""

    def __init__(self) -> None:
        self._parts: dict[int, dict[_Key, SlotFacts]] = {}
        self._facts: dict[int, tuple[SlotFacts, ...]] = {}
        self.complete_slot_ms: dict[str, int] = {}  # start of the newest whole slot, by probe
        self.newest_received_ms = 0

    def add(self, rows: Iterable[Mapping[str, Any]]) -> set[int]:
        """Take rows in and return the streams that changed."""
        touched = set()
        for row in rows:
            self.newest_received_ms = max(self.newest_received_ms, row["received_ms"])
            if row["complete"] and row["start_ms"] > self.complete_slot_ms.get(row["probe_id"], -1):
                self.complete_slot_ms[row["probe_id"]] = row["start_ms"]
            parts = self._parts.setdefault(row["stream_id"], {})
            key = (row["start_ms"], row["spool"], row["probe_id"])
            known = parts.get(key)
            if known is None or known.revisions < row["revision"]:
                parts[key] = slot_facts(row)
                touched.add(row["stream_id"])
        for stream_id in touched:
            self._facts.pop(stream_id, None)
        return touched

    def facts(self, stream_id: int) -> tuple[SlotFacts, ...]:
        """Return the slots of a stream, oldest first."""
        found = self._facts.get(stream_id)
        if found is None:
            found = _merged(self._parts.get(stream_id, {}))
            self._facts[stream_id] = found
        return found

    def forget_before(self, start_ms: int) -> None:
        """Drop slots that begin before an instant."""
        for stream_id, parts in self._parts.items():
            old = [key for key in parts if key[0] < start_ms]
            for key in old:
                del parts[key]
            if len(old) > 0:
                self._facts.pop(stream_id, None)


def _merged(parts: Mapping[_Key, SlotFacts]) -> tuple[SlotFacts, ...]:
    slots = ([parts[key] for key in keys] for _, keys in groupby(sorted(parts), key=_start))
    return tuple(slot[0] if len(slot) == 1 else merge_facts(slot) for slot in slots)


def _start(key: _Key) -> int:
    return key[0]
