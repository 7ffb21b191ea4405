"""A port is asked for before a part is started, so that the refusal names who holds it and the setting to change."""

import socket

from deploy.procfs import port_holder
from schemas.errors import ConfigError

LOOPBACK = "127.0.0.1"


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could listen on `host`:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no holder
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def require_free(port: int, *, what: str, setting: str, host: str = LOOPBACK) -> None:
    """Pass when `port` is free.

    Raises:
        ConfigError: it is taken; the text names the port, its holder, the setting and the remedy.
    """
    if port_is_free(port, host):
        return
    holder = port_holder(port) or "another process"
    raise ConfigError(f"{what}: port {port} on {host} is in use by {holder}; stop it or set {setting} to a free port")


def free_port(host: str = LOOPBACK) -> int:
    """Return a port that was free a moment ago, for tests and throw-away parts."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port
