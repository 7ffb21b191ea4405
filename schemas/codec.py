"""Bytes and records: typed JSON by msgspec, histograms as rows of one list with differences of bins."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from schemas.errors import WireError
from schemas.histogram import Sparse
from schemas.records import Heartbeat, Histograms, Record, SummaryBatch, ThroughputResult

R = TypeVar("R", SummaryBatch, Heartbeat, ThroughputResult)

_encoder = msgspec.json.Encoder()
_decoders = {kind: msgspec.json.Decoder(kind) for kind in (SummaryBatch, Heartbeat, ThroughputResult)}


def encode(record: Record) -> bytes:
    """Return the JSON bytes of a record."""
    return _encoder.encode(record)


def decode(value: bytes, kind: type[R]) -> R:
    """Return the record; unknown fields are ignored.

    Raises:
        WireError: "schema", naming the field that is absent or of another type.
    """
    try:
        return _decoders[kind].decode(value)  # type: ignore[return-value]  # the table is keyed by the type asked for
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise WireError("schema", f"{kind.__name__}: {err}") from err


def pack_histograms(histograms: Iterable[Sparse]) -> Histograms:
    """Return sparse histograms as columns, bins ascending and delta-coded within each."""
    lengths: list[int] = []
    bins: list[int] = []
    counts: list[int] = []
    for histogram in histograms:
        lengths.append(len(histogram))
        last = 0
        for bin_, count in sorted(histogram.items()):
            bins.append(bin_ - last)
            counts.append(count)
            last = bin_
    return Histograms(lengths=lengths, bins=bins, counts=counts)


def unpack_histograms(packed: Histograms) -> list[tuple[list[int], list[int]]]:
    """Return (bins, counts) a stream. The lengths must agree: `verify` has checked them."""
    rows: list[tuple[list[int], list[int]]] = []
    at = 0
    for length in packed.lengths:
        rows.append((_running_sum(packed.bins[at : at + length]), packed.counts[at : at + length]))
        at += length
    return rows


def _running_sum(differences: Sequence[int]) -> list[int]:
    total = 0
    out: list[int] = []
    for difference in differences:
        total += difference
        out.append(total)
    return out
