import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx2
import msgspec
import pytest
from support.alert_tables import Writer, insert_plan
from support.alert_world import Fault, World

from alerts.evaluator import Evaluator, EvaluatorConfig, run_evaluator, shipped_policy
from alerts.explain import between, counts, explain, worst
from alerts.relay import Relay, RelayConfig, Target, post
from schemas.clock import SystemClock, wall_ms
from schemas.mesh import parse_mesh
from streams.store import Store, StoreConfig

pytestmark = pytest.mark.needs_engine

DEMO = Path(__file__).parents[2] / "deploy" / "mesh" / "demo.toml"
TRUNK = "trunk-wuhan-guangzhou-telecom"


class Hook(BaseHTTPRequestHandler):
    bodies: ClassVar[list[bytes]] = []
    answers: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        Hook.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(Hook.answers.pop(0) if len(Hook.answers) > 0 else 204)
        self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Stay silent."""


@contextmanager
def webhook() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    Hook.bodies, Hook.answers = [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5.0)


def a_world(faults: tuple[Fault, ...], ago_s: int) -> World:
    mesh = parse_mesh(DEMO.read_text(encoding="utf-8"), source="demo.toml")
    now_s = wall_ms(SystemClock()) // 1000
    return World(mesh=mesh, seconds=120, start_ms=(now_s - ago_s) // 10 * 10_000, faults=faults)


def test_a_cut_in_real_tables_is_told_once_and_shown_with_its_cause(store: Store, store_config: StoreConfig) -> None:
    def hits(stream: object) -> bool:
        return TRUNK in getattr(stream, "segments", ())

    world = a_world((Fault(from_s=25, until_s=200, hits=hits),), ago_s=60)
    insert_plan(store, world, world.start_ms // 60_000 * 60 - 600)
    writer = Writer(store, world)
    evaluator = Evaluator(
        store, EvaluatorConfig(mesh="demo", store=store_config, policy="demo"), shipped_policy("demo")
    )
    with webhook() as url, httpx2.Client(follow_redirects=False, trust_env=False) as client:
        Hook.answers = [302, 503]
        config = RelayConfig(mesh="demo", store=store_config, targets=(Target(name="hook", url=url),), console=False)
        relay = Relay(store, config, lambda target, body: post(client, target, body), lambda _text: None)
        for now_ms in world.run(50):
            writer.catch_up(now_ms)
            evaluator.round(now_ms)
            relay.step(now_ms)
        body = msgspec.json.decode(Hook.bodies[-1])
    assert len(Hook.bodies) == 3  # redirect not followed, busy, taken
    assert (body["cause"], body["state"], body["members"]) == (TRUNK, "open", 28)
    assert body["cause_name_zh"] == "武汉国家级互联网骨干直联点 — 广州国家级互联网骨干直联点 干线（中国电信）"
    assert TRUNK not in body["text_en"]
    assert "Wuhan" in body["text_en"]

    from_s = world.start_ms // 1000 - 600
    states = store.rows("judge_state_now", mesh="demo", from_s=from_s)
    incidents = store.rows("incident_open", mesh="demo")
    assert counts(states) == {"down": 28, "degraded": 0, "insufficient": 0, "ok": 196}
    assert {cause for _, cause in worst(states, incidents)} == {f"segment:{TRUNK}"}
    assert {row["since_ms"] for row in states if row["state"] == "down"} == {world.start_ms + 29_000}

    pair = between(states, "dcp-guangzhou", "cluster-tianfu/telecom")
    ids = [row["stream_id"] for row in pair]
    slots = store.rows("judge_slots", stream_ids=ids, from_s=from_s, until_s=from_s + 7200)
    told = explain(pair[0], slots, incidents, timezone="Asia/Shanghai")
    assert told.cause == f"segment:{TRUNK}"
    assert told.state == "down"
    assert len(told.rows) >= 3

    (incident,) = store.rows("page_incidents", mesh="demo", from_ms=world.start_ms)
    kinds = [row["kind"] for row in store.rows("incident_timeline", incident_id=incident["incident_id"])]
    assert kinds.count("delivery") == 3
    assert "opened" in kinds


def test_the_loop_with_its_relay_stops_when_told_and_writes_a_verdict_a_stream(
    store: Store, store_config: StoreConfig
) -> None:
    world = a_world((), ago_s=45)
    insert_plan(store, world, world.start_ms // 60_000 * 60 - 600)
    *_, last_ms = world.run(44)
    Writer(store, world).catch_up(last_ms)
    relay = RelayConfig(mesh="demo", store=store_config, console=True)
    config = EvaluatorConfig(mesh="demo", store=store_config, policy="demo", period_s=0.2, relay=relay)
    stop = threading.Event()
    loop = threading.Thread(target=run_evaluator, args=(config,), kwargs={"clock": SystemClock(), "stop": stop})
    loop.start()
    deadline = time.monotonic() + 20.0
    states: list[str] = []
    while time.monotonic() < deadline and set(states) != {"ok"}:
        time.sleep(0.2)
        states = [row["state"] for row in store.rows("judge_state_now", mesh="demo", from_s=world.start_ms // 1000)]
    stop.set()
    loop.join(timeout=15.0)
    assert not loop.is_alive()
    assert states == ["ok"] * 224
