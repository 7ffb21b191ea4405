"""`isochrone status`: the worst streams, since when, and what they are attached to."""

from typing import Annotated

import msgspec
import typer

from deploy.cli.flags import DEFAULT_STATE, Json, MeshName, State, Url

app = typer.Typer()


@app.command()
def status(
    count: Annotated[int, typer.Option(help="how many of the worst")] = 10,
    language: Annotated[str, typer.Option("--lang", help="zh or en")] = "en",
    state: State = DEFAULT_STATE,
    url: Url = "",
    mesh: MeshName = "",
    as_json: Json = False,
) -> None:
    """Count the streams in each of the four states, say how fresh they are, list the worst, each with its cause.

    Exit code 1 when a stream is down.
    """
    from alerts.explain import counts, explain, worst
    from dashboards.words import chosen
    from deploy.cli.reaching import reach, states_now, timezone_of
    from deploy.ingest import ingest_line, ingest_of
    from deploy.place import known_address
    from schemas.clock import SystemClock, wall_ms

    (said,) = chosen(language)[:1]
    with reach(state, url, mesh) as reached:
        states = states_now(reached)
        incidents = reached.store.rows("incident_open", mesh=reached.mesh)
        zone = timezone_of(reached)
        address = known_address(state) if url == "" else None
        ingest = ingest_of(reached.store, reached.mesh, address, now_s=wall_ms(SystemClock()) // 1000)
    found = counts(states)
    listed = [
        explain(row, (), incidents, timezone=zone, language=said) for row, _ in worst(states, incidents, count=count)
    ]
    if as_json:
        typer.echo(msgspec.json.encode({"mesh": reached.mesh, "counts": found, "ingest": ingest, "worst": listed}))
    else:
        typer.echo(f"{reached.mesh}: " + ", ".join(f"{number} {name}" for name, number in found.items()))
        typer.echo(ingest_line(ingest))
        for each in listed:
            since = f" since {each.since}" if each.since else ""
            cause = f" [{each.cause}]" if each.cause else ""
            typer.echo(f"{each.state:12} {each.path}{since}: {each.reason}{cause}")
    raise typer.Exit(1 if found["down"] > 0 else 0)
