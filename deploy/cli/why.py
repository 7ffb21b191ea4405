"""`isochrone why A B`: the verdict between two places, with the rule, the numbers and the rows that it rests on."""

from typing import Annotated

import msgspec
import typer

from deploy.cli.flags import DEFAULT_STATE, Json, MeshName, State, Url

app = typer.Typer()

REACH_S = 120


@app.command()
def why(
    a: Annotated[str, typer.Argument(help="a node or an endpoint (node/carrier)")],
    b: Annotated[str, typer.Argument(help="another")],
    language: Annotated[str, typer.Option("--lang", help="zh or en")] = "en",
    state: State = DEFAULT_STATE,
    url: Url = "",
    mesh: MeshName = "",
    as_json: Json = False,
) -> None:
    """Explain the verdict of every stream from A to B and back: rule, n, limit, interval, newest rows."""
    from alerts.explain import between, explain
    from dashboards.words import chosen
    from deploy.cli.reaching import reach, states_now, timezone_of
    from schemas.clock import SystemClock, wall_ms
    from schemas.errors import ConfigError

    (said,) = chosen(language)[:1]
    until_s = wall_ms(SystemClock()) // 1000 + 1
    with reach(state, url, mesh) as reached:
        states = between(states_now(reached), a, b)
        if not states:
            raise ConfigError(
                f"no stream joins {a} and {b} in mesh {reached.mesh}; `isochrone status` names what is there"
            )
        ids = [row["stream_id"] for row in states]
        span = {"from_s": until_s - REACH_S, "until_s": until_s}
        slots = reached.store.rows("judge_slots", mesh=reached.mesh, stream_ids=ids, **span)
        incidents = reached.store.rows("incident_open", mesh=reached.mesh)
        zone = timezone_of(reached)
    found = [explain(row, slots, incidents, timezone=zone, language=said) for row in states]
    if as_json:
        typer.echo(msgspec.json.encode(found))
        return
    for each in found:
        typer.echo(f"{each.path}: {each.state}, {each.reason}" + (f", since {each.since}" if each.since else ""))
        typer.echo(f"  rule {each.rule or 'none'}: {each.numbers}" + (f"\n  cause {each.cause}" if each.cause else ""))
        for row in each.rows:
            typer.echo(f"    {row}")
