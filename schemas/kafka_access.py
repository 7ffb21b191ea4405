"""How one proves to Kafka who one is: one set of settings for all that speak to it, and what no client may do.

Secrets stand in files, which are named here and read where they are used: nothing here may not be printed.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

import msgspec

from schemas.errors import ConfigError

CLEAR: Final = ("PLAINTEXT", "SASL_PLAINTEXT")
PROTOCOLS: Final = (*CLEAR, "SSL", "SASL_SSL")


class KafkaAccess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Encryption and login; the same names as in kafka-python."""

    security_protocol: str = "PLAINTEXT"  # SSL, SASL_PLAINTEXT, SASL_SSL
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_check_hostname: bool = True
    sasl_mechanism: str | None = None  # SCRAM-SHA-512, PLAIN, ...
    sasl_username: str | None = None
    sasl_password_file: str | None = None  # a password never stands in a configuration
    allow_plaintext: bool = False  # beyond the loopback, where anyone on the way reads and changes what is sent

    @property
    def is_encrypted(self) -> bool:
        """Return whether the connection is TLS."""
        return self.security_protocol not in CLEAR

    @property
    def is_sasl(self) -> bool:
        """Return whether one logs in by name and password."""
        return self.security_protocol.startswith("SASL_")


def check_access(access: KafkaAccess, servers: Iterable[str]) -> None:
    """Return when these servers may be spoken to like this.

    Args:
        access: see there.
        servers: host:port of each.

    Raises:
        ConfigError: an unknown protocol, SASL without a name, a mechanism and a password file, or plain text to a
            server that is not this very machine.
    """
    if access.security_protocol not in PROTOCOLS:
        raise ConfigError(f"kafka.security_protocol is {access.security_protocol!r}, wanted one of {PROTOCOLS}")
    if access.is_sasl and None in (access.sasl_mechanism, access.sasl_username, access.sasl_password_file):
        raise ConfigError("kafka: SASL wants sasl_mechanism, sasl_username and sasl_password_file")
    far = [server.strip() for server in servers if not _is_loopback(server.strip())]
    if far and not access.is_encrypted and not access.allow_plaintext:
        raise ConfigError(
            f"kafka at {', '.join(far)} over {access.security_protocol}: anyone on the way reads and changes it; set"
            " security_protocol to SSL or SASL_SSL, or allow_plaintext = true where the network itself is trusted"
        )


def _is_loopback(server: str) -> bool:
    host = server.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
