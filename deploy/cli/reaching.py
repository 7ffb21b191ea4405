"""How a command reaches the store of a stack."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from deploy.place import find_store
from schemas.clock import SystemClock, wall_ms
from schemas.errors import ConfigError
from streams.store import Store, open_store

DAY_S = 86_400
END_OF_TIME_S = 4_294_967_295  # what a DateTime of the store can hold


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


def timezone_of(reached: Reached) -> str:
    """Return the time zone of the mesh in force.

    Raises:
        ConfigError: no version of the mesh was ever applied.
    """
    found = reached.store.rows("report_mesh", mesh=reached.mesh, until_s=END_OF_TIME_S)
    if not found:
        raise ConfigError(f"mesh {reached.mesh} was never put in force; apply it with `isochrone mesh apply`")
    return str(found[0]["timezone"])


def states_now(reached: Reached) -> list[dict[str, Any]]:
    """Return the present state of every planned stream, and since when, as far as a day's verdicts tell."""
    from_s = wall_ms(SystemClock()) // 1000 - DAY_S
    return reached.store.rows("judge_state_now", mesh=reached.mesh, from_s=from_s)
