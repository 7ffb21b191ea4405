import hashlib

import pytest

from alerts.evaluator import shipped_policy
from alerts.policy import Policy, load_policy
from schemas.errors import ConfigError

MINIMAL = """
id = "x"
version = 1
[[rule]]
id = "down"
version = 1
metric = "loss_run_ms"
statistic = "max"
direction = "round_trip"
period = "slot"
state = "down"
raise_above = 1000.0
clear_below = 1000.0
min_packets = 5
min_coverage = 0.9
severity = "P2"
alarming = true
source = "s"
confidence = "low"
"""

# Every (id, version) that ever shipped and what it meant. A line is never changed: a new meaning is a new line.
MEANINGS = {
    ("down-loss-run", 1): "12d0fcee",
    ("degraded-loss-window", 1): "6439ca05",
    ("circle-20ms-optical", 1): "8a9c61f7",
    ("latency-1.5x-theory", 1): "7f5c6d38",
    ("crossing-loss-0.01pct", 1): "1d93f96c",
    ("demo-down-loss-run", 1): "12d0fcee",
    ("demo-degraded-loss-window", 1): "6439ca05",
}


def meaning(policy: Policy) -> dict[tuple[str, int], str]:
    found = {}
    for rule in policy.rule:
        what = (rule.metric, rule.statistic, rule.direction, rule.period, rule.plane, rule.state, rule.raise_above)
        more = (rule.clear_below, rule.min_packets, rule.min_coverage, rule.window_s, rule.min_slots)
        found[rule.id, rule.version] = hashlib.blake2b(repr(what + more).encode(), digest_size=4).hexdigest()
    return found


@pytest.mark.parametrize("name", ["default", "demo"])
def test_a_shipped_policy_keeps_the_meaning_of_every_rule_id(name: str) -> None:
    for key, found in meaning(shipped_policy(name)).items():
        assert MEANINGS.get(key) == found, f"{key} means {found}"


def test_the_shipped_policies_share_no_rule_id() -> None:
    assert not meaning(shipped_policy("default")).keys() & meaning(shipped_policy("demo")).keys()


def test_no_demand_of_a_policy_text_is_an_alarm() -> None:
    alarming = {rule.id for rule in shipped_policy("default").rule if rule.alarming}
    assert alarming == {"down-loss-run", "degraded-loss-window"}


def test_a_minimal_policy_holds() -> None:
    assert load_policy(MINIMAL, source="p.toml").rule[0].id == "down"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("min_packets", "min_packet", "did you mean `min_packets`"),
        ('direction = "round_trip"', 'direction = "one_way"', "`loss_run_ms` has no direction `one_way`"),
        ('statistic = "max"', 'statistic = "p50"', "has no statistic"),
        ("clear_below = 1000.0", "clear_below = 2000.0", "clear at or under"),
        ('period = "slot"', 'period = "day"', "no alarm can rest on"),
        ("alarming = true", "alarming = false", "nothing is ever down"),
        ("min_coverage = 0.9", "min_coverage = 90.0", "share from 0 to 1"),
    ],
)
def test_a_rule_that_cannot_hold_is_refused_with_the_remedy(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_policy(MINIMAL.replace(old, new), source="p.toml")


def test_a_rule_id_may_stand_once() -> None:
    twice = MINIMAL + MINIMAL[MINIMAL.index("[[rule]]") :]
    with pytest.raises(ConfigError, match="stands twice"):
        load_policy(twice, source="p.toml")


@pytest.mark.parametrize("name", ["nightly", "../secret"])
def test_an_unknown_shipped_policy_names_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=r"default\.toml|default, demo"):
        shipped_policy(name)
