"""Where a stack lives on disk and how its parts are reached: the state folder, its secrets, its addresses."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from deploy.configfile import read_config, write_config
from schemas.errors import UnavailableError
from schemas.kafka_access import KafkaAccess
from streams.store import StoreConfig, store_config

WRITER: Final = "isochrone"
READER: Final = "isochrone_reader"
SECRET_BYTES: Final = 24


class Secrets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What only this stack knows; made once, kept with its data."""

    writer_password: str
    reader_password: str
    page_token: str


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the commands reach a running stack."""

    mesh: str
    bootstrap: str
    writer: StoreConfig
    reader: StoreConfig
    page_url: str
    access: KafkaAccess = KafkaAccess()


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The folders of a stack."""

    root: Path

    @property
    def logs(self) -> Path:
        """Where each part writes its log."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Where the parts' configurations stand, written at each start."""
        return self.root / "run"

    @property
    def address_file(self) -> Path:
        """Where the stack says how it is reached."""
        return self.run / "address.json"

    def secrets(self, new: Callable[[int], str] = secrets.token_urlsafe) -> Secrets:
        """Return the secrets, made at the first call."""
        path = self.root / "secrets.json"
        if not path.exists():
            made = Secrets(**{name: new(SECRET_BYTES) for name in Secrets.__struct_fields__})
            write_config(path, made)
        return read_config(path, Secrets)


def find_store(state: Path, url: str, *, write: bool = False) -> tuple[StoreConfig, str]:
    """Return (store, mesh) for a command: the url's store, else that of the stack in `state`; mesh "" with a url.

    Raises:
        UnavailableError: no url, and no stack was ever started in `state`.
        ConfigError: the url is none.
    """
    if url != "":
        return store_config(url), ""
    address = find_address(state)
    return (address.writer if write else address.reader), address.mesh


def known_address(state: Path) -> Address | None:
    """Return how the stack in `state` is reached, None when none was ever started there."""
    path = Place(root=state).address_file
    return read_config(path, Address) if path.exists() else None


def find_address(state: Path) -> Address:
    """Return how the stack in `state` is reached.

    Raises:
        UnavailableError: none was ever started there.
    """
    address = known_address(state)
    if address is None:
        raise UnavailableError(
            f"no stack was started in {state}: start one with `isochrone up`, name its folder with --state, "
            "or give the store with --clickhouse"
        )
    return address
