"""`isochrone reflector`: answers the test packets of the mesh's probes."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.callback(invoke_without_command=True)
def reflector(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="the reflector's TOML file", exists=True, dir_okay=False)
    ],
) -> None:
    """Answer STAMP packets of the peers that the configuration lists, and of nobody else, until SIGTERM."""
    from deploy.configfile import read_config
    from probes.reflector import ReflectorConfig, run_reflector
    from schemas.clock import SystemClock

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run_reflector(read_config(config, ReflectorConfig), clock=SystemClock(), stop=stop.is_set)
