"""`isochrone reconcile`: the proof that nothing was lost and nothing counted twice."""

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from deploy.cli.flags import DEFAULT_STATE, Json, State, Url

if TYPE_CHECKING:
    from streams.compare import SlotDifference, WindowDifference
    from streams.reconcile import Reconciliation

app = typer.Typer()

EQUAL: Final = 0
MISSING: Final = 1
DIFFERENT: Final = 3  # 2 is the command line's own


@app.command()
def reconcile(
    hours: Annotated[float, typer.Option(help="how far back spools must have been heard of")] = 24.0,
    windows: Annotated[bool, typer.Option(help="compare the minutes with their slots too")] = True,
    refold: Annotated[bool, typer.Option("--refold", help="send again, through the topic, what mends them")] = False,
    state: State = DEFAULT_STATE,
    url: Url = "",
    as_json: Json = False,
) -> None:
    """Give every batch its one fate, from the ledger and the heartbeats alone, and name every hole.

    Then compare every minute with the slots it was folded from, and the slots with the ledger. Exit code 1 when a batch
    is missing, 3 when only minutes or slots differ.
    """
    from deploy.place import find_store
    from schemas.clock import SystemClock, wall_ms
    from streams.compare import differing_windows, missing_slots
    from streams.reconcile import reconcile as account
    from streams.store import open_store

    now_ms = wall_ms(SystemClock())
    span = {"since_ms": now_ms - round(hours * 3_600_000), "until_ms": now_ms}
    with open_store(find_store(state, url)[0]) as store:
        found = account(store, **span)
        differing = differing_windows(store, **span) if windows else []
        lost = missing_slots(store, **span) if windows else []
    if as_json:
        typer.echo(msgspec.json.encode({"account": found, "windows": differing, "slots": lost}))
    else:
        _tell(found)
        _tell_differences(differing, lost, compared=windows)
    if refold:
        _refold(state, url, differing, lost)
    raise typer.Exit(MISSING if found.residual > 0 else DIFFERENT if differing or lost else EQUAL)


def _tell(found: "Reconciliation") -> None:
    for name, totals in (("batches of summaries", found.batches), ("heartbeats and results", found.others)):
        counts = [f"{key} {count}" for key, count in msgspec.structs.asdict(totals).items()]
        typer.echo(f"{name}: {', '.join(counts)}")
    typer.echo(f"stream summaries stored {found.summaries_stored}, quarantined {found.summaries_quarantined}")
    for hole in found.holes:
        typer.echo(f"{hole.fate}: {hole.probe_id} {hole.spool_id} {hole.topic} seq {hole.first}..{hole.last}")
    if found.residual > 0:
        typer.echo("remedy: `isochrone spool resend` on the probe of each missing range, while its reserve lasts")
    typer.echo(f"residual {found.residual}")


def _tell_differences(windows: "list[WindowDifference]", slots: "list[SlotDifference]", *, compared: bool) -> None:
    from datetime import UTC, datetime

    for each in windows:
        at = datetime.fromtimestamp(each.minute_s, UTC)
        typer.echo(f"{each.kind}: {each.probe_id} {at:%Y-%m-%d %H:%M}Z, {each.streams} streams: {each.some_streams}")
    for lost in slots:
        at, place = datetime.fromtimestamp(lost.slot_s, UTC), lost.position
        where = f"{place.probe_id} {place.spool_id} seq {place.seq}"
        typer.echo(f"lost by the store: {where} {at:%Y-%m-%d %H:%M:%S}Z, {lost.found} of {lost.wanted} streams left")
    if windows or slots:
        typer.echo("remedy: `isochrone reconcile --refold`; what the topic holds no more, `isochrone spool resend`")
    if compared:
        typer.echo(f"minutes that differ from their slots {len(windows)}, slots short of the ledger {len(slots)}")


def _refold(state: State, url: Url, windows: "list[WindowDifference]", slots: "list[SlotDifference]") -> None:
    from deploy.place import find_address, find_store
    from deploy.refold import refold
    from streams.compare import positions_of
    from streams.store import open_store

    with open_store(find_store(state, url)[0]) as store:
        positions = sorted({*positions_of(store, windows), *(each.position for each in slots)})
    address = find_address(state)
    done = refold(address.bootstrap, positions, address.access)
    for position in done.gone:
        typer.echo(f"no longer in the topic: {position.probe_id} {position.spool_id} seq {position.seq}", err=True)
    typer.echo(f"sent {done.sent} messages again; reconcile in a minute", err=True)
