"""`isochrone rollup`: hours and local days out of minutes."""

import signal
import threading

import typer

from deploy.cli.flags import ConfigFile

app = typer.Typer()


@app.command()
def rollup(config: ConfigFile) -> None:
    """Recompute the hours and local days that a minute was written to, about once a minute, until SIGTERM.

    It may be stopped, killed or run twice at any time: the tables come out equal.
    """
    from deploy.configfile import read_config
    from schemas.clock import SystemClock
    from streams.rollup import RollupConfig, run_rollup

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run_rollup(read_config(config, RollupConfig), clock=SystemClock(), stop=stop)
