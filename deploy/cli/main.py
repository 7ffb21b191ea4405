"""The one console script: it finds the command, imports that command's file alone, and prints our errors as one line."""

import importlib
import sys
from typing import Final

import click
import typer
from typer.main import get_command

from schemas.errors import IsochroneError

# name -> (module, one line of help): shown without importing a single part, so that a probe host needs no worker.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": ("deploy.cli.up", "Run the whole stack on this machine until Ctrl-C."),
    "demo": ("deploy.cli.demo", "Run the scripted demonstration and write demo.json."),
    "lab": ("deploy.cli.lab", "Make, impair and remove the emulated network."),
    "status": ("deploy.cli.status", "Show the worst streams: since when, and why."),
    "why": ("deploy.cli.why", "Explain the verdict between two nodes."),
    "probe": ("deploy.cli.probe", "Run a probe, or enrol its key."),
    "reflector": ("deploy.cli.reflector", "Answer the test packets of the mesh's probes."),
    "worker": ("deploy.cli.worker", "Verify, fold and store what arrives."),
    "evaluator": ("deploy.cli.evaluator", "Judge, converge and deliver."),
    "page": ("deploy.cli.page", "Serve the posture page."),
    "mesh": ("deploy.cli.mesh", "Check, apply and export the mesh."),
    "report": ("deploy.cli.report", "Build the quality report."),
    "reconcile": ("deploy.cli.reconcile", "Prove that nothing was lost or counted twice."),
    "quarantine": ("deploy.cli.quarantine", "List, show and replay what was refused."),
    "doctor": ("deploy.cli.doctor", "Say what is missing on this host and the line that gets it."),
    "grafana": ("deploy.cli.grafana", "Provision the boards into a Grafana."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, importing its file; None lets click suggest the nearest name."""
        if cmd_name not in COMMANDS:
            return None
        module, text = COMMANDS[cmd_name]
        if ctx.resilient_parsing or "--help" in sys.argv[1:2]:
            return click.Command(cmd_name, help=text)
        return _load(cmd_name, module, text)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _load(name: str, module: str, text: str) -> click.Command:
    try:
        app: typer.Typer = importlib.import_module(module).app
    except ModuleNotFoundError as err:
        missing = err.name or ""
        if missing.split(".")[0] in {"deploy", "schemas", "probes", "streams", "alerts", "dashboards"}:
            raise
        raise click.ClickException(
            f"`isochrone {name}` needs the package {missing!r}, which this install leaves out; "
            f"install isochrone with the extra that holds it (probe, worker, alerts, page, report, embedded or all)"
        ) from err
    command = get_command(app)
    command.name = name
    command.help = command.help or text
    return command


cli = LazyGroup(
    name="isochrone",
    help="Measure the network between computing hubs, keep its live picture, alert once per cause, report.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> None:
    """Run the command line; our own errors become one line and exit code 2."""
    try:
        cli(prog_name="isochrone")
    except IsochroneError as err:
        click.secho(f"isochrone: {err}", fg="red", err=True)
        sys.exit(2)
