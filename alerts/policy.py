"""Rules as rows: one TOML file -> the rules, the holds and the limits of silence that judge and converge follow."""

from typing import Final, Literal

import msgspec

from schemas.config import load
from schemas.errors import ConfigError

Metric = Literal[
    "loss_run_ms",
    "loss_ratio",
    "loss_forward_ratio",
    "rtt_ms",
    "forward_ms",
    "forward_over_theory_ratio",
    "ipdv_forward_ms",
]
Statistic = Literal["max", "ratio", "p50", "p95", "p99", "mean"]
Direction = Literal["one_way", "round_trip", "half_rtt"]
Period = Literal["slot", "window", "busy_hour", "day", "month"]
Severity = Literal["P1", "P2", "P3", "P4", "info"]
SEVERITIES: Final[tuple[Severity, ...]] = ("P1", "P2", "P3", "P4", "info")

# What a metric may be read as: a limit on one way is no limit on the round trip, and the judge never mixes them.
DIRECTIONS: Final[dict[Metric, tuple[Direction, ...]]] = {
    "loss_run_ms": ("round_trip",),
    "loss_ratio": ("round_trip",),
    "loss_forward_ratio": ("one_way",),
    "rtt_ms": ("round_trip", "half_rtt"),
    "forward_ms": ("one_way",),
    "forward_over_theory_ratio": ("one_way", "half_rtt"),
    "ipdv_forward_ms": ("one_way",),
}
STATISTICS: Final[dict[Metric, tuple[Statistic, ...]]] = {
    "loss_run_ms": ("max",),
    "loss_ratio": ("ratio",),
    "loss_forward_ratio": ("ratio",),
    "rtt_ms": ("p50", "p95", "p99", "mean"),
    "forward_ms": ("p50", "p95", "p99", "mean"),
    "forward_over_theory_ratio": ("p50", "mean"),
    "ipdv_forward_ms": ("p50", "p95", "p99", "mean"),
}
# The live judge raises alarms on these alone; every other rule is for assessment over longer periods.
ALARM_PERIODS: Final[dict[Metric, Period]] = {"loss_run_ms": "slot", "loss_ratio": "window"}


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Rule(_Row, frozen=True, kw_only=True):
    """One rule; its id is never given to another meaning, and a changed limit is a new version."""

    id: str
    version: int
    metric: Metric
    statistic: Statistic
    direction: Direction
    period: Period
    plane: str = "any"
    state: Literal["degraded", "down"] = "degraded"  # what a stream is that breaks it
    raise_above: float  # raised at this value or more
    clear_below: float  # cleared under this value
    min_packets: int
    min_coverage: float  # sent / planned that a good grade needs
    severity: Severity
    alarming: bool = False  # False: a verdict for the report, never an incident
    hold_s: int = 60  # an interruption (by its packets, not by our clock) shorter than this calls nobody
    window_s: int = 60  # packets pooled into one figure; `slot` rules look at runs and need none
    min_slots: int = 1  # losses must be spread over so many slots of the window: one burst is an interruption
    clear_s: int = 10  # clean seconds after a run that prove the return
    source: str
    confidence: Literal["high", "medium", "low"]


class Liveness(_Row, frozen=True, kw_only=True):
    """When silence means something."""

    probe_dead_s: int = 25  # two heartbeats and a half
    pipeline_silent_s: int = 90  # nothing arrives of anyone: longer than a restart of worker, broker or store
    late_s: int = 8  # after a slot's end and its timeout: the time that publish, fold and store may take
    learning_s: int = 120  # after a plan begins, a probe never heard of is learning, not dead
    lookback_s: int = 240  # rows that a verdict may rest on; the hysteresis reaches no further
    ok_packets: int = 50  # fewer in the newest whole slot say nothing


class IncidentPolicy(_Row, frozen=True, kw_only=True):
    """How verdicts become calls."""

    settle_s: int = 5  # wait for more evidence while the cause is ambiguous or still growing
    node_hold_s: int = 0  # an isolated node calls at once
    probe_hold_s: int = 60  # silence of a probe, from its last word
    resolve_s: int = 60  # clear so long before it is resolved; doubled by every flap
    flap_window_s: int = 600  # back within this joins the same incident
    flash_s: int = 60  # a shorter interruption is flagged as one
    notify_suspected: bool = False
    notify_updates: bool = True  # a refined cause is told


class Policy(_Row, frozen=True, kw_only=True):
    """A policy file."""

    id: str
    version: int
    rule: tuple[Rule, ...]
    liveness: Liveness = Liveness()
    incident: IncidentPolicy = IncidentPolicy()


def load_policy(text: str, *, source: str) -> Policy:
    """Return the policy of a TOML text.

    Args:
        text: the whole file.
        source: what to call it in an error.

    Raises:
        ConfigError: an unknown key, a wrong type, or rules that break a rule: one line each, with the remedy.
    """
    policy = load(text, Policy, source=source)
    faults = [fault for rule in policy.rule for fault in _faults(rule)]
    ids = [rule.id for rule in policy.rule]
    faults += [
        f"rule `{each}` stands twice; give the second an id of its own" for each in set(ids) if ids.count(each) > 1
    ]
    if not any(rule.metric == "loss_run_ms" and rule.alarming and rule.plane == "any" for rule in policy.rule):
        faults.append("no alarming `loss_run_ms` rule for plane `any`; without it nothing is ever down; add one")
    if faults:
        raise ConfigError("\n".join(f"{source}: {fault}" for fault in faults))
    return policy


def check_direction(rule: Rule, direction: Direction) -> None:
    """Refuse to hold a figure of one direction against a limit of another.

    Raises:
        ConfigError: they differ.
    """
    if rule.direction != direction:
        raise ConfigError(
            f"rule `{rule.id}` limits {rule.direction}, the figure is {direction}; judge it by a rule of its direction"
        )


def _faults(rule: Rule) -> list[str]:
    name = f"rule `{rule.id}`"
    faults = []
    if rule.direction not in DIRECTIONS[rule.metric]:
        known = ", ".join(DIRECTIONS[rule.metric])
        faults.append(f"{name}: `{rule.metric}` has no direction `{rule.direction}`; it is one of: {known}")
    if rule.statistic not in STATISTICS[rule.metric]:
        known = ", ".join(STATISTICS[rule.metric])
        faults.append(f"{name}: `{rule.metric}` has no statistic `{rule.statistic}`; it is one of: {known}")
    if rule.clear_below > rule.raise_above:
        faults.append(f"{name}: clears below {rule.clear_below} and raises at {rule.raise_above}; clear at or under it")
    if rule.alarming and ALARM_PERIODS.get(rule.metric) != rule.period:
        faults.append(f"{name}: no alarm can rest on `{rule.metric}` by `{rule.period}`; write `alarming = false`")
    if not 0.0 <= rule.min_coverage <= 1.0:
        faults.append(f"{name}: min_coverage is {rule.min_coverage}; it is a share from 0 to 1")
    return faults
