"""Read what a report stands on, and name it by a hash: the same rows give the same report for ever."""

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from schemas.errors import ConfigError

Row = dict[str, Any]


class Rows(Protocol):
    """The one method of the store that a report needs."""

    def rows(self, query_name: str, /, **params: Any) -> list[Row]:  # noqa: ANN401 - the store's
        """Return the rows of a named query."""


class ReportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which mesh, and which half-open interval of whole minutes, in seconds of UTC."""

    mesh: str
    from_s: int
    until_s: int
    exercise: bool = False  # a report on drills only; never mixed with real incidents


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a report, as they were read."""

    request: ReportRequest
    mesh_version: str
    timezone: str
    streams: list[Row]
    incidents: list[Row]
    throughput: list[Row]


def read_snapshot(store: Rows, request: ReportRequest) -> Snapshot:
    """Return the rows of the period.

    Raises:
        ConfigError: the period is not of whole minutes, is empty, or no mesh was in force at its end.
    """
    _check_period(request)
    meshes = store.rows("report_mesh", mesh=request.mesh, until_s=request.until_s)
    if not meshes:
        raise ConfigError(f"no version of mesh {request.mesh!r} was in force; apply one with `isochrone mesh apply`")
    seconds = {"from_s": request.from_s, "until_s": request.until_s}
    incidents = store.rows(
        "report_incidents",
        mesh=request.mesh,
        from_ms=request.from_s * 1000,
        until_ms=request.until_s * 1000,
        exercise=int(request.exercise),
    )
    return Snapshot(
        request=request,
        mesh_version=str(meshes[0]["version"]),
        timezone=str(meshes[0]["timezone"]),
        streams=store.rows("report_streams", mesh=request.mesh, **seconds),
        incidents=incidents,
        throughput=store.rows("report_throughput", mesh=request.mesh, **seconds),
    )


def _check_period(request: ReportRequest) -> None:
    if request.from_s % 60 != 0 or request.until_s % 60 != 0 or request.until_s <= request.from_s:
        raise ConfigError(
            f"period [{request.from_s}, {request.until_s}) must be one or more whole minutes: windows are never cut"
        )


def snapshot_hash(snapshot: Snapshot) -> str:
    """Return the name of the rows: blake2b-128 of their canonical JSON, incidents' present state left out.

    Incidents are told as they stood when the report was issued; they may resolve later without touching a number.
    """
    numbers: Mapping[str, object] = {
        "request": snapshot.request,
        "mesh_version": snapshot.mesh_version,
        "streams": snapshot.streams,
        "throughput": snapshot.throughput,
    }
    canonical = msgspec.json.encode(numbers, order="sorted")
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()
