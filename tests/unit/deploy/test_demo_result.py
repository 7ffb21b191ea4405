from typing import Any

import pytest

from deploy.demo.result import DemoResult, bars

GOOD = DemoResult(
    packets_sent=100,
    packets_planned=100,
    summaries_produced=4,
    summaries_stored=4,
    summaries_quarantined=0,
    summaries_dropped=0,
    residual=0,
    loss_equals_ledger=True,
    packets_compared=100,
    packets_lost=1,
    mismatches=[],
    delay_error_us_p50=10.0,
    delay_error_us_p99=50.0,
    cut_to_webhook_s=5.0,
    heal_to_resolve_s=12.0,
    network_alarms=1,
    probe_alarms=1,
    cause_named=True,
    grey_streams=56,
    grey_streams_wanted=56,
    throughput_mbps=9.8,
    throughput_set_mbps=10.0,
    memory_mib=1000.0,
    restarts={"worker": 1},
    killed=["worker"],
    seconds=90.0,
    page_url="",
    page_html="",
    report_pdf="",
    report_recomputed=True,
)


def failing(**changes: object) -> list[str]:
    fields: dict[str, Any] = {name: getattr(GOOD, name) for name in DemoResult.__struct_fields__} | changes
    return [bar.what for bar in bars(DemoResult(**fields)) if not bar.holds]


def test_a_good_run_holds_every_bar() -> None:
    assert failing() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"residual": 1},
        {"summaries_quarantined": 1},
        {"loss_equals_ledger": False},
        {"packets_compared": 0},
        {"cut_to_webhook_s": 10.1},
        {"cut_to_webhook_s": None},
        {"heal_to_resolve_s": 30.1},
        {"network_alarms": 2},
        {"network_alarms": 0},
        {"probe_alarms": 2},
        {"cause_named": False},
        {"grey_streams": 55},
        {"throughput_mbps": 9.4},
        {"throughput_mbps": None},
        {"memory_mib": 2049.0},
        {"restarts": {}},
        {"report_recomputed": False},
    ],
)
def test_each_bar_fails_alone_when_its_figure_does(changes: dict[str, Any]) -> None:
    assert len(failing(**changes)) == 1
