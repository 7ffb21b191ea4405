"""`isochrone report build|verify`: an assessment, and the proof that its numbers can be had again."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from deploy.cli.flags import DEFAULT_STATE, Json, MeshName, State, Url

app = typer.Typer(no_args_is_help=True, help="Build the quality report, or recompute one.")

MINUTE_S = 60


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="folder for the files")] = Path("report"),
    from_: Annotated[str, typer.Option("--from", help="start, ISO 8601 with offset; default: 1 h before")] = "",
    until: Annotated[str, typer.Option(help="end, not included; default: the last whole minute")] = "",
    language: Annotated[str, typer.Option("--lang", help="zh or en; both where it is left out")] = "",
    state: State = DEFAULT_STATE,
    url: Url = "",
    mesh: MeshName = "",
    as_json: Json = False,
) -> None:
    """Write the report of a period in HTML and PDF, and the rows that it stands on (report.json)."""
    from dashboards.reports.render import build as render
    from dashboards.reports.snapshot import ReportRequest, read_snapshot
    from dashboards.words import chosen
    from deploy.cli.reaching import reach

    until_s = _instant_s(until) if until else _now_s() - _now_s() % MINUTE_S
    from_s = _instant_s(from_) if from_ else until_s - 3600
    with reach(state, url, mesh) as reached:
        snapshot = read_snapshot(reached.store, ReportRequest(mesh=reached.mesh, from_s=from_s, until_s=until_s))
    for each in chosen(language):
        files = render(snapshot, out, each)
        text = f"{files.pdf}\n{files.html}\nsnapshot {files.hash} in {files.snapshot}"
        typer.echo(msgspec.json.encode(files, enc_hook=str) if as_json else text)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="report.json of the report", exists=True, dir_okay=False)],
    state: State = DEFAULT_STATE,
    url: Url = "",
) -> None:
    """Read the rows of a report again and compare: exit code 0 when every number is the same, 1 when one differs."""
    from dashboards.reports.render import load_snapshot
    from dashboards.reports.snapshot import read_snapshot, snapshot_hash
    from deploy.cli.reaching import reach

    issued, stored = load_snapshot(file.read_bytes(), source=str(file))
    with reach(state, url, stored.request.mesh) as reached:
        now = snapshot_hash(read_snapshot(reached.store, stored.request))
    same = now == issued == snapshot_hash(stored)
    typer.echo(f"issued {issued}\nnow    {now}\n{'the same' if same else 'they differ: late data, or another file'}")
    raise typer.Exit(0 if same else 1)


def _instant_s(text: str) -> int:
    from datetime import datetime

    from schemas.errors import ConfigError

    try:
        at = datetime.fromisoformat(text)
    except ValueError as err:
        raise ConfigError(f"{text!r} is no instant: write it like 2026-11-01T00:00+08:00") from err
    if at.tzinfo is None:
        raise ConfigError(f"{text!r} names no offset: write it like 2026-11-01T00:00+08:00")
    return int(at.timestamp())


def _now_s() -> int:
    from schemas.clock import SystemClock, wall_ms

    return wall_ms(SystemClock()) // 1000
