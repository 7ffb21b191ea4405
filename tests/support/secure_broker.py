"""A broker that wants TLS and a login, and the papers for it: a certificate of the loopback, a password."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support.children import wait_for
from support.cluster import replaced

from deploy.child import reap, spawn
from deploy.embedded.kafka.broker import broker_command
from deploy.embedded.kafka.config import HOST, BrokerPlace, server_properties
from deploy.embedded.kafka.install import install_jars
from deploy.embedded.kafka.java import Java, require_java
from deploy.embedded.kafka.storage import ensure_formatted
from deploy.ports import free_port
from deploy.topics_admin import broker_answers
from schemas.kafka_access import KafkaAccess

NAME, PASSWORD, STORE_PASSWORD = "isochrone", "correct horse", "battery staple"
START_S: Final = 60.0
LOGIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule required"


@contextmanager
def running_secure_broker(home: Path) -> Iterator[tuple[str, KafkaAccess]]:
    """Run a broker; yield its address and what gets one in."""
    java, jars, port = require_java(), install_jars(lambda _: None), free_port()
    access = papers(home, java)
    place = BrokerPlace(state_dir=home / "kafka", port=free_port(), controller_port=free_port())
    place.state_dir.mkdir(parents=True)
    ensure_formatted(place, java, jars)
    place.properties_path.write_text(replaced(server_properties(place), _secured(place, port, home / "server.p12")))
    process = spawn(broker_command(place, java, jars), env={}, log_path=home / "kafka.log")
    bootstrap = f"{HOST}:{port}"
    try:
        wait_for("the broker", lambda: broker_answers(bootstrap, 2.0, access), START_S, every_s=0.1)
        yield bootstrap, access
    finally:
        reap(process)


def papers(home: Path, java: Java) -> KafkaAccess:
    """Write a key with its own certificate, and a password, into a folder; return how a client uses them."""
    keytool, store = Path(java.program).resolve().with_name("keytool"), home / "server.p12"
    secret = ("-keystore", str(store), "-storepass", STORE_PASSWORD, "-alias", "broker")
    asked = ("-dname", "CN=broker", "-ext", f"san=ip:{HOST}", "-ext", "bc=ca:true", "-keyalg", "EC", "-validity", "2")
    for command in (
        (keytool, "-genkeypair", "-storetype", "PKCS12", *asked, *secret),
        (keytool, "-exportcert", "-rfc", "-file", str(home / "ca.pem"), *secret),
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    (home / "password").write_text(f"{PASSWORD}\n")
    return KafkaAccess(
        security_protocol="SASL_SSL",
        ssl_cafile=str(home / "ca.pem"),
        sasl_mechanism="PLAIN",
        sasl_username=NAME,
        sasl_password_file=str(home / "password"),
    )


def _secured(place: BrokerPlace, port: int, keystore: Path) -> dict[str, str]:
    plain = f"PLAINTEXT://{HOST}:{place.port}"
    client = f"CLIENT://{HOST}:{port}"
    return {
        "listeners": f"{plain},CONTROLLER://{HOST}:{place.controller_port},{client}",
        "advertised.listeners": f"{plain},{client}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENT:SASL_SSL",
        "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.client.plain.sasl.jaas.config": f'{LOGIN} user_{NAME}="{PASSWORD}";',
        "listener.name.client.ssl.keystore.type": "PKCS12",
        "listener.name.client.ssl.keystore.location": str(keystore),
        "listener.name.client.ssl.keystore.password": STORE_PASSWORD,
        "listener.name.client.ssl.key.password": STORE_PASSWORD,
    }
