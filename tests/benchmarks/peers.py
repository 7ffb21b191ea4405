"""The peers: consumers that others would write, on the same topic, with the same flush and the same tables."""

import hashlib
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Final, Literal

import msgspec
from benchmarks.harness import FOLDER, ROOT, Bench
from benchmarks.peer_main import PeerConfig
from benchmarks.world import Backlog, Passage, fresh_database, running_child, watch_passage, worker_config

Peer = Literal["aiokafka", "quixstreams"]
PEERS: Final[tuple[Peer, ...]] = ("aiokafka", "quixstreams")

_MAIN: Final = Path(__file__).with_name("peer_main.py")
_LOCK: Final = ROOT / "requirements" / "bench.txt"
_VENV: Final = FOLDER / "peers"
_INSTALL_S: Final = 600.0


def pass_peer(bench: Bench, backlog: Backlog, peer: Peer) -> Passage:
    """Let a peer empty the backlog into a database of its own, on the worker's core; return how it went."""
    world, store = backlog.world, fresh_database(backlog.world, backlog.mesh.mesh)
    ours = worker_config(world, store)
    config = PeerConfig(
        bootstrap=world.bootstrap,
        group=f"peer-{uuid.uuid4().hex[:8]}",
        store=store,
        batch_messages=ours.batch_messages,
        fetch_max_bytes=ours.fetch_max_bytes,
    )
    path = world.home / f"{config.group}.json"
    path.write_bytes(msgspec.json.encode(config))
    log_path = path.with_suffix(".log")
    with running_child([str(_python(bench, peer)), str(_MAIN), str(path), peer], log_path, imports=ROOT) as child:
        passage = watch_passage(world, store, child, summaries=backlog.summaries)
    bench.say(f"{peer}: {passage.per_s:,.0f} summaries/s, {passage.cpu_s_per_million:.1f} CPU s per million")
    return passage


def _python(bench: Bench, peer: Peer) -> Path:
    """Return the Python that has the peer; quixstreams wants other versions of what we lock, so it has its own."""
    return Path(sys.executable) if peer == "aiokafka" else _peers_python(bench)


def _peers_python(bench: Bench) -> Path:
    """Return the Python of the throw-away environment, made anew when its lock has changed."""
    python, mark = _VENV / "bin" / "python", _VENV / ".made"
    wanted = hashlib.blake2b(_LOCK.read_bytes(), digest_size=16).hexdigest()
    if not mark.is_file() or mark.read_text(encoding="utf-8") != wanted:
        bench.say("installing the peers")
        _run([sys.executable, "-m", "venv", "--clear", str(_VENV)])
        _run([str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(_LOCK)])
        mark.write_text(wanted, encoding="utf-8")
    return python


def _run(command: list[str]) -> None:
    env = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False, env=env)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command[1:4])} failed: {done.stderr[-1000:]}")
