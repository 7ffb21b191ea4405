"""Rows in, files out: one HTML for web and mail, the same HTML as a tagged PDF, and the snapshot to recompute from."""

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec

from dashboards.reports.figures import by_relation, frame, matrix, silent, worst
from dashboards.reports.snapshot import Snapshot, snapshot_hash
from dashboards.templating import environment
from dashboards.throughput import throughput_mbps
from dashboards.words import Language, words
from schemas.errors import ConfigError

QUERIES: Final = ("report_mesh", "report_streams", "report_incidents", "report_throughput")


class ReportFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where a report was written."""

    html: Path
    pdf: Path
    snapshot: Path
    hash: str


def build(snapshot: Snapshot, out: Path, language: Language) -> ReportFiles:
    """Write report.<language>.html, .pdf and report.json (the snapshot) into `out`, and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    html = html_text(snapshot, language)
    paths = ReportFiles(
        html=out / f"report.{language}.html",
        pdf=out / f"report.{language}.pdf",
        snapshot=out / "report.json",
        hash=snapshot_hash(snapshot),
    )
    paths.html.write_text(html, encoding="utf-8")
    paths.snapshot.write_bytes(msgspec.json.encode({"hash": paths.hash, "snapshot": snapshot}))
    _write_pdf(html, paths.pdf)
    return paths


def load_snapshot(text: bytes, *, source: str) -> tuple[str, Snapshot]:
    """Return (hash, snapshot) of a report.json.

    Raises:
        ConfigError: the file is not a report's snapshot.
    """
    try:
        stored = msgspec.json.decode(text, type=_Stored)
    except msgspec.DecodeError as err:
        raise ConfigError(f"{source}: not a report.json of `isochrone report build`: {err}") from err
    return stored.hash, stored.snapshot


class _Stored(msgspec.Struct, frozen=True):
    hash: str
    snapshot: Snapshot


def html_text(snapshot: Snapshot, language: Language) -> str:
    """Return the report as one HTML document without scripts or outside references."""
    made = environment("dashboards.reports", snapshot.timezone)
    return made.get_template("report.html.j2").render(_content(snapshot, language))


def _content(snapshot: Snapshot, language: Language) -> dict[str, Any]:
    table = frame(snapshot.streams)
    sources, destinations, cells = matrix(table)
    return {
        "language": language,
        "w": words(language),
        "s": snapshot,
        "hash": snapshot_hash(snapshot),
        "sent": int(table["sent"].sum()),
        "due": int(table["planned"].sum()),
        "measured": int((table["sent"] > 0).sum()),
        "unsynchronised": int(((table["sent"] > 0) & (table["clock_synchronised"] == 0)).sum()),
        "relations": by_relation(table),
        "sources": sources,
        "destinations": destinations,
        "cells": cells,
        "worst": worst(table),
        "silent": silent(table),
        "tests": [row | {"achieved_mbps": throughput_mbps(row)} for row in snapshot.throughput],
        "queries": {name: _query_text(name) for name in QUERIES},
    }


def _query_text(name: str) -> str:
    return files("schemas.queries").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def _write_pdf(html: str, path: Path) -> None:
    import weasyprint  # 1 to 2 s to import: only the command that needs it pays

    document = weasyprint.HTML(string=html, url_fetcher=_no_outside)
    document.write_pdf(path, pdf_variant="pdf/ua-1")


def _no_outside(url: str, *_: object, **__: object) -> dict[str, object]:
    raise ValueError(f"a report refers to nothing outside itself: {url[:60]}")
