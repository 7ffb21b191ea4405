"""A real broker for tests: the embedded one, once a session, or the one that ISOCHRONE_TEST_KAFKA names.

`tests/conftest.py` makes `kafka_broker` known: a test takes it as an argument and gets the bootstrap address.
Topics are shared by the session, so a test uses its own: `fresh_spec`.
"""

import os
import shutil
import uuid
from collections.abc import Iterator

import pytest
from support.services import require

from schemas.topics import TopicSpec

GIVEN = "ISOCHRONE_TEST_KAFKA"
START_S = 60.0  # it starts in 3 s; two busy cores may take longer


def require_broker_tools() -> None:
    """Skip or fail where no embedded broker can run."""
    from deploy.embedded.kafka.java import JAVA_AT_LEAST, JAVA_REMEDY, find_java

    java = find_java()
    require("java 17", java is not None and java.major >= JAVA_AT_LEAST, JAVA_REMEDY)
    require("mvn", shutil.which("mvn") is not None, "apt-get install maven")


def fresh_spec(what: str, **fields: int) -> TopicSpec:
    """Return the spec of a topic that no other test uses."""
    return TopicSpec(name=f"test.{what}.{uuid.uuid4().hex[:8]}", **{"partitions_embedded": 2, **fields})


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the bootstrap address of a broker that answers."""
    given = os.environ.get(GIVEN)
    if given is not None:
        yield given
        return
    require_broker_tools()
    from deploy.embedded.kafka.broker import running_broker  # here, so that unit tests load no Kafka client
    from deploy.ports import free_port

    state_dir = tmp_path_factory.mktemp("kafka")
    log_path = state_dir / "kafka.log"
    with running_broker(state_dir, free_port(), free_port(), log_path=log_path, deadline_s=START_S) as broker:
        yield broker.bootstrap
