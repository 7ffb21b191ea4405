"""`isochrone mesh`: check a mesh file before anybody runs on it, export what one probe needs of it."""

import zoneinfo
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from deploy.cli.flags import DEFAULT_STATE, Json, State, Url
from schemas.errors import ConfigError
from schemas.mesh import Mesh, parse_mesh
from schemas.mesh_check_plan import streams_by_probe
from schemas.mesh_cost import Cost, cost
from schemas.mesh_slice import probe_slice, slice_to_json

_SHOWN_PROBES: Final = 10

app = typer.Typer(no_args_is_help=True, help="The mesh file: nodes, endpoints, probes, streams, segments.")

MeshPath = Annotated[Path, typer.Argument(help="A mesh file, such as deploy/mesh/demo.toml.", show_default=False)]


@app.command()
def check(
    file: MeshPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check every rule of a mesh file; print what it measures, what that costs, what to know.

    All broken rules are listed at once, each with its line and its remedy; the exit code is then 1.
    """
    try:
        mesh = read_mesh(file)
    except ConfigError as err:
        if not as_json:
            raise
        print_json({"holds": False, "file": str(file), "errors": str(err).splitlines()})
        raise typer.Exit(1) from err
    if as_json:
        print_json(summary(mesh) | {"file": str(file)})
    else:
        _print_summary(mesh, Console(highlight=False, soft_wrap=True))


@app.command()
def export(
    file: MeshPath,
    probe: Annotated[str, typer.Option(help="The probe, as mesh/name.", show_default=False)],
) -> None:
    """Print the slice of one probe as JSON: its endpoints, streams, schedule, limits and the peers it answers."""
    typer.echo(slice_to_json(probe_slice(read_mesh(file), probe)))


@app.command()
def apply(file: MeshPath, state: State = DEFAULT_STATE, url: Url = "", as_json: Json = False) -> None:
    """Put a mesh in force from the first whole minute at least 60 s ahead; what was in force before stays as it was."""
    from deploy.apply import apply_mesh
    from deploy.cli.reaching import reach
    from schemas.clock import SystemClock

    mesh = read_mesh(file)
    with reach(state, url, mesh.id, write=True) as reached:
        applied = apply_mesh(reached.store, mesh, clock=SystemClock())
    if as_json:
        print_json(msgspec.to_builtins(applied))
    else:
        word = "in force from" if applied.written else "already there, in force from"
        typer.echo(f"{mesh.id} version {applied.version}: {word} {applied.valid_from_s} (UTC seconds)")


def read_mesh(file: Path) -> Mesh:
    """Return the mesh of a file.

    Raises:
        ConfigError: it cannot be read, or does not hold.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{file}: cannot be read: {err}; name a mesh file in UTF-8") from err
    return parse_mesh(text, source=str(file))


def summary(mesh: Mesh) -> dict[str, Any]:
    """Return what `check` says of a mesh that holds, for JSON."""
    counts = Counter((stream.plane, stream.relation, stream.method) for stream in mesh.streams)
    names = ("plane", "relation", "method", "streams")
    return {
        "holds": True,
        "mesh": mesh.id,
        "version": mesh.version,
        "timezone": mesh.timezone,
        "nodes": len(mesh.nodes),
        "measured_nodes": len({endpoint.node for endpoint in mesh.endpoints}),
        "endpoints": len(mesh.endpoints),
        "probes": len(mesh.probes),
        "segments": len(mesh.segments),
        "streams": [dict(zip(names, (*group, count), strict=True)) for group, count in sorted(counts.items())],
        "cost": msgspec.to_builtins(cost(mesh.streams, mesh.endpoint_by_id, mesh.defaults)),
        "cost_by_probe": {name: msgspec.to_builtins(each) for name, each in _cost_by_probe(mesh).items()},
        "warnings": [*mesh.warnings, *_timezone_warnings(mesh)],
    }


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on one line."""
    typer.echo(msgspec.json.encode(value))


def _cost_by_probe(mesh: Mesh) -> dict[str, Cost]:
    sent = streams_by_probe(mesh.streams)
    return {name: cost(streams, mesh.endpoint_by_id, mesh.defaults) for name, streams in sent.items()}


def _timezone_warnings(mesh: Mesh) -> list[str]:
    try:
        zoneinfo.ZoneInfo(mesh.timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return [f"timezone {mesh.timezone} is not known on this host: check its name, or install tzdata"]
    return []


def _print_summary(mesh: Mesh, console: Console) -> None:
    said = summary(mesh)
    console.print(f"mesh {mesh.id} holds, version {mesh.version}, days of {mesh.timezone}")
    console.print(
        f"{said['nodes']} nodes ({said['measured_nodes']} measured), {said['endpoints']} endpoints, "
        f"{said['probes']} probes, {said['segments']} segments, {len(mesh.streams)} directed streams"
    )
    console.print(_stream_table(said["streams"]))
    console.print(_cost_table(mesh))
    for warning in said["warnings"]:
        console.print(f"warning: {warning}", markup=False)


def _stream_table(rows: list[dict[str, Any]]) -> Table:
    table = Table("plane", "relation", "method", box=None)
    table.add_column("streams", justify="right")
    for row in rows:
        table.add_row(row["plane"], row["relation"], row["method"], f"{row['streams']:,}")
    return table


def _cost_table(mesh: Mesh) -> Table:
    """Return the probes that send most, and the whole; replies cost the network as much again."""
    table = Table("sends", box=None)
    for title in ("streams", "packets/s", "summaries/s", "kbit/s"):
        table.add_column(title, justify="right")
    by_probe = sorted(_cost_by_probe(mesh).items(), key=lambda item: (-item[1].packets_per_s, item[0]))
    for name, each in by_probe[:_SHOWN_PROBES]:
        table.add_row(name, *_cells(each))
    if len(by_probe) > _SHOWN_PROBES:
        table.add_row(f"... {len(by_probe) - _SHOWN_PROBES} more probes")
    table.add_row("whole mesh", *_cells(cost(mesh.streams, mesh.endpoint_by_id, mesh.defaults)))
    return table


def _cells(each: Cost) -> tuple[str, ...]:
    return f"{each.streams:,}", f"{each.packets_per_s:,.1f}", f"{each.summaries_per_s:,.1f}", f"{each.kbit_per_s:,.1f}"
