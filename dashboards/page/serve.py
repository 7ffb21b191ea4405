"""Serve the posture page on loopback until told to stop."""

import secrets
import socket

import msgspec
import structlog
import uvicorn

from dashboards.page.app import PageConfig, make_app
from schemas.clock import Clock
from schemas.errors import ConfigError, UnavailableError
from streams.store import StoreConfig, open_store

log = structlog.get_logger(__name__)

MIN_TOKEN_CHARACTERS = 16


class ServeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the page listens, what it shows, from which store (the read-only login)."""

    page: PageConfig
    store: StoreConfig
    host: str = "127.0.0.1"  # another address shows the posture to whoever reaches it and knows the token
    port: int = 8642


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(18)


def page_url(config: ServeConfig) -> str:
    """Return the address to open, token included."""
    return f"http://{config.host}:{config.port}/?token={config.page.token}"


def serve(config: ServeConfig, clock: Clock) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ConfigError: the token is short enough to be guessed.
        UnavailableError: the port is taken.
    """
    if len(config.page.token) < MIN_TOKEN_CHARACTERS:
        raise ConfigError(
            f"page.token: wanted at least {MIN_TOKEN_CHARACTERS} characters; leave it out to get a new one"
        )
    listener = _listen(config.host, config.port)
    with open_store(config.store) as store:
        app = make_app(store, config.page, clock)
        log.info("page serves", host=config.host, port=config.port)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as err:
        listener.close()
        raise UnavailableError(
            f"page: cannot listen on {host}:{port}: {err.strerror}; choose another with --port"
        ) from err
    return listener
