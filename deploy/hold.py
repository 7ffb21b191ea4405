"""Keep a stack up until somebody ends it."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from deploy.lab.from_mesh import lab_host, lab_topology
from deploy.lab.lab import Lab, running_lab
from deploy.lab.topology import Impairment
from deploy.place import Place
from deploy.settings import Settings
from deploy.stack import Stack, running_stack
from schemas.clock import Clock, SystemClock, wall_ms
from schemas.mesh import Mesh

LAB_DEADLINE_S = 20.0
LOOK_S = 0.5


def hold_up(settings: Settings, mesh: Mesh, place: Place, *, lab: bool, say: Callable[[str], None]) -> None:
    """Run the stack until SIGINT or SIGTERM."""
    clock, stop = SystemClock(), threading.Event()
    with stopped_by_signals(stop), ExitStack() as stack:
        netns = stack.enter_context(mesh_lab(mesh, place, clock))[1] if lab else None
        running = stack.enter_context(running_stack(settings, mesh, place, clock=clock, netns=netns, say=say))
        announce(running, say)
        if not lab:
            say("no probes run here: enrol each with `isochrone probe enrol`, give it its `isochrone mesh export`")
        say("Ctrl-C ends it")
        while not stop.wait(LOOK_S):
            running.check()
        say("stopping")


@contextmanager
def mesh_lab(
    mesh: Mesh, place: Place, clock: Clock, changes: Mapping[str, Impairment] | None = None
) -> Iterator[tuple[Lab, dict[str, str]]]:
    """Yield the lab of a mesh and the namespace of each endpoint; each run has a folder of its own."""
    folder = place.root / "lab" / str(wall_ms(clock))
    with running_lab(lab_topology(mesh, changes=changes), folder, deadline_s=LAB_DEADLINE_S, clock=clock) as lab:
        yield lab, {endpoint.id: lab.namespace(lab_host(endpoint.id)) for endpoint in mesh.endpoints}


def announce(running: Stack, say: Callable[[str], None]) -> None:
    """Print where to look, and the line for somebody who sits at another machine."""
    url = running.address.page_url
    port = url.split(":")[2].split("/")[0]
    say(f"posture page: {url}")
    say(f"from elsewhere: ssh -L {port}:127.0.0.1:{port} THIS-HOST, then open the same address there")


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` at SIGINT and SIGTERM instead of dying; the old handlers come back afterwards."""
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
