"""Opening things inside a named network namespace: the thread goes in and comes back, the sockets stay there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from probes.engine.libc import setns
from schemas.errors import UnavailableError

_NAMED = Path("/run/netns")
_OWN = Path("/proc/thread-self/ns/net")


@contextmanager
def inside(netns: str | None) -> Iterator[None]:
    """Run the body with the calling thread in `netns`; None changes nothing.

    Raises:
        UnavailableError: There is no such namespace, or this process may not enter it.
    """
    if netns is None:
        yield
        return
    with _OWN.open("rb") as home:
        _enter(netns)
        try:
            yield
        finally:
            setns(home.fileno())


def _enter(netns: str) -> None:
    try:
        with (_NAMED / netns).open("rb") as there:
            setns(there.fileno())
    except FileNotFoundError as err:
        raise UnavailableError(f"network namespace {netns} does not exist; see `ip netns list`") from err
    except OSError as err:
        raise UnavailableError(f"network namespace {netns}: {err.strerror}; entering needs CAP_SYS_ADMIN") from err
