"""`isochrone spool list|resend`: what a probe still holds on its disk, and sending a stretch of it again."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from deploy.cli.flags import DEFAULT_STATE, Json, State

app = typer.Typer(
    no_args_is_help=True,
    help="What a probe holds on its disk: list it, send a stretch of it again.\n\n"
    "A probe spools every record before it sends it, keeps it until the broker has acknowledged it, and as a reserve "
    "for a day after. Both commands work beside a running agent. On a probe's host name its configuration or its "
    "file; on the machine of a stack the probe's id is enough, and without one all of its probes are taken.",
)

SpoolFile = Annotated[Path | None, typer.Option("--spool", help="the spool file itself")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="configuration of the agent whose spool it is")]
Probe = Annotated[str, typer.Option("--probe", help="a probe of the stack at --state: mesh/name")]
Topic = Annotated[str | None, typer.Option("--topic", help="this topic alone, as isochrone.summary.v1")]


@app.command("list")
def list_held(
    spool: SpoolFile = None,
    config: Config = None,
    probe: Probe = "",
    topic: Topic = None,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """List what the file holds of every run: last seq, acknowledged, declared dropped, unsent, reserve, its age."""
    from probes.spool_reader import read_held
    from schemas.clock import SystemClock

    rows = [
        {"file": str(path), **held._asdict()}
        for path in _files(spool, config, probe, state)
        for held in read_held(path, clock=SystemClock())
        if topic is None or held.topic == topic
    ]
    if as_json:
        typer.echo(msgspec.json.encode(rows))
        return
    for path in dict.fromkeys(row["file"] for row in rows):
        typer.echo(path)
        for row in (each for each in rows if each["file"] == path):
            _tell(row)
    unsent, size = sum(row["unsent"] for row in rows), sum(row["unsent_bytes"] for row in rows)
    typer.echo(f"{unsent} records unsent, {size / 1e6:.1f} MB; {sum(map(_dropped, rows))} declared dropped")


@app.command()
def resend(
    spool: SpoolFile = None,
    config: Config = None,
    probe: Probe = "",
    topic: Topic = None,
    from_: Annotated[str, typer.Option("--from", help="spooled at or after, UTC: 2026-11-25T03:00")] = "",
    until: Annotated[str, typer.Option("--until", help="spooled before, UTC")] = "",
    run: Annotated[str | None, typer.Option("--run", help="this run alone: a spool_id")] = None,
    first: Annotated[int, typer.Option(help="first seq")] = 0,
    last: Annotated[int, typer.Option(help="last seq")] = (1 << 63) - 1,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Send acknowledged records of the reserve again, where the broker lost them before the worker had stored them.

    `isochrone reconcile` names such a hole as: missing: PROBE SPOOL_ID TOPIC seq FIRST..LAST. Refill it with

      isochrone spool resend --probe PROBE --run SPOOL_ID --topic TOPIC --first FIRST --last LAST

    or by time:

      isochrone spool resend --probe PROBE --topic TOPIC --from 2026-11-25T03:00 --until 2026-11-25T04:30

    The same bytes go out under the same identity, in the backlog lane at its bounded rate; what was stored already is
    counted once. A running agent begins within a second, a stopped one
    when it starts.
    """
    from probes.spool_again import Stretch, ask_again
    from schemas.errors import ConfigError

    if run is None and from_ == "" and until == "":
        raise ConfigError("spool resend needs a stretch: --from and --until, or --run with --first and --last")
    times = {"from_ms": _ms(from_, "--from")} if from_ != "" else {}
    times |= {"until_ms": _ms(until, "--until")} if until != "" else {}
    stretch = Stretch(topic=topic, run=run, first=first, last=last, **times)
    marked = {str(path): ask_again(path, stretch) for path in _files(spool, config, probe, state)}
    if as_json:
        typer.echo(msgspec.json.encode(marked))
        return
    for path, count in marked.items():
        typer.echo(f"{count} records to be sent again from {path}")
    if sum(marked.values()) == 0:
        typer.echo("the reserve holds nothing of that stretch; `isochrone spool list` says what it holds")


def _files(spool: Path | None, config: Path | None, probe: str, state: Path) -> list[Path]:
    """Return the files meant: the one that is named, or those of all probes of the stack."""
    if spool is not None:
        return [spool]
    if config is not None:
        from deploy.configfile import read_config
        from probes.config import AgentConfig

        return [Path(read_config(config, AgentConfig).spool_path)]
    return _files_of_stack(probe, state)


def _files_of_stack(probe: str, state: Path) -> list[Path]:
    from deploy.parts import probe_files  # a probe's host has not what this needs
    from deploy.place import Place
    from schemas.errors import ConfigError

    if probe != "" and probe.count("/") != 1:
        raise ConfigError(f"--probe {probe}: an id is mesh/name")
    place = Place(root=state)
    found = [probe_files(place, probe).spool] if probe != "" else sorted(place.root.glob("probes/*/spool.sqlite"))
    if not found:
        raise ConfigError(f"no probe has a spool under {state}; name the file with --spool, or the agent's --config")
    return found


def _ms(text: str, option: str) -> int:
    """Return UTC milliseconds of an ISO 8601 time; one without an offset is UTC."""
    from schemas.errors import ConfigError

    try:
        at = datetime.fromisoformat(text)
    except ValueError as err:
        raise ConfigError(f"{option} {text}: not a time; write 2026-11-25T03:00 or 2026-11-25T11:00+08:00") from err
    return round((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _tell(row: dict[str, Any]) -> None:
    gone = f", dropped {_ranges(row['dropped'])}" if row["dropped"] else ""
    again = f", asked for again {row['again']}" if row["again"] > 0 else ""
    typer.echo(
        f"  {row['spool_id']} {row['topic']}: last {row['last_seq']}, acknowledged {row['acked_seq']}{gone}{again}"
    )
    age = "" if row["oldest_ms"] is None else f", {_time(row['oldest_ms'])} to {_time(row['newest_ms'])}"
    unsent = f"unsent {row['unsent']} ({row['unsent_bytes'] / 1e6:.1f} MB)"
    typer.echo(f"    {unsent}, reserve {row['reserve']} ({row['reserve_bytes'] / 1e6:.1f} MB){age}")


def _ranges(ranges: Sequence[tuple[int, int]]) -> str:
    return " ".join(f"{lo}..{hi}" for lo, hi in ranges)


def _dropped(row: dict[str, Any]) -> int:
    return sum(hi - lo + 1 for lo, hi in row["dropped"])


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
