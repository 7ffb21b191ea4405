"""`isochrone quarantine list|show|replay`: what was refused, why, and sent again after a fix."""

from functools import partial
from typing import Annotated

import msgspec
import typer

from deploy.cli.flags import DEFAULT_STATE, Json, State, Url

app = typer.Typer(no_args_is_help=True, help="What was refused: list it, show it, send it again after a fix.")

Topic = Annotated[str, typer.Argument(help="topic of the message")]
Partition = Annotated[int, typer.Argument(help="its partition")]
Offset = Annotated[int, typer.Argument(help="its offset")]


@app.command("list")
def list_refused(
    hours: Annotated[float, typer.Option(help="how far back")] = 24.0,
    reason: Annotated[list[str] | None, typer.Option(help="only these reasons")] = None,
    limit: Annotated[int, typer.Option(help="at most so many")] = 100,
    state: State = DEFAULT_STATE,
    url: Url = "",
    as_json: Json = False,
) -> None:
    """List what was refused, newest first: where it stands, why, who claims to have sent it, whether stored since."""
    from deploy.place import find_store
    from schemas.clock import SystemClock, wall_ms
    from streams.quarantine import refused
    from streams.store import open_store

    since_ms = wall_ms(SystemClock()) - round(hours * 3_600_000)
    with open_store(find_store(state, url)[0]) as store:
        found = refused(store, since_ms=since_ms, reasons=reason or [], limit=limit)
    if as_json:
        typer.echo(msgspec.json.encode(found))
        return
    for each in found:
        proof = "" if each.signed else " (not signed)"
        sender = f"{each.claimed_probe or 'unknown sender'} seq {each.claimed_seq}{proof}"
        fate = ", stored since" if each.stored else ""
        typer.echo(f"{each.topic} {each.partition} {each.offset}  {each.reason}: {each.detail}  [{sender}{fate}]")
    typer.echo(f"{len(found)} refused in {hours:g} h")


@app.command()
def show(topic: Topic, partition: Partition, offset: Offset, state: State = DEFAULT_STATE, url: Url = "") -> None:
    """Print a refused message as it came: headers, faults, and its bytes."""
    from deploy.place import find_store
    from streams.quarantine import message_at
    from streams.store import open_store

    with open_store(find_store(state, url)[0]) as store:
        found = message_at(store, topic, partition, offset)
    typer.echo(f"key {found.key!r}")
    for name, value in found.headers:
        typer.echo(f"header {name} {value.hex()}")
    for stream_id, reason, detail in found.faults:
        typer.echo(f"{f'stream {stream_id} ' if stream_id != 0 else ''}{reason}: {detail}")
    typer.echo(found.value)


@app.command()
def replay(topic: Topic, partition: Partition, offset: Offset, state: State = DEFAULT_STATE, url: Url = "") -> None:
    """Send the original bytes of a refused message to its topic again; the worker judges them anew."""
    from deploy.place import find_address, find_store
    from probes.publish import kafka_config, open_sender, send_acknowledged
    from streams.quarantine import replay as send_again
    from streams.store import open_store

    address = find_address(state)
    config = kafka_config(address.bootstrap, address.access)
    with open_store(find_store(state, url)[0]) as store, open_sender(config, "isochrone-replay") as producer:
        send_again(store, [(topic, partition, offset)], partial(send_acknowledged, producer))
    typer.echo(f"sent {topic} {partition}@{offset} again")
