"""The secrets of `KafkaAccess`, read from their files for the worker's client."""

import ssl
from pathlib import Path
from typing import Any

from schemas.errors import ConfigError
from schemas.kafka_access import KafkaAccess


def client_settings(access: KafkaAccess) -> dict[str, Any]:
    """Return encryption and login as aiokafka wants them.

    Raises:
        ConfigError: a file of it cannot be read.
    """
    settings: dict[str, Any] = {"security_protocol": access.security_protocol, "ssl_context": ssl_context(access)}
    if access.is_sasl:
        settings |= {"sasl_mechanism": access.sasl_mechanism, "sasl_plain_username": access.sasl_username}
        settings["sasl_plain_password"] = password(access)
    return settings


def password(access: KafkaAccess) -> str | None:
    """Return the password, None when there is none.

    Raises:
        ConfigError: the file cannot be read.
    """
    if access.sasl_password_file is None:
        return None
    try:
        return Path(access.sasl_password_file).read_text(encoding="utf-8").strip()
    except OSError as err:
        raise ConfigError(f"kafka.sasl_password_file: {err}; write the password there, mode 0600") from err


def ssl_context(access: KafkaAccess) -> ssl.SSLContext | None:
    """Return the TLS context, None without TLS.

    Raises:
        ConfigError: a file of it cannot be read.
    """
    if not access.is_encrypted:
        return None
    try:
        context = ssl.create_default_context(cafile=access.ssl_cafile)
        context.check_hostname = access.ssl_check_hostname
        if access.ssl_certfile is not None:
            context.load_cert_chain(access.ssl_certfile, access.ssl_keyfile)
    except OSError as err:  # ssl.SSLError is one
        raise ConfigError(f"kafka.ssl_cafile, ssl_certfile, ssl_keyfile: {err}; PEM files are wanted") from err
    return context
