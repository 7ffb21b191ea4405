"""The broker's configuration text, and what is refused before it is written."""

from pathlib import Path

import pytest

from deploy.embedded.kafka.config import BrokerPlace, server_properties
from deploy.embedded.kafka.install import LOCK, kafka_version
from deploy.embedded.kafka.java import parse_version
from deploy.embedded.kafka.storage import new_cluster_id
from schemas.errors import ConfigError
from schemas.topics import TOPICS

PLACE = BrokerPlace(state_dir=Path("/srv/kafka"), port=19092, controller_port=19093)


def properties(place: BrokerPlace = PLACE) -> dict[str, str]:
    return dict(line.split("=", 1) for line in server_properties(place).splitlines())


def test_every_listener_is_on_the_loopback() -> None:
    settings = properties()
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093"
    assert settings["advertised.listeners"] == "PLAINTEXT://127.0.0.1:19092"
    assert settings["controller.quorum.voters"] == "1@127.0.0.1:19093"


def test_a_killed_brokers_registration_expires_in_two_seconds() -> None:
    assert properties()["broker.session.timeout.ms"] == "2000"
    assert properties()["controlled.shutdown.enable"] == "true"


def test_topics_are_never_created_by_accident() -> None:
    assert properties()["auto.create.topics.enable"] == "false"


def test_the_broker_takes_the_largest_message_that_a_topic_allows() -> None:
    assert int(properties()["message.max.bytes"]) >= max(spec.max_message_bytes for spec in TOPICS)


def test_a_path_that_kafka_would_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="splits paths at a comma"):
        server_properties(BrokerPlace(state_dir=Path("/srv/a,b"), port=1, controller_port=2))


def test_one_port_for_both_listeners_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"kafka\.controller_port are both 9092"):
        server_properties(BrokerPlace(state_dir=Path("/srv"), port=9092, controller_port=9092))


def test_cluster_ids_are_what_kafka_takes_and_never_look_like_an_option() -> None:
    ids = {new_cluster_id() for _ in range(500)}
    assert len(ids) == 500
    assert {len(text) for text in ids} == {22}
    assert not any(text.startswith("-") for text in ids)


def test_the_locked_jars_are_those_of_the_version_in_the_pom() -> None:
    assert f"kafka_2.13-{kafka_version()}.jar" in LOCK.read_text()
    assert f"kafka-server-{kafka_version()}.jar" in LOCK.read_text()


@pytest.mark.parametrize(
    ("answer", "version", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', "17.0.15", 17),
        ('openjdk version "21" 2023-09-19', "21", 21),
        ('java version "1.8.0_362"', "1.8.0_362", 8),
    ],
)
def test_java_versions_are_read_in_all_their_shapes(answer: str, version: str, major: int) -> None:
    java = parse_version("java", answer)
    assert java is not None
    assert (java.version, java.major) == (version, major)


def test_an_answer_without_a_version_is_no_java() -> None:
    assert parse_version("java", "The operation couldn't be completed. Unable to locate a Java Runtime.") is None
