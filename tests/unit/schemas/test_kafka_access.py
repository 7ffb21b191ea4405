"""What may be said to which broker: plain text only to this machine, unless a person says so."""

import pytest

from schemas.errors import ConfigError
from schemas.kafka_access import KafkaAccess, check_access

SASL = KafkaAccess(
    security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", sasl_username="u", sasl_password_file="f"
)


@pytest.mark.parametrize("server", ["127.0.0.1:9092", "localhost:9092", "[::1]:9092", "127.9.9.9:1"])
def test_plain_text_to_this_machine_is_allowed(server: str) -> None:
    check_access(KafkaAccess(), [server])


@pytest.mark.parametrize(
    "server", ["192.0.2.1:9092", "broker.example:9092", "[2001:db8::1]:9092", "localhost.example:1"]
)
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_plain_text_to_another_machine_is_refused_with_the_remedy(server: str, protocol: str) -> None:
    fields = {"sasl_mechanism": "PLAIN", "sasl_username": "u", "sasl_password_file": "f"}
    with pytest.raises(ConfigError, match="SASL_SSL, or allow_plaintext"):
        check_access(KafkaAccess(security_protocol=protocol, **fields), ["127.0.0.1:1", f" {server} "])  # type: ignore[arg-type]


def test_plain_text_is_allowed_where_a_person_says_so_and_tls_everywhere() -> None:
    check_access(KafkaAccess(allow_plaintext=True), ["192.0.2.1:9092"])
    check_access(SASL, ["broker.example:9093"])
    check_access(KafkaAccess(security_protocol="SSL"), ["broker.example:9093"])


def test_an_unknown_protocol_and_half_a_login_are_named() -> None:
    with pytest.raises(ConfigError, match="'TLS', wanted one of"):
        check_access(KafkaAccess(security_protocol="TLS"), ["127.0.0.1:1"])
    with pytest.raises(ConfigError, match="sasl_password_file"):
        check_access(KafkaAccess(security_protocol="SASL_SSL", sasl_username="u"), ["127.0.0.1:1"])
