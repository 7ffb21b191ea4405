"""Snapshots for report tests: small, made by hand, with every kind of row."""

from dashboards.reports.snapshot import ReportRequest, Row, Snapshot


def stream_row(source: str, destination: str, **changes: object) -> Row:
    row: Row = {
        "stream_id": 1,
        "source": f"{source}/telecom",
        "destination": f"{destination}/telecom",
        "source_node": source,
        "destination_node": destination,
        "method": "stamp",
        "plane": "ip_public",
        "relation": "intra_network",
        "distance_km": 100.0,
        "planned": 600,
        "sent": 600,
        "received": 600,
        "lost_forward": 0,
        "lost_backward": 0,
        "lost_unresolved": 0,
        "loaded_sent": 0,
        "minutes": 1,
        "clock_synchronised": 1,
        "clock_error_us": 10,
        "loss_run_max": 0,
        "delay_bin": [459],
        "delay_count": [600],
        "ipdv_pairs": 599,
        "ipdv_abs_sum_us": 59900,
    }
    return row | changes


def silent_row(source: str, destination: str) -> Row:
    zeros = dict.fromkeys(("sent", "received", "minutes", "ipdv_pairs", "ipdv_abs_sum_us", "clock_error_us"), 0)
    return stream_row(source, destination, **zeros, clock_synchronised=0, delay_bin=[], delay_count=[])


def snapshot(streams: list[Row], **changes: object) -> Snapshot:
    parts: dict[str, object] = {
        "request": ReportRequest(mesh="demo", from_s=1_800_000_000, until_s=1_800_000_060),
        "mesh_version": "0123456789abcdef",
        "timezone": "Asia/Shanghai",
        "streams": streams,
        "incidents": [],
        "throughput": [],
    }
    return Snapshot(**(parts | changes))  # type: ignore[arg-type]  # the parts above have the declared types


class FakeRows:
    """The store's one method over fixed answers; remembers what was asked."""

    def __init__(self, answers: dict[str, list[Row]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, object]]] = []

    def rows(self, query_name: str, /, **params: object) -> list[Row]:
        self.asked.append((query_name, params))
        return self.answers.get(query_name, [])
