"""`isochrone lab`: an emulated network of namespaces, with a ledger of what it did to every packet."""

import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
import structlog
import typer
from rich.console import Console
from rich.table import Table

from deploy.lab.control import Ledger, LinkState, open_client
from deploy.lab.lab import Lab, running_lab, take_down
from deploy.lab.ledger import Counts
from deploy.lab.topology import Direction, Topology, parse_topology
from schemas.clock import SystemClock
from schemas.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="The emulated network: bring it up, impair it, read its ledger.")

RunDir = Annotated[Path, typer.Option(help="The folder of the run: records, log and control socket lie there.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_DEFAULT_RUN_DIR = Path("lab-run")
_UP_DEADLINE_S = 20.0
_DOWN_DEADLINE_S = 10.0
_WATCH_S = 0.2


@app.callback()
def _logs_to_stderr() -> None:
    """Keep standard output for the answer: a script reads it as JSON."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


@app.command()
def up(
    file: Annotated[Path, typer.Argument(help="A lab file, such as deploy/lab/example.toml.", show_default=False)],
    run_dir: RunDir = _DEFAULT_RUN_DIR,
    seed: Annotated[int, typer.Option(help="Of the dice that lose, delay and duplicate.")] = 0,
    as_json: Json = False,
) -> None:
    """Make the lab and keep it until Ctrl-C or `isochrone lab down`. Needs root.

    Work in a host of it by `ip netns exec NAMESPACE COMMAND`, with a name from the list printed.
    """
    topology = read_topology(file)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # before there is anything to clean up
    with (
        suppress(KeyboardInterrupt),
        running_lab(topology, run_dir, deadline_s=_UP_DEADLINE_S, seed=seed) as lab,
    ):
        typer.echo(msgspec.json.encode(described(lab)) if as_json else _listing(lab))
        _hold(lab)


@app.command()
def impair(
    link: Annotated[str, typer.Argument(help="A link of the lab.", show_default=False)],
    fields: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="cut=true, loss_ratio=0.01, delay_us=5000, ...")
    ],
    run_dir: RunDir = _DEFAULT_RUN_DIR,
    direction: Annotated[str, typer.Option(help="forward, backward or both.")] = "both",
    as_json: Json = False,
) -> None:
    """Change what a link does from now on; fields not named stay. `cut=true` cuts it, `cut=false` heals it."""
    changes = parse_fields(fields)
    with open_client(run_dir) as wire:
        at_ns = wire.adjust(link, _direction(direction), **changes)
    done = {"link": link, "direction": direction, "changed": changes, "at_ns": at_ns}
    typer.echo(msgspec.json.encode(done) if as_json else f"{link} {direction}: {', '.join(fields)} at {at_ns} ns")


@app.command()
def ledger(run_dir: RunDir = _DEFAULT_RUN_DIR, as_json: Json = False) -> None:
    """Show what the wire did to the frames of each link, each way."""
    with open_client(run_dir) as wire:
        counts = wire.snapshot()
    if as_json:
        typer.echo(msgspec.json.encode(counts))
    else:
        Console(highlight=False, soft_wrap=True).print(counts_table(counts))


@app.command()
def down(run_dir: RunDir = _DEFAULT_RUN_DIR, as_json: Json = False) -> None:
    """End the lab of a run folder, also one whose process died; the records stay in the folder."""
    take_down(run_dir, deadline_s=_DOWN_DEADLINE_S)
    typer.echo(msgspec.json.encode({"down": str(run_dir)}) if as_json else f"{run_dir}: the lab is down")


def read_topology(file: Path) -> Topology:
    """Return the topology of a lab file; raises ConfigError when it cannot be read or does not hold."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{file}: cannot be read: {err}; name a lab file in UTF-8") from err
    return parse_topology(text, source=str(file))


def parse_fields(fields: list[str]) -> dict[str, Any]:
    """Return NAME=VALUE words as a dict, values read as JSON; raises ConfigError for a word of another shape."""
    changes: dict[str, Any] = {}
    for field in fields:
        name, _, value = field.partition("=")
        try:
            changes[name] = msgspec.json.decode(value)
        except msgspec.DecodeError as err:
            raise ConfigError(f"{field}: not NAME=VALUE with a JSON value, such as loss_ratio=0.01") from err
    return changes


def described(lab: Lab) -> dict[str, Any]:
    """Return what a script must know of a running lab."""
    hosts = {
        host.name: {"namespace": lab.namespace(host.name), "addresses": host.addresses} for host in lab.topology.hosts
    }
    return {"run_id": lab.run_id, "run_dir": str(lab.run_dir), "wire_pid": lab.wire_pid, "hosts": hosts}


def counts_table(counts: Ledger) -> Table:
    """Return the ledger as a table, with a title that says whether it is the whole truth."""
    title = "whole" if counts.overrun == 0 else f"NOT WHOLE: {counts.overrun} frames were dropped before the wire"
    table = Table("link", "way", *Counts.__struct_fields__, title=f"in flight {counts.in_flight}, {title}")
    for link in counts.links:
        for row in _rows(link):
            table.add_row(*row)
    return table


def _rows(link: LinkState) -> list[list[str]]:
    ways = (("forward", link.forward_counts), ("backward", link.backward_counts))
    return [[link.name, way, *(str(value) for value in msgspec.structs.astuple(counts))] for way, counts in ways]


def _listing(lab: Lab) -> str:
    rows = [f"{host.name:20} {' '.join(host.addresses):20} {lab.namespace(host.name)}" for host in lab.topology.hosts]
    return "\n".join([*rows, "up; Ctrl-C or `isochrone lab down` ends it"])


def _direction(text: str) -> Direction:
    try:
        direction: Direction = msgspec.convert(text, type=Direction)
    except msgspec.ValidationError as err:
        raise ConfigError(f"direction {text}: not one of forward, backward, both") from err
    return direction


def _hold(lab: Lab) -> None:
    """Return when the wire was stopped from elsewhere; Ctrl-C and SIGTERM interrupt."""
    clock = SystemClock()
    while lab.alive():
        clock.sleep_s(_WATCH_S)
