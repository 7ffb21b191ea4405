"""How a command reaches the store of a stack."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from deploy.place import find_store
from schemas.errors import ConfigError
from streams.store import Store, open_store


class Reached(NamedTuple):
    """A store that a command may ask, and the mesh it asks about."""

    store: Store
    mesh: str


@contextmanager
def reach(state: Path, url: str, mesh: str, *, write: bool = False) -> Iterator[Reached]:
    """Yield the store of the options and the mesh asked about.

    Raises:
        ConfigError: neither the options nor the stack name a mesh.
        UnavailableError: no stack was ever started in `state`, and no url is given.
    """
    config, own_mesh = find_store(state, url, write=write)
    asked = mesh or own_mesh
    if asked == "":
        raise ConfigError("which mesh? name it with --mesh")
    with open_store(config) as store:
        yield Reached(store, asked)
