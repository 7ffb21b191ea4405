"""The options that several commands share; imports no part, so that a probe host can use them."""

from pathlib import Path
from typing import Annotated, Final

import typer

State = Annotated[Path, typer.Option("--state", envvar="ISOCHRONE_STATE", help="folder of the stack")]
Url = Annotated[
    str,
    typer.Option(
        "--clickhouse", envvar="ISOCHRONE_CLICKHOUSE", help="another store: clickhouse://user:pw@host:port/db"
    ),
]
MeshName = Annotated[str, typer.Option("--mesh", help="id of the mesh; the stack's own where it is left out")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of text")]
ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="configuration file", exists=True, dir_okay=False)]

DEFAULT_STATE: Final = Path(".isochrone")
