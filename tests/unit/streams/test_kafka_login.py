"""The worker's login: the same access as the probe's, secrets out of files, no word of them in any print."""

import ssl
from pathlib import Path

import msgspec
import pytest

from schemas.clock import ManualClock
from schemas.errors import ConfigError
from schemas.kafka_access import KafkaAccess
from streams.app import make_app, run_worker
from streams.kafka_login import client_settings, ssl_context
from streams.worker_config import WorkerConfig


def sasl(folder: Path) -> KafkaAccess:
    (folder / "secret").write_text("hidden-word\n")
    return KafkaAccess(
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="worker",
        sasl_password_file=str(folder / "secret"),
    )


def test_the_client_is_told_protocol_context_and_login(tmp_path: Path) -> None:
    told = client_settings(sasl(tmp_path))
    context = told.pop("ssl_context")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert told == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "worker",
        "sasl_plain_password": "hidden-word",
    }


def test_faust_is_told_the_same(tmp_path: Path) -> None:
    config = WorkerConfig(bootstrap="broker.example:9093", access=sasl(tmp_path))
    told = make_app(config, ManualClock()).conf.broker_credentials
    assert (told.protocol.value, told.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (told.username, told.password) == ("worker", "hidden-word")
    only_tls = msgspec.structs.replace(config, access=KafkaAccess(security_protocol="SSL"))
    assert make_app(only_tls, ManualClock()).conf.broker_credentials.protocol.value == "SSL"
    assert make_app(WorkerConfig(), ManualClock()).conf.broker_credentials is None


def test_no_print_and_no_configuration_holds_the_password(tmp_path: Path) -> None:
    config = WorkerConfig(access=sasl(tmp_path))
    assert "hidden-word" not in repr(config)
    assert b"hidden-word" not in msgspec.json.encode(config)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sasl_password_file"):
        client_settings(msgspec.structs.replace(sasl(tmp_path), sasl_password_file=str(tmp_path / "none")))
    (tmp_path / "bad.pem").write_text("no certificate")
    for fields in ({"ssl_cafile": str(tmp_path / "bad.pem")}, {"ssl_certfile": str(tmp_path / "bad.pem")}):
        with pytest.raises(ConfigError, match="PEM"):
            ssl_context(KafkaAccess(security_protocol="SSL", **fields))  # type: ignore[arg-type]


def test_a_worker_refuses_plain_text_to_another_machine_before_it_speaks() -> None:
    with pytest.raises(ConfigError, match="allow_plaintext"):
        run_worker(WorkerConfig(bootstrap="192.0.2.1:9092"))
