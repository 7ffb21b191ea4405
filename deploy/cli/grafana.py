"""`isochrone grafana sync`: the boards into a Grafana that cannot read our files."""

from typing import Annotated

import msgspec
import typer

app = typer.Typer(no_args_is_help=True, help="Provision the boards into a Grafana.")


@app.callback()
def _group() -> None:
    """Keep `sync` a word of its own."""


@app.command()
def sync(
    url: Annotated[str, typer.Option(help="address of the Grafana")],
    token: Annotated[str, typer.Option(envvar="ISOCHRONE_GRAFANA_TOKEN", help="token of a service account (editor)")],
    as_json: Annotated[bool, typer.Option("--json", help="one JSON line instead of text")] = False,
) -> None:
    """Put the folder and every board there; what is there is replaced by the newer file."""
    from dashboards.grafana.sync import connect
    from dashboards.grafana.sync import sync as sync_boards

    for board in sync_boards(connect(url, token)):
        typer.echo(msgspec.json.encode(board) if as_json else f"{board.uid} version {board.version}: {url}{board.url}")
