"""`isochrone evaluator`: judge, converge, deliver."""

import signal
import threading

import typer

from deploy.cli.flags import ConfigFile

app = typer.Typer()


@app.command()
def evaluator(config: ConfigFile) -> None:
    """Judge every planned stream about once a second and tell of each root cause once, until SIGTERM."""
    from alerts.evaluator import EvaluatorConfig, run_evaluator
    from deploy.configfile import read_config
    from schemas.clock import SystemClock

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run_evaluator(read_config(config, EvaluatorConfig), clock=SystemClock(), stop=stop)
