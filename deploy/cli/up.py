"""`isochrone up`: the whole stack on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.flags import DEFAULT_STATE, State

app = typer.Typer()


@app.command()
def up(
    mesh: Annotated[Path, typer.Option("--mesh", help="mesh file", exists=True, dir_okay=False)],
    config: Annotated[Path | None, typer.Option("--config", "-c", help="settings of the stack (TOML)")] = None,
    lab: Annotated[bool, typer.Option("--lab", help="emulate the mesh's roads here and run all its probes")] = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Run broker, store, worker, evaluator and page until Ctrl-C; with --lab also reflector and probes.

    Parts that die are started again; Ctrl-C stops them in reverse order; data stays in the state folder.
    """
    from deploy.cli.mesh import read_mesh
    from deploy.hold import hold_up
    from deploy.place import Place
    from deploy.settings import read_settings

    hold_up(read_settings(config), read_mesh(mesh), Place(root=state.absolute()), lab=lab, say=typer.echo)
