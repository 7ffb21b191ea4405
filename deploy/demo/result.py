"""What the demo measured, and the bars it is held to."""

from collections.abc import Iterator
from typing import Final

import msgspec

CUT_TO_WEBHOOK_S: Final = 10.0
HEAL_TO_RESOLVE_S: Final = 30.0
THROUGHPUT_TOLERANCE: Final = 0.05
MEMORY_MIB: Final = 2048.0


class DemoResult(msgspec.Struct, frozen=True, kw_only=True):
    """demo.json. Summaries are counted as they travel: one message holds all streams of a probe in a slot."""

    packets_sent: int
    packets_planned: int
    summaries_produced: int
    summaries_stored: int
    summaries_quarantined: int
    summaries_dropped: int
    residual: int
    loss_equals_ledger: bool
    packets_compared: int
    packets_lost: int
    mismatches: list[str]
    delay_error_us_p50: float | None
    delay_error_us_p99: float | None
    cut_to_webhook_s: float | None
    heal_to_resolve_s: float | None
    network_alarms: int
    probe_alarms: int
    cause_named: bool  # the network alarm names the very link that was cut
    grey_streams: int  # streams of the killed probe that were grey with the reason `probe_dead`
    grey_streams_wanted: int
    throughput_mbps: float | None
    throughput_set_mbps: float
    memory_mib: float  # largest sum of PSS over all parts, the browser left out
    restarts: dict[str, int]
    killed: list[str]
    seconds: float
    page_url: str
    page_html: str
    report_pdf: str
    report_recomputed: bool  # the store gave the same snapshot again


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One promise and what came of it."""

    what: str
    figure: str
    bar: str
    holds: bool


def bars(result: DemoResult) -> Iterator[Bar]:
    """Yield each bar with its figure."""
    yield _equal("conservation residual (batches)", result.residual, 0)
    yield _equal("quarantined (batches)", result.summaries_quarantined, 0)
    yield Bar(
        what="loss equals the ledger, packet for packet",
        figure=f"{result.packets_compared} packets, {len(result.mismatches)} differences",
        bar="0 differences",
        holds=result.loss_equals_ledger and result.packets_compared > 0,
    )
    yield _at_most("cut to webhook, s", result.cut_to_webhook_s, CUT_TO_WEBHOOK_S)
    yield _at_most("heal to resolve, s", result.heal_to_resolve_s, HEAL_TO_RESOLVE_S)
    yield _equal("network alarms", result.network_alarms, 1)
    yield Bar(what="the cut link is named", figure=str(result.cause_named), bar="True", holds=result.cause_named)
    yield _equal("alarms for the dead probe", result.probe_alarms, 1)
    yield _equal("its streams grey, none red", result.grey_streams, result.grey_streams_wanted)
    yield _throughput(result)
    yield Bar(
        what="the report's numbers, read again",
        figure="the same" if result.report_recomputed else "they differ",
        bar="the same",
        holds=result.report_recomputed,
    )
    yield _at_most("memory of all parts, MiB PSS", result.memory_mib, MEMORY_MIB)
    for part in result.killed:
        yield Bar(
            what=f"{part} came back after its kill",
            figure=f"{result.restarts.get(part, 0)} restarts",
            bar=">= 1",
            holds=result.restarts.get(part, 0) >= 1,
        )


def _equal(what: str, figure: int, wanted: int) -> Bar:
    return Bar(what=what, figure=str(figure), bar=str(wanted), holds=figure == wanted)


def _at_most(what: str, figure: float | None, limit: float) -> Bar:
    said = "never" if figure is None else f"{figure:.1f}"
    return Bar(what=what, figure=said, bar=f"<= {limit:g}", holds=figure is not None and figure <= limit)


def _throughput(result: DemoResult) -> Bar:
    figure, wanted = result.throughput_mbps, result.throughput_set_mbps
    return Bar(
        what="throughput on the limited link, Mbit/s",
        figure="none" if figure is None else f"{figure:.3f}",
        bar=f"{wanted:g} +- {THROUGHPUT_TOLERANCE:.0%}",
        holds=figure is not None and abs(figure - wanted) <= THROUGHPUT_TOLERANCE * wanted,
    )
