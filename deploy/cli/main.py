"""The one console script: it imports the file of the command asked for alone, and prints our errors as one line."""

import importlib
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import structlog
import typer

from schemas.errors import IsochroneError

OUR_PACKAGES: Final = frozenset({"schemas", "probes", "streams", "alerts", "dashboards", "deploy"})

# name -> (module, one line of help): shown without importing a single part, so that a probe host needs no worker.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": ("deploy.cli.up", "Run the whole stack on this machine until Ctrl-C."),
    "demo": ("deploy.cli.demo", "Run the scripted demonstration and write demo.json."),
    "lab": ("deploy.cli.lab", "Make, impair and remove the emulated network."),
    "status": ("deploy.cli.status", "Show the worst streams: since when, and why."),
    "why": ("deploy.cli.why", "Explain the verdict between two nodes."),
    "probe": ("deploy.cli.probe", "Run a probe, or enrol its key."),
    "spool": ("deploy.cli.spool", "Show what a probe holds on its disk; send a stretch of it again."),
    "reflector": ("deploy.cli.reflector", "Answer the test packets of the mesh's probes."),
    "worker": ("deploy.cli.worker", "Verify, fold and store what arrives."),
    "rollup": ("deploy.cli.rollup", "Keep hours and local days in step with the minutes."),
    "evaluator": ("deploy.cli.evaluator", "Judge, converge and deliver."),
    "incident": ("deploy.cli.incident", "List incidents, show one, acknowledge it."),
    "page": ("deploy.cli.page", "Serve the posture page."),
    "mesh": ("deploy.cli.mesh", "Check, apply and export the mesh."),
    "report": ("deploy.cli.report", "Build the quality report."),
    "reconcile": ("deploy.cli.reconcile", "Prove that nothing was lost or counted twice."),
    "quarantine": ("deploy.cli.quarantine", "List, show and replay what was refused."),
    "doctor": ("deploy.cli.doctor", "Say what is missing on this host and the line that gets it."),
    "grafana": ("deploy.cli.grafana", "Provision the boards into a Grafana."),
}


def build(arguments: Sequence[str]) -> typer.Typer:
    """Return the command line in which the command asked for is real and the others only listed."""
    root = typer.Typer(
        name="isochrone",
        help="Measure the network between computing hubs, keep its live picture, alert once per cause, report.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_root)
    asked = arguments[0] if arguments else ""
    for name, (module, text) in COMMANDS.items():
        if name == asked:
            _add(root, name, _load(module))
        else:
            root.command(name, help=text)(_root)
    return root


def _root() -> None:
    """Hold the place of a command that was not asked for."""


def _add(root: typer.Typer, name: str, app: typer.Typer) -> None:
    """Add a file's commands: a single one under the name itself, several as a group."""
    (first, *others) = app.registered_commands
    if first.callback is not None and not others and app.registered_callback is None:
        root.command(name)(first.callback)
    else:
        root.add_typer(app, name=name)


def _load(module: str) -> typer.Typer:
    app: typer.Typer = importlib.import_module(module).app
    return app


def run() -> None:
    """Run the command line; our own errors become one line and exit code 2."""
    arguments = sys.argv[1:]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for answers
    try:
        build(arguments)(prog_name="isochrone")
    except IsochroneError as err:
        _end(str(err))
    except ModuleNotFoundError as err:
        missing = (err.name or "").split(".")[0]
        if missing in OUR_PACKAGES:
            raise
        _end(
            f"`{arguments[0]}` needs the package {missing!r}, which this install leaves out; "
            "install isochrone with the extra that holds it (probe, worker, alerts, page, report, grafana, "
            "embedded or all)"
        )


def _end(text: str) -> NoReturn:
    sys.stderr.write(f"isochrone: {text}\n")
    sys.exit(2)


if __name__ == "__main__":
    run()
