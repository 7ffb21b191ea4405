"""A real broker behind TLS and a login: topics, probe and worker get in with one set of settings, nobody else does."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from support.children import wait_for
from support.meshes import streams_of
from support.plain_fold import fold_plainly
from support.produced import NO_SHARES, produce_one_run, slots_of
from support.secure_broker import papers, running_secure_broker
from support.spooling import spooling
from support.stores import windows
from support.workers import PATIENCE_S, await_fates, enrolled, logs, worker

from deploy.embedded.kafka.java import require_java
from deploy.topics_admin import ensure_topics, group_lag
from schemas.clock import SystemClock, wall_ms
from schemas.topics import TOPICS
from streams.store import Store, StoreConfig
from streams.worker_config import WorkerConfig

pytestmark = [pytest.mark.needs_engine, pytest.mark.needs_broker, pytest.mark.timeout(240)]
CLOCK = SystemClock()
ASK = """
import sys
import msgspec
from deploy.topics_admin import ensure_topics
from schemas.errors import UnavailableError
from schemas.kafka_access import KafkaAccess
from schemas.topics import TOPICS
for access in msgspec.json.decode(sys.argv[2], type=list[KafkaAccess]):
    try:
        ensure_topics(sys.argv[1], TOPICS, "embedded", access=access, deadline_s=0.5)
    except UnavailableError as err:
        print(err)
"""


def test_probe_worker_and_topics_speak_to_a_broker_that_wants_tls_and_a_password(
    store: Store, store_config: StoreConfig, tmp_path: Path
) -> None:
    mesh, signers = enrolled(store)
    probe_id, streams = next(iter(streams_of(mesh).items()))
    batches = produce_one_run(18, probe_id, streams, now_ms=wall_ms(CLOCK), slots=6)
    with running_secure_broker(tmp_path) as (bootstrap, access):
        ensure_topics(bootstrap, TOPICS, "embedded", access=access)
        config = WorkerConfig(bootstrap=bootstrap, access=access, store=store_config, times_plan=NO_SHARES)
        with (
            worker(config, tmp_path),
            spooling(tmp_path, bootstrap, probe_id, signers[probe_id], access) as probe,
        ):
            probe.say(batches)
            wait_for("all acknowledged", lambda: probe.unsent() == 0, PATIENCE_S)
            await_fates(config, len(batches))
            wait_for("no lag", lambda: group_lag(bootstrap, config.group, access) == 0, PATIENCE_S, every_s=0.2)
        assert windows(store_config) == fold_plainly(slots_of(probe.said))
        refuse_strangers(bootstrap, config, tmp_path)


def refuse_strangers(bootstrap: str, config: WorkerConfig, home: Path) -> None:
    """A wrong password, a certificate that is not the broker's, and plain text do not get in, and say so."""
    (home / "wrong").write_text("wrong")
    (home / "other").mkdir()
    others = (
        msgspec.structs.replace(config.access, sasl_password_file=str(home / "wrong")),
        msgspec.structs.replace(config.access, ssl_cafile=papers(home / "other", require_java()).ssl_cafile),
        msgspec.structs.replace(config.access, security_protocol="PLAINTEXT"),
    )
    words = [sys.executable, "-c", ASK, bootstrap, msgspec.json.encode(others).decode()]
    # in a process of its own: kafka-python leaves the sockets of failed logins to the collector
    said = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert said.stdout.count("topics not checked within 0.5 s") == len(others), said.stdout + said.stderr[-2000:]
    (home / "stranger").mkdir()
    stranger = msgspec.structs.replace(config, access=others[0], start_deadline_s=1.5)
    with worker(stranger, home / "stranger") as process:
        assert process.wait(30) == 1
    assert "waited 1.5 s for Kafka" in logs(home / "stranger")
