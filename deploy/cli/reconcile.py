"""`isochrone reconcile`: the proof that nothing was lost and nothing counted twice."""

from typing import Annotated

import msgspec
import typer

from deploy.cli.flags import DEFAULT_STATE, Json, State, Url

app = typer.Typer()


@app.command()
def reconcile(
    hours: Annotated[float, typer.Option(help="how far back spools must have been heard of")] = 24.0,
    state: State = DEFAULT_STATE,
    url: Url = "",
    as_json: Json = False,
) -> None:
    """Give every batch its one fate, from the ledger and the heartbeats alone, and name every hole.

    Exit code 1 when a batch is missing.
    """
    from deploy.place import find_store
    from schemas.clock import SystemClock, wall_ms
    from streams.reconcile import reconcile as account
    from streams.store import open_store

    now_ms = wall_ms(SystemClock())
    with open_store(find_store(state, url)[0]) as store:
        found = account(store, since_ms=now_ms - round(hours * 3_600_000), until_ms=now_ms)
    if as_json:
        typer.echo(msgspec.json.encode(found))
    else:
        for name, totals in (("batches of summaries", found.batches), ("heartbeats and results", found.others)):
            counts = [f"{key} {count}" for key, count in msgspec.structs.asdict(totals).items()]
            typer.echo(f"{name}: {', '.join(counts)}")
        typer.echo(f"stream summaries stored {found.summaries_stored}, quarantined {found.summaries_quarantined}")
        for hole in found.holes:
            typer.echo(f"{hole.fate}: {hole.probe_id} {hole.spool_id} {hole.topic} seq {hole.first}..{hole.last}")
        typer.echo(f"residual {found.residual}")
    raise typer.Exit(0 if found.residual == 0 else 1)
