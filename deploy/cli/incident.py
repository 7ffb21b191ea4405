"""`isochrone incident list|show|ack`: what is open, how it came to be, and that somebody has it in hand."""

import getpass
from typing import Annotated

import msgspec
import typer

from deploy.cli.flags import DEFAULT_STATE, Json, MeshName, State, Url

app = typer.Typer(no_args_is_help=True, help="Incidents: list them, show one, say that you have it in hand.")

Id = Annotated[str, typer.Argument(help="id of the incident, such as inc-46aa9e4fa33a")]


@app.command("list")
def list_incidents(
    hours: Annotated[float, typer.Option(help="also those that ended in so many hours")] = 24.0,
    language: Annotated[str, typer.Option("--lang", help="zh or en")] = "en",
    state: State = DEFAULT_STATE,
    url: Url = "",
    mesh: MeshName = "",
    as_json: Json = False,
) -> None:
    """List what is open and what ended lately, newest first: one line a root cause."""
    from dashboards.words import chosen
    from deploy.cli.reaching import reach
    from schemas.clock import SystemClock, wall_ms

    (said,) = chosen(language)[:1]
    from_ms = wall_ms(SystemClock()) - round(hours * 3_600_000)
    with reach(state, url, mesh) as reached:
        found = reached.store.rows("page_incidents", mesh=reached.mesh, from_ms=from_ms)
    if as_json:
        typer.echo(msgspec.json.encode(found))
        return
    for row in found:
        typer.echo(f"{row['incident_id']}  {row['state']:9} {row['member_count']:5} streams  {row[f'summary_{said}']}")
    typer.echo(f"{sum(row['state'] != 'resolved' for row in found)} open, {len(found)} listed")


@app.command()
def show(incident: Id, state: State = DEFAULT_STATE, url: Url = "", as_json: Json = False) -> None:
    """Show everything that happened to an incident, oldest first."""
    from deploy.place import find_store
    from schemas.errors import ConfigError
    from streams.store import open_store

    with open_store(find_store(state, url)[0]) as store:
        events = store.rows("incident_timeline", incident_id=incident)
    if not events:
        raise ConfigError(f"there is no incident {incident}; `isochrone incident list` names those of the last day")
    if as_json:
        typer.echo(msgspec.json.encode(events))
        return
    for event in events:
        typer.echo(f"{_instant(event['at_ms'])}  {event['kind']:13} {event['detail']}")


@app.command()
def ack(
    incident: Id,
    who: Annotated[str, typer.Option(help="who has it in hand; default: the login name")] = "",
    state: State = DEFAULT_STATE,
    url: Url = "",
) -> None:
    """Say that you have an incident in hand: it is written to its timeline."""
    from alerts.ledger import acknowledge
    from deploy.place import find_store
    from schemas.clock import SystemClock, wall_ms
    from streams.store import open_store

    name = who or getpass.getuser()
    with open_store(find_store(state, url, write=True)[0]) as store:
        acknowledge(store, incident, who=name, at_ms=wall_ms(SystemClock()))
    typer.echo(f"{incident}: acknowledged by {name}")


def _instant(at_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")
