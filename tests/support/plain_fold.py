"""The oracle of the fold: dict arithmetic, one slot after the other. It shares no code with `streams.fold`."""

from collections.abc import Sequence
from typing import Any

Slot = dict[str, Any]

SUMMED = (
    *("planned", "sent", "received", "lost_forward", "lost_backward", "lost_unresolved", "late", "unreachable"),
    *("send_failed", "duplicate", "reordered", "loss_runs"),
)


def fold_plainly(slots: Sequence[Slot]) -> dict[tuple[str, int, int], dict[str, Any]]:
    """Return a row for each (probe, stream, minute), `written_ms` left out."""
    newest: dict[tuple[Any, ...], Slot] = {}
    for slot in slots:
        key = (slot["probe_id"], slot["spool_id"], slot["stream_id"], slot["slot"])
        if key not in newest or newest[key]["revision"] < slot["revision"]:
            newest[key] = slot
    windows: dict[tuple[str, int, int], list[Slot]] = {}
    for slot in newest.values():
        at = (slot["probe_id"], slot["stream_id"], slot["slot"] - slot["slot"] % 60)
        windows.setdefault(at, []).append(slot)
    return {at: _row(at, held) for at, held in windows.items()}


def _row(at: tuple[str, int, int], slots: list[Slot]) -> dict[str, Any]:
    row: dict[str, Any] = {"probe_id": at[0], "stream_id": at[1], "minute": at[2]}
    row["mesh"] = max(slot["mesh"] for slot in slots)
    row["version"] = 1 * 2**32 + sum(slot["revision"] for slot in slots)
    row["slots"] = len({slot["slot"] for slot in slots})
    row["complete_slots"] = len({slot["slot"] for slot in slots if slot["complete"]})
    row["probe_sick_slots"] = len({slot["slot"] for slot in slots if slot["probe_sick"]})
    row["loaded_slots"] = len({slot["slot"] for slot in slots if slot["loaded"]})
    row["clock_synchronised"] = min(slot["clock_synchronised"] for slot in slots)
    row["clock_error_us"] = max(slot["clock_error_us"] for slot in slots)
    for loaded, prefix in ((0, ""), (1, "loaded_")):
        half = [slot for slot in slots if slot["loaded"] == loaded]
        for name in SUMMED:
            row[prefix + name] = sum(slot[name] for slot in half)
        row[prefix + "loss_run_max"] = max([slot["loss_run_max"] for slot in half] or [0])
        for way in ("rtt_", "forward_", "backward_"):
            row |= {prefix + name: value for name, value in _delay(way, half).items()}
    return row


def _delay(way: str, half: list[Slot]) -> dict[str, Any]:
    heard = [slot for slot in half if slot[way + "n"] > 0]
    out: dict[str, Any] = {way + name: sum(slot[way + name] for slot in half) for name in ("n", "sum_us")}
    out |= {way + name: sum(slot[way + name] for slot in half) for name in ("ipdv_pairs", "ipdv_abs_sum_us")}
    out[way + "min_us"] = min([slot[way + "min_us"] for slot in heard] or [0])
    out[way + "max_us"] = max([slot[way + "max_us"] for slot in heard] or [0])
    for kind in ("", "ipdv_"):
        total: dict[int, int] = {}
        for slot in half:
            for bin_, count in zip(slot[way + kind + "bin"], slot[way + kind + "count"], strict=True):
                total[bin_] = total.get(bin_, 0) + count
        out[way + kind + "bin"] = sorted(total)
        out[way + kind + "count"] = [total[bin_] for bin_ in sorted(total)]
    return out
