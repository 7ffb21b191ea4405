"""Start a demo: its mesh, its folders, and demo.json at the end."""

import shutil
from importlib.resources import files
from pathlib import Path

import msgspec

from deploy.demo.result import DemoResult
from deploy.demo.run import Out, Say, demo_settings, run_demo
from deploy.demo.scenario import Scenario
from deploy.hold import hold_up
from deploy.place import Place
from deploy.ports import free_port
from schemas.clock import SystemClock
from schemas.errors import ConfigError
from schemas.mesh import Mesh, parse_mesh

MARK = "demo-state"  # what is removed before a demo is only ever what a demo made


def play(*, seconds: float, kills: bool, out: Path, state: Path, say: Say) -> DemoResult | None:
    """Run the demo; return its result, written to demo.json beside `out`, or None when it ran until Ctrl-C."""
    mesh = demo_mesh()
    place = fresh_place(state)
    if seconds == 0:
        hold_up(demo_settings("", free_port()), mesh, place, lab=True, say=say)
        return None
    scenario, clock = Scenario(seconds=seconds), SystemClock()
    result = run_demo(scenario, mesh, place, Out(folder=out), kills=kills, clock=clock, say=say)
    (out.parent / "demo.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return result


def demo_mesh() -> Mesh:
    """Return the mesh of the demo, as it ships."""
    text = files("deploy").joinpath("mesh", "demo.toml").read_text(encoding="utf-8")
    return parse_mesh(text, source="demo.toml")


def fresh_place(state: Path) -> Place:
    """Return an empty folder for a stack, an earlier demo's data removed.

    Raises:
        ConfigError: the folder holds something that no demo made.
    """
    if state.exists() and any(state.iterdir()):
        if not (state / MARK).exists():
            raise ConfigError(f"{state} is not a demo's folder, so nothing is removed from it; name another --state")
        shutil.rmtree(state)
    state.mkdir(parents=True, exist_ok=True)
    (state / MARK).touch()
    return Place(root=state)
