"""A store of the mind for the evaluator and the relay: the two calls, over a `World` and plain lists of rows."""

from collections.abc import Sequence
from typing import Any

from support.alert_world import START_MS, World

from alerts.door import Param, Row
from schemas.errors import StoreTransientError
from schemas.mesh_rows import mesh_rows
from schemas.tables import TableSpec

_YEAR_MS = 365 * 86_400_000


class AlertStore:
    """Answers the queries by name as their SQL would; `now_ms` is set by the test."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now_ms = START_MS
        self.plan: dict[str, list[dict[str, Any]]] = mesh_rows(world.mesh, (START_MS - 600_000) // 1000)
        self.tables: dict[str, list[Row]] = {}
        self.away = False

    def insert(self, table: TableSpec, rows: Sequence[tuple[Any, ...]]) -> None:
        if self.away:
            raise StoreTransientError("insert: no answer")
        for row in rows:
            self.tables.setdefault(table.name, []).append(dict(zip(table.columns, row, strict=True)))

    def rows(self, query_name: str, /, **params: Param) -> list[Row]:
        if self.away:
            raise StoreTransientError("query: no answer")
        answer: list[Row] = getattr(self, f"_{query_name}")(params)
        return answer

    def told(self, name: str = "hook") -> list[Row]:
        """Return the deliveries that arrived at a target."""
        return [
            row for row in self.tables.get("delivery", []) if (row["target"], row["outcome"]) == (name, "delivered")
        ]

    def incidents(self) -> list[Row]:
        """Return the present revision of every incident, in order of opening."""
        newest: dict[str, Row] = {}
        for row in self.tables.get("incident", []):
            newest[row["incident_id"]] = max(
                newest.get(row["incident_id"], row), row, key=lambda each: each["revision"]
            )
        return sorted(newest.values(), key=lambda each: each["opened_ms"])

    def _judge_mesh(self, params: dict[str, Any]) -> list[Row]:
        found = [row for row in self.plan["mesh"] if row["valid_from"] <= params["at_s"]]
        return [{**row, "valid_from_s": row["valid_from"]} for row in found[-1:]]

    def _judge_streams(self, params: dict[str, Any]) -> list[Row]:
        return [row for row in self.plan["stream"] if row["version"] == params["version"]]

    def _judge_places(self, params: dict[str, Any]) -> list[Row]:
        nodes = {row["node"]: row for row in self.plan["node"]}
        found = (row for row in self.plan["endpoint"] if row["version"] == params["version"])
        return [{**row, **{name: nodes[row["node"]][name] for name in ("name_zh", "name_en")}} for row in found]

    def _judge_rows(self, params: dict[str, Any]) -> list[Row]:
        return self.world.visible(
            self.now_ms, from_ms=params["from_s"] * 1000, received_from_ms=params["received_from_ms"]
        )

    def _judge_heard(self, _params: dict[str, Any]) -> list[Row]:
        heard = self.world.heard_ms.items()
        return [{"probe_id": probe, "heard_ms": at_ms} for probe, at_ms in heard if at_ms <= self.now_ms]

    def _judge_pulse(self, params: dict[str, Any]) -> list[Row]:
        return [{"second": second} for second in self.world.pulse if params["from_s"] <= second <= self.now_ms // 1000]

    def _incident_present(self, params: dict[str, Any]) -> list[Row]:
        since_ms = params["resolved_from_ms"]
        return [row for row in self.incidents() if row["state"] != "resolved" or row["resolved_ms"] >= since_ms]

    def _incident_notices(self, params: dict[str, Any]) -> list[Row]:
        asked = [row for row in self.tables.get("incident", []) if '"notice":' in row["evidence"]]
        kept = [row for row in asked if row["updated_ms"] >= params["from_ms"]]
        return sorted(kept, key=lambda row: (row["incident_id"], row["revision"]))

    def _incident_deliveries(self, params: dict[str, Any]) -> list[Row]:
        found: dict[tuple[str, str, str], Row] = {}
        for row in self.tables.get("delivery", []):
            key = (row["incident_id"], row["notice"], row["target"])
            start = {
                **dict(zip(("incident_id", "notice", "target"), key, strict=True)),
                "attempts": 0,
                "last_ms": 0,
                "done": 0,
            }
            one = found.setdefault(key, start)
            one["attempts"] = max(one["attempts"], row["attempt"])
            one["last_ms"] = max(one["last_ms"], row["at_ms"])
            one["done"] = max(one["done"], int(row["outcome"] in ("delivered", "abandoned")))
        return [row for row in found.values() if row["last_ms"] >= params["from_ms"]]
