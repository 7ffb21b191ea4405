"""`isochrone probe run|enrol`: what a probe host needs, and nothing of the pipeline behind it."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.flags import ConfigFile

app = typer.Typer(no_args_is_help=True, help="Run a probe, or enrol its key.")


@app.command()
def run(
    config: ConfigFile,
) -> None:
    """Measure until SIGTERM: test packets out, summaries into the spool, the spool to Kafka."""
    from random import SystemRandom

    from deploy.configfile import read_config
    from probes.agent import run_agent
    from probes.config import AgentConfig
    from probes.slice_file import read_slice
    from schemas.clock import SystemClock

    settings = read_config(config, AgentConfig)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    slice_ = read_slice(Path(settings.slice_path), settings.probe_id)
    run_agent(settings, slice_, clock=SystemClock(), random=SystemRandom(), stop=stop)


@app.command()
def enrol(
    probe: Annotated[str, typer.Option(help="id of the probe: mesh/name")],
    key: Annotated[Path, typer.Option(help="where the private key is, or is made, readable by its owner alone")],
) -> None:
    """Make the probe's key where there is none, and print the lines for the mesh file."""
    from probes.keys import enrol as enrol_key

    typer.echo(enrol_key(key, probe))
