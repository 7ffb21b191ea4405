"""Whether the rows that a verdict becomes fit their columns: what the engine would clamp or refuse is found before."""

from schemas.tables import BATCH, PROBE_HEALTH, QUARANTINE, SUMMARY_10S, THROUGHPUT
from streams.columns import lists
from streams.ledger import batch_row, fault_rows, rejected_batch_row, rejected_row
from streams.rows import health_row, summary_columns, throughput_row
from streams.verify import Rejected, Verdict, VerifiedHeartbeat, VerifiedSummary, VerifiedThroughput


def fits(column: str, value: object) -> bool:
    """Return whether the narrowest column of this name takes the value."""
    if isinstance(value, list):
        return all(fits(column, each) for each in value)
    if not isinstance(value, int):
        return True
    signed = column.endswith(("min_us", "max_us", "sum_us", "seqs", "_from", "_until")) or column == "claimed_seq"
    return (-(1 << 63) if signed else 0) <= value < 1 << 63


def check_rows(verdict: Verdict) -> None:
    """Return when every row of the verdict fits.

    Raises:
        AssertionError: one does not, or the message was refused for a fault of ours.
    """
    blocks: list[tuple[tuple[str, ...], tuple[object, ...]]] = []
    match verdict:
        case Rejected():
            assert verdict.reason != "internal_error", verdict.detail
            blocks = [(QUARANTINE.columns, rejected_row(verdict)), (BATCH.columns, rejected_batch_row(verdict) or ())]
        case VerifiedSummary():
            columns = lists(summary_columns([verdict]))
            assert sorted(columns) == sorted(SUMMARY_10S.columns)
            assert all(fits(name, value) for name, values in columns.items() for value in values)
            blocks = [(QUARANTINE.columns, row) for row in fault_rows(verdict, verdict.faults)]
            blocks.append((BATCH.columns, batch_row(verdict)))
        case VerifiedHeartbeat():
            blocks = [(PROBE_HEALTH.columns, health_row(verdict)), (BATCH.columns, batch_row(verdict))]
        case VerifiedThroughput():
            blocks = [(THROUGHPUT.columns, throughput_row(verdict)), (BATCH.columns, batch_row(verdict))]
    for names, row in blocks:
        for name, value in zip(names, row, strict=len(row) > 0):
            assert fits(name, value), (name, value)
            if isinstance(value, str):
                value.encode()
