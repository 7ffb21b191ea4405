"""Notices to people: at least once, in order, with proof of arrival in `delivery`. Its outbox is the incident table.

A notice is a revision that asks for one; it is done at a target once a 2xx answer is on record there. Only configured
addresses are called, redirects are not followed, and no proxy of the environment is used.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import msgspec
import structlog

from alerts.door import Door, Row
from alerts.incident import Incident
from alerts.ledger import incident_of, write_delivery
from alerts.messages import first_checks
from schemas.clock import Clock, wall_ms
from schemas.errors import ConfigError, StoreTransientError
from streams.store import StoreConfig, open_store

log = structlog.get_logger(__name__)

_LONGEST_BACKOFF_S: Final = 300.0
CONSOLE: Final = "console"


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A webhook."""

    name: str  # of the target, in the table `delivery`
    url: str
    timeout_s: float = 5.0


class RelayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to tell."""

    mesh: str
    store: StoreConfig
    targets: tuple[Target, ...] = ()
    console: bool = True  # print both languages too
    period_s: float = 0.5
    first_backoff_s: float = 1.0  # doubled by every attempt
    give_up_s: int = 86_400  # an older notice is abandoned, which is on record too


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt came to."""

    delivered: bool
    status_code: int  # 0: no answer
    detail: str


class _Attempt(msgspec.Struct, frozen=True, kw_only=True):
    incident: Incident
    row: Row
    target: str
    number: int


Send = Callable[[Target, bytes], Outcome]


def check_targets(targets: Sequence[Target]) -> None:
    """Refuse targets that cannot be called.

    Raises:
        ConfigError: a name twice or taken, or an address that is not http or https with a host.
    """
    names = [target.name for target in targets]
    for target in targets:
        parts = urlsplit(target.url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ConfigError(
                f"relay target `{target.name}`: wanted http://host... or https://host..., got another address"
            )
        if target.name == CONSOLE or names.count(target.name) > 1:
            raise ConfigError(f"relay target `{target.name}`: the name is taken; give every target one of its own")


def payload(row: Row) -> dict[str, Any]:
    """Return the JSON of a webhook from a row of `incident_notices`."""
    incident = incident_of(row)
    checks_zh, checks_en = first_checks(incident.cause_kind)
    trail = incident.trail
    return {
        "version": 1,
        "notice": incident.notice,
        "incident_id": incident.incident_id,
        "mesh": incident.mesh,
        "state": incident.state,
        "category": incident.category,
        "severity": trail.severity,
        "exercise": incident.exercise,
        "cause_kind": incident.cause_kind,
        "cause": incident.cause,
        "cause_name_zh": trail.name_zh,
        "cause_name_en": trail.name_en,
        "as_likely": list(trail.equal),
        "confidence": incident.confidence,
        "members": len(incident.members),
        "opened_ms": incident.opened_ms,
        "updated_ms": incident.updated_ms,
        "resolved_ms": incident.resolved_ms if incident.state == "resolved" else None,
        "flash": trail.flash,
        "flaps": trail.flaps,
        "rules": incident.rule_versions,
        "text_zh": row["summary_zh"],
        "text_en": row["summary_en"],
        "first_checks_zh": list(checks_zh),
        "first_checks_en": list(checks_en),
        "acknowledge": f"isochrone incident ack {incident.incident_id}",
    }


class Relay:
    """Tells what the tables say is not told yet; keeps nothing of its own."""

    def __init__(self, store: Door, config: RelayConfig, send: Send, say: Callable[[str], None]) -> None:
        self._store = store
        self._config = config
        self._send = send
        self._say = say

    def step(self, now_ms: int) -> int:
        """Make every attempt that is due, and return how many notices arrived.

        Raises:
            StoreTransientError: the store is away; what was sent without a record is sent again.
        """
        due = self._due(now_ms)
        targets = {target.name: target for target in self._config.targets}
        calls = [(each, targets[each.target]) for each in due if each.target in targets]
        arrived = 0
        for each in due:
            if each.target == CONSOLE:
                self._say(f"{each.row['summary_zh']}\n{each.row['summary_en']}")
                self._record(each, Outcome(delivered=True, status_code=0, detail="printed"), now_ms)
                arrived += 1
        if len(calls) == 0:
            return arrived
        with ThreadPoolExecutor(max_workers=min(8, len(calls)), thread_name_prefix="relay") as pool:
            sent = [pool.submit(self._send, target, _body(each.row)) for each, target in calls]
            for (each, _), future in zip(calls, sent, strict=True):
                outcome = future.result()
                self._record(each, outcome, now_ms)
                arrived += int(outcome.delivered)
        return arrived

    def _due(self, now_ms: int) -> list[_Attempt]:
        """Return at most one attempt a (incident, target): the first notice there that is not done, when it is due."""
        since_ms = now_ms - 2 * self._config.give_up_s * 1000
        rows = self._store.rows("incident_notices", mesh=self._config.mesh, from_ms=since_ms)
        if len(rows) == 0:
            return []
        tried = {
            (row["incident_id"], row["notice"], row["target"]): row
            for row in self._store.rows("incident_deliveries", from_ms=since_ms)
        }
        names = [target.name for target in self._config.targets] + ([CONSOLE] if self._config.console else [])
        return [each for name in names for each in self._first_open(rows, tried, name, now_ms)]

    def _first_open(
        self, rows: Iterable[Row], tried: Mapping[tuple[str, str, str], Row], name: str, now_ms: int
    ) -> list[_Attempt]:
        waiting: dict[str, _Attempt | None] = {}
        for row in rows:
            incident = incident_of(row)
            before = tried.get((incident.incident_id, incident.notice, name))
            if incident.incident_id in waiting or (before is not None and before["done"]):
                continue
            if before is None and self._is_old(incident, now_ms):
                continue
            number = 1 if before is None else before["attempts"] + 1
            attempt = _Attempt(incident=incident, row=row, target=name, number=number)
            waiting[incident.incident_id] = attempt if self._is_time(before, now_ms) else None
        return [attempt for attempt in waiting.values() if attempt is not None]

    def _is_time(self, before: Row | None, now_ms: int) -> bool:
        if before is None:
            return True
        wait_s = min(self._config.first_backoff_s * 2.0 ** min(before["attempts"] - 1, 30), _LONGEST_BACKOFF_S)
        return bool(now_ms - before["last_ms"] >= wait_s * 1000)

    def _is_old(self, incident: Incident, now_ms: int) -> bool:
        return now_ms - incident.updated_ms > self._config.give_up_s * 1000

    def _record(self, each: _Attempt, outcome: Outcome, now_ms: int) -> None:
        given_up = "abandoned" if self._is_old(each.incident, now_ms) else "failed"
        word = "delivered" if outcome.delivered else given_up
        write_delivery(
            self._store,
            each.incident,
            target=each.target,
            attempt=each.number,
            at_ms=now_ms,
            outcome=word,
            status_code=outcome.status_code,
            detail=outcome.detail,
        )
        log.info(
            "notice sent",
            incident_id=each.incident.incident_id,
            notice=each.incident.notice,
            target=each.target,
            outcome=word,
            attempt=each.number,
            status_code=outcome.status_code,
        )


def run_relay(config: RelayConfig, *, clock: Clock, stop: Event) -> None:
    """Deliver until `stop` is set; a store or a target that is away is tried again.

    Raises:
        ConfigError: a target cannot be called.
        StorePermanentError: the store refuses a query or a row.
    """
    check_targets(config.targets)
    with open_store(config.store) as store, httpx2.Client(follow_redirects=False, trust_env=False) as client:
        relay = Relay(store, config, lambda target, body: post(client, target, body), print_line)
        while not stop.is_set():
            try:
                relay.step(wall_ms(clock))
            except StoreTransientError as err:
                log.warning("store away, delivering later", error=str(err))
            stop.wait(config.period_s)


def post(client: httpx2.Client, target: Target, body: bytes) -> Outcome:
    """Return what became of one POST: 2xx is arrival, anything else is not."""
    headers = {"content-type": "application/json; charset=utf-8"}
    try:
        answer = client.post(target.url, content=body, headers=headers, timeout=target.timeout_s)
    except httpx2.HTTPError as err:
        return Outcome(delivered=False, status_code=0, detail=f"{type(err).__name__}: {err}")
    return Outcome(delivered=answer.is_success, status_code=answer.status_code, detail=answer.reason_phrase)


def print_line(text: str) -> None:
    """Print a notice, without the control characters that a name could smuggle in."""
    clean = "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
    print(clean, flush=True)  # noqa: T201 - the console is a target


def _body(row: Row) -> bytes:
    return json.dumps(payload(row), ensure_ascii=False).encode()
