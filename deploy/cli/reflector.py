"""`isochrone reflector`: answers the test packets of the mesh's probes."""

import signal
import threading

import typer

from deploy.cli.flags import ConfigFile

app = typer.Typer()


@app.command()
def reflector(config: ConfigFile) -> None:
    """Answer STAMP packets and throughput tests of the peers that the configuration lists, until SIGTERM."""
    from deploy.configfile import read_config
    from deploy.reflector_host import ReflectorHost, run_host
    from schemas.clock import SystemClock

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run_host(read_config(config, ReflectorHost), clock=SystemClock(), stop=stop.is_set)
