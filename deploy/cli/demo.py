"""`isochrone demo`: the scripted demonstration, and its proof in demo.json."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(help="length of the script; 0: no script, until Ctrl-C")] = 90.0,
    kills: Annotated[
        bool, typer.Option("--kills", envvar="DEMO_KILLS", help="also kill worker, broker, store and a probe")
    ] = False,
    out: Annotated[Path, typer.Option(help="folder for page.html and report.pdf")] = Path("demo"),
    state: Annotated[Path, typer.Option(help="folder of the stack; data of an earlier demo is removed")] = Path(
        ".isochrone/demo"
    ),
) -> None:
    """Run six hub clusters and six direct-connect points over an emulated network, and hold the result to its bars.

    Exit code 1 when a bar does not hold.
    """
    from rich.console import Console

    from deploy.demo.report import show
    from deploy.demo.start import play

    result = play(seconds=seconds, kills=kills, out=out, state=state.absolute(), say=typer.echo)
    if result is None:
        return
    held = show(result, Console())
    raise typer.Exit(0 if held else 1)
