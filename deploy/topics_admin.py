"""The one admin door to Kafka: does a broker answer, and are the topics what `schemas.topics` says."""

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigFilterType, ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from probes.publish import security_settings
from schemas.clock import Clock, SystemClock
from schemas.errors import ConfigError, UnavailableError
from schemas.kafka_access import KafkaAccess, check_access
from schemas.topics import TopicSpec

Profile = Literal["embedded", "production"]

REPLICATION: Final[Mapping[Profile, int]] = {"embedded": 1, "production": 3}
ADMIN_DEADLINE_S: Final = 20.0
ANSWER_S: Final = 3.0  # for a person who waits
KNOWN_EVERY_S: Final = 0.1
CLOCK: Final = SystemClock()
PARTITIONS: Final = "partitions"
REPLICAS: Final = "replication.factor"
LOCAL: Final = KafkaAccess()  # the embedded broker's

Settings = dict[str, str]
Held = tuple[bytes, bytes, Sequence[tuple[str, bytes]]]  # key, value, headers of a message


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One setting of one topic that is not what the pipeline relies on; found is None when the broker names none."""

    topic: str
    setting: str
    found: str | None
    wanted: str


def broker_answers(bootstrap: str, deadline_s: float, access: KafkaAccess = LOCAL) -> bool:
    """Return whether the cluster at `bootstrap` answers an admin request with a broker that serves."""
    if not _somebody_listens(bootstrap, deadline_s):
        return False  # cheap and silent, where a client would retry and complain
    try:
        with _admin(bootstrap, deadline_s, access) as admin:
            brokers = admin.describe_cluster()["brokers"]
    except (KafkaError, OSError):
        return False
    return any(not broker.get("is_fenced", False) for broker in brokers)


def ensure_topics(
    bootstrap: str,
    specs: Sequence[TopicSpec],
    profile: Profile,
    *,
    access: KafkaAccess = LOCAL,
    deadline_s: float = ADMIN_DEADLINE_S,
    clock: Clock = CLOCK,
) -> tuple[str, ...]:
    """Create the topics that are missing and check those that exist; return the names of those created.

    Raises:
        ConfigError: a topic has other settings than wanted; the text names each with found, wanted and the remedy. Or
            the broker may not be spoken to like this.
        UnavailableError: the broker did not answer within `deadline_s`.
    """
    wanted = {spec.name: wanted_settings(spec, profile) for spec in specs}
    try:
        with _admin(bootstrap, deadline_s, access) as admin:
            created = _create_missing(admin, wanted)
            found = _await_known(admin, list(wanted), deadline_s, clock)
    except (KafkaError, OSError) as err:
        raise UnavailableError(f"kafka at {bootstrap}: topics not checked within {deadline_s:g} s: {err!r}") from err
    different = [line for name in wanted for line in differences(name, wanted[name], found[name])]
    if different:
        raise ConfigError(refusal(bootstrap, different))
    return created


def group_lag(bootstrap: str, group: str, access: KafkaAccess = LOCAL, *, deadline_s: float = ANSWER_S) -> int | None:
    """Return how many messages a group has not committed yet; None when the cluster does not say, or knows none.

    Raises:
        ConfigError: the broker may not be spoken to like this.
    """
    if not _somebody_listens(bootstrap, deadline_s):
        return None
    try:
        with _admin(bootstrap, deadline_s, access) as admin:
            committed = {part: found.offset for part, found in admin.list_group_offsets(group)[group].items()}
            ends = admin.list_partition_offsets(dict.fromkeys(committed, OffsetSpec.LATEST)) if committed else {}
    except (KafkaError, OSError):
        return None
    return int(sum(max(0, ends[part].offset - max(0, offset)) for part, offset in committed.items()))


def messages_at(
    bootstrap: str,
    topic: str,
    positions: Sequence[tuple[int, int]],
    access: KafkaAccess = LOCAL,
    *,
    deadline_s: float = ADMIN_DEADLINE_S,
) -> list[Held | None]:
    """Return the message at each (partition, offset) of a topic, None where the topic holds it no more.

    Raises:
        UnavailableError: the broker did not bring a message within `deadline_s`.
        ConfigError: the broker may not be spoken to like this.
    """
    check_access(access, bootstrap.split(","))
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=bootstrap,
            client_id="isochrone-admin",
            enable_auto_commit=False,
            auto_offset_reset="none",
            bootstrap_timeout_ms=round(deadline_s * 1000),
            **security_settings(access),
        )
    except (KafkaError, OSError) as err:
        raise UnavailableError(f"kafka at {bootstrap} did not answer within {deadline_s:g} s: {err!r}") from err
    try:
        return [
            _held(consumer, TopicPartition(topic, partition), offset, deadline_s) for partition, offset in positions
        ]
    except KafkaError as err:
        raise UnavailableError(f"kafka at {bootstrap}: {topic} cannot be read: {err!r}") from err
    finally:
        consumer.close()


def _held(consumer: KafkaConsumer, part: TopicPartition, offset: int, deadline_s: float) -> Held | None:
    consumer.assign([part])
    if not consumer.beginning_offsets([part])[part] <= offset < consumer.end_offsets([part])[part]:
        return None
    consumer.seek(part, offset)
    found = consumer.poll(timeout_ms=round(deadline_s * 1000), max_records=1).get(part)
    if not found:
        raise UnavailableError(f"waited {deadline_s:g} s for the message at {part.topic} {part.partition}@{offset}")
    (record,) = found
    return (record.key or b"", record.value, record.headers) if record.offset == offset else None


def wanted_settings(spec: TopicSpec, profile: Profile) -> Settings:
    """Return all that a topic must have, partitions and replication beside the topic settings."""
    partitions = {"embedded": spec.partitions_embedded, "production": spec.partitions_production}[profile]
    # An acknowledged batch must be on two disks where there is more than one.
    durable = {"min.insync.replicas": "2"} if profile == "production" else {}
    return {PARTITIONS: str(partitions), REPLICAS: str(REPLICATION[profile]), **spec.settings(), **durable}


def differences(topic: str, wanted: Settings, found: Settings) -> list[Difference]:
    """Return what is not as wanted; settings that nobody relies on are left alone."""
    return [
        Difference(topic=topic, setting=setting, found=found.get(setting), wanted=value)
        for setting, value in wanted.items()
        if found.get(setting) != value
    ]


def refusal(bootstrap: str, different: Iterable[Difference]) -> str:
    """Return the text that refuses the start: one line for each difference, with its remedy."""
    lines = [
        f"  {item.topic}: {item.setting} is {item.found}, wanted {item.wanted}; {_remedy(bootstrap, item)}"
        for item in different
    ]
    return f"kafka at {bootstrap}: topics with other settings than the pipeline relies on\n" + "\n".join(lines)


def _remedy(bootstrap: str, item: Difference) -> str:
    if item.setting == PARTITIONS:
        return "partitions are fixed for ever (a key has one owner): drain and delete the topic, or use another cluster"
    if item.setting == REPLICAS:
        return "reassign its replicas with kafka-reassign-partitions.sh, or drain and delete the topic"
    change = f"--entity-type topics --entity-name {item.topic} --alter --add-config {item.setting}={item.wanted}"
    return f"kafka-configs.sh --bootstrap-server {bootstrap} {change}"


def _somebody_listens(bootstrap: str, deadline_s: float) -> bool:
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=deadline_s).close()
        except OSError:
            continue
        return True
    return False


@contextmanager
def _admin(bootstrap: str, deadline_s: float, access: KafkaAccess) -> Iterator[KafkaAdminClient]:
    """Yield a client; also when it fails to connect, its thread and sockets end here (its constructor leaves them)."""
    check_access(access, bootstrap.split(","))
    deadline_ms = round(deadline_s * 1000)
    with ExitStack() as stack:

        def closed_by_us(**settings: object) -> object:
            client = KafkaAdminClient.DEFAULT_CONFIG["kafka_client"](**settings)
            stack.callback(client.close)
            return client

        yield KafkaAdminClient(
            kafka_client=closed_by_us,
            bootstrap_servers=bootstrap,
            client_id="isochrone-admin",
            bootstrap_timeout_ms=deadline_ms,
            request_timeout_ms=deadline_ms,
            reconnect_backoff_max_ms=500,
            **security_settings(access),
        )


def _create_missing(admin: KafkaAdminClient, wanted: Mapping[str, Settings]) -> tuple[str, ...]:
    missing = sorted(set(wanted) - set(admin.list_topics()))
    for name in missing:
        settings = dict(wanted[name])
        shape = {
            "num_partitions": int(settings.pop(PARTITIONS)),
            "replication_factor": int(settings.pop(REPLICAS)),
            "configs": settings,
        }
        try:
            admin.create_topics({name: shape})
        except TopicAlreadyExistsError:
            continue  # another start was faster; it is checked like any that exists
    if missing:
        admin.wait_for_topics(missing)
    return tuple(missing)


def _await_known(admin: KafkaAdminClient, names: list[str], deadline_s: float, clock: Clock) -> dict[str, Settings]:
    """Return the settings once the broker that is asked knows every topic: news of one reaches each by itself."""
    until_ns = clock.mono_ns() + round(deadline_s * 1e9)
    while True:
        with suppress(UnknownTopicOrPartitionError):
            found = _found_settings(admin, names)
            if len(found) == len(names):
                return found
        if clock.mono_ns() > until_ns:
            raise UnavailableError(f"waited {deadline_s:g} s for a broker to know the topics {', '.join(names)}")
        clock.sleep_s(KNOWN_EVERY_S)


def _found_settings(admin: KafkaAdminClient, names: list[str]) -> dict[str, Settings]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs = admin.describe_configs(resources, config_filter=ConfigFilterType.ALL)["topic"]
    return {
        topic["name"]: {
            PARTITIONS: str(len(topic["partitions"])),
            REPLICAS: str(min(len(partition["replica_nodes"]) for partition in topic["partitions"])),
            **{setting: str(entry["value"]) for setting, entry in configs[topic["name"]].items()},
        }
        for topic in admin.describe_topics(names)
        if topic["partitions"]
    }
