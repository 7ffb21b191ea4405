"""What a topic must have, and how the refusal reads; the broker itself is asked in the functional tests."""

from collections.abc import Sequence
from typing import Any

import pytest
from kafka.errors import UnknownTopicOrPartitionError

from deploy import topics_admin
from deploy.topics_admin import Difference, Profile, differences, ensure_topics, refusal, wanted_settings
from schemas.clock import ManualClock
from schemas.errors import ConfigError, UnavailableError
from schemas.topics import SUMMARY, TOPICS


@pytest.mark.parametrize(("profile", "partitions", "replicas"), [("embedded", "16", "1"), ("production", "64", "3")])
def test_partitions_and_replication_follow_the_profile(profile: Profile, partitions: str, replicas: str) -> None:
    wanted = wanted_settings(SUMMARY, profile)
    assert (wanted["partitions"], wanted["replication.factor"]) == (partitions, replicas)


def test_lateness_is_judged_by_the_brokers_clock_everywhere() -> None:
    assert wanted_settings(SUMMARY, "embedded")["message.timestamp.type"] == "LogAppendTime"


def test_in_production_an_acknowledgement_means_two_disks() -> None:
    assert wanted_settings(SUMMARY, "production")["min.insync.replicas"] == "2"


def test_settings_that_nobody_relies_on_may_differ() -> None:
    wanted = {"retention.ms": "1"}
    assert differences("t", wanted, {"retention.ms": "1", "segment.bytes": "7"}) == []


def test_a_setting_that_the_broker_does_not_name_is_a_difference() -> None:
    missing = Difference(topic="t", setting="retention.ms", found=None, wanted="1")
    assert differences("t", {"retention.ms": "1"}, {}) == [missing]


def test_the_refusal_names_topic_setting_found_wanted_and_remedy() -> None:
    text = refusal("127.0.0.1:9092", [Difference(topic="t", setting="retention.ms", found="5", wanted="1")])
    assert "t: retention.ms is 5, wanted 1" in text
    assert (
        "kafka-configs.sh --bootstrap-server 127.0.0.1:9092 "
        "--entity-type topics --entity-name t --alter --add-config retention.ms=1"
    ) in text


def test_the_admin_refuses_plain_text_to_another_machine_before_it_speaks() -> None:
    with pytest.raises(ConfigError, match="allow_plaintext"):
        ensure_topics("192.0.2.1:9092", TOPICS, "production", deadline_s=0.1)


class SlowBroker:
    """An admin client of a broker that hears of a topic only after so many questions."""

    def __init__(self, deaf: int, error: type[Exception] | None = None) -> None:
        self.deaf = deaf
        self.error = error

    def describe_configs(self, resources: Sequence[object], config_filter: object) -> Any:  # noqa: ANN401, ARG002 - as the client's
        return {"topic": {"t": {"retention.ms": {"value": "5"}}}}

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        self.deaf -= 1
        if self.deaf >= 0 and self.error is not None:
            raise self.error
        return [
            {"name": name, "partitions": [] if self.deaf >= 0 else [{"replica_nodes": [1, 2, 3]}]} for name in names
        ]


@pytest.mark.parametrize("error", [None, UnknownTopicOrPartitionError])
def test_a_topic_is_asked_for_until_the_broker_that_is_asked_knows_it(error: type[Exception] | None) -> None:
    found = topics_admin._await_known(SlowBroker(3, error), ["t"], 5.0, ManualClock())
    assert found == {"t": {"partitions": "1", "replication.factor": "3", "retention.ms": "5"}}


def test_a_broker_that_never_hears_of_a_topic_is_not_waited_for_for_ever() -> None:
    clock = ManualClock()
    with pytest.raises(UnavailableError, match="waited 5 s for a broker to know the topics t"):
        topics_admin._await_known(SlowBroker(10_000), ["t"], 5.0, clock)
    assert 5e9 < clock.mono_ns() < 6e9


@pytest.mark.parametrize(
    ("found", "setting"),
    [({"replication.factor": "2"}, "replication.factor"), ({"min.insync.replicas": "1"}, "min.insync.replicas")],
)
def test_f06_in_production_fewer_than_three_replicas_or_two_disks_are_a_difference(
    found: dict[str, str], setting: str
) -> None:
    wanted = wanted_settings(SUMMARY, "production")
    assert [each.setting for each in differences("t", wanted, wanted | found)] == [setting]
