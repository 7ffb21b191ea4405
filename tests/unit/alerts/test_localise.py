import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.alert_facts import T0_MS, a_stream

from alerts.facts import PlannedStream
from alerts.localise import Cause, build_index, localise
from alerts.verdict import Verdict
from schemas.mesh import parse_mesh
from schemas.mesh_rows import mesh_rows

MESHES = Path(__file__).parents[3] / "deploy" / "mesh"
ONSET_MS = T0_MS + 5_000


def mesh_streams(name: str) -> list[PlannedStream]:
    mesh = parse_mesh((MESHES / f"{name}.toml").read_text(encoding="utf-8"), source=name)
    kept = set(PlannedStream.__struct_fields__) - {"version", "valid_from_ms", "segments"}
    rows = mesh_rows(mesh, 1_800_000_000)["stream"]
    return [a_stream(segments=tuple(row["segments"]), **{key: row[key] for key in kept & row.keys()}) for row in rows]  # type: ignore[arg-type]  # a row holds objects


def down(stream: PlannedStream, since_ms: int = ONSET_MS, known_ms: int = ONSET_MS + 2_000) -> Verdict:
    return Verdict(
        stream_id=stream.stream_id, state="down", reason="loss_run", up=False, since_ms=since_ms, known_ms=known_ms
    )


def fine(stream: PlannedStream, known_ms: int = ONSET_MS + 5_000, since_ms: int = 0) -> Verdict:
    return Verdict(stream_id=stream.stream_id, state="ok", reason="", up=True, since_ms=since_ms, known_ms=known_ms)


def blind(stream: PlannedStream) -> Verdict:
    return Verdict(stream_id=stream.stream_id, state="insufficient", reason="late")


def found(streams: list[PlannedStream], say: Callable[[PlannedStream], Verdict]) -> list[Cause]:
    return localise(build_index(streams), [say(stream) for stream in streams])


DEMO = mesh_streams("demo")
SEGMENTS = sorted({segment for stream in DEMO for segment in stream.segments})


@pytest.mark.parametrize("segment", SEGMENTS)
def test_every_segment_of_the_demo_is_found_by_those_that_cross_it(segment: str) -> None:
    (cause,) = found(DEMO, lambda stream: down(stream) if segment in stream.segments else fine(stream))
    names = {f"{cause.kind}:{cause.key}", *cause.equal}
    assert f"segment:{segment}" in names
    assert set(cause.members) == {stream.stream_id for stream in DEMO if segment in stream.segments}


@pytest.mark.parametrize("node", sorted({stream.source_node for stream in DEMO}))
def test_every_node_of_the_demo_is_found_when_all_its_carriers_fail(node: str) -> None:
    (cause,) = found(
        DEMO, lambda stream: down(stream) if node in (stream.source_node, stream.destination_node) else fine(stream)
    )
    assert (cause.kind, cause.key) == ("node", node)


def test_a_node_is_found_though_its_own_probe_is_gone_with_it() -> None:
    def say(stream: PlannedStream) -> Verdict:
        if stream.source_node == "dcp-wuhan":
            return blind(stream)
        return down(stream) if stream.destination_node == "dcp-wuhan" else fine(stream)

    (cause,) = found(DEMO, say)
    assert (cause.kind, cause.key) == ("node", "dcp-wuhan")


def test_a_probe_is_not_accused_before_its_endpoint_is_seen_alive() -> None:
    """All carriers of a node fail, its own probe speaks first: the others' rows are of the time before."""
    streams = [
        a_stream(number, source=f"a/{x}", destination=f"{b}/{x}", source_node="a", destination_node=b, segments=())
        for number, (b, x) in enumerate([("b", "x"), ("c", "x"), ("b", "y"), ("c", "y")])
    ]
    back = [
        a_stream(
            number, source=f"{b}/x", destination="a/x", source_node=b, destination_node="a", segments=(), probe_id=b
        )
        for number, b in ((10, "b"), (11, "c"))
    ]
    (cause,) = found(
        [*streams, *back], lambda stream: down(stream) if stream.source_node == "a" else fine(stream, known_ms=T0_MS)
    )
    assert (cause.kind, cause.key) == ("node", "a")


def test_life_seen_before_the_silence_began_clears_nobody() -> None:
    """The first second of a cut: one probe has spoken, the rows of the others are of the time before."""

    def say(stream: PlannedStream) -> Verdict:
        if "trunk-wuhan-guangzhou-telecom" not in stream.segments:
            return fine(stream, known_ms=ONSET_MS + 3_000 if stream.probe_id == "demo/telecom-south" else T0_MS)
        return down(stream) if stream.probe_id == "demo/telecom-south" else fine(stream, known_ms=T0_MS)

    (cause,) = found(DEMO, say)
    assert (cause.kind, cause.key) == ("segment", "trunk-wuhan-guangzhou-telecom")
    assert cause.confidence < 1.0


def test_life_seen_after_the_return_clears_nobody() -> None:
    """The first second of a heal: some members are back, the rows of the others end in the silence."""

    def say(stream: PlannedStream) -> Verdict:
        if "trunk-wuhan-guangzhou-telecom" not in stream.segments:
            return fine(stream, known_ms=ONSET_MS + 20_000)
        if stream.probe_id == "demo/telecom-south":
            return down(stream, known_ms=ONSET_MS + 10_000)
        return fine(stream, since_ms=ONSET_MS + 15_000, known_ms=ONSET_MS + 20_000)

    (cause,) = found(DEMO, say)
    assert (cause.kind, cause.key) == ("segment", "trunk-wuhan-guangzhou-telecom")


def test_a_silent_destination_whose_own_tests_pass_is_its_reflector() -> None:
    (cause,) = found(
        DEMO,
        lambda stream: (
            down(stream) if (stream.destination, stream.method) == ("dcp-xian/telecom", "stamp") else fine(stream)
        ),
    )
    assert (cause.kind, cause.key, cause.category) == ("reflector", "dcp-xian/telecom", "infrastructure")


def test_a_probe_all_of_whose_streams_fail_alone_is_the_cause_itself() -> None:
    (cause,) = found(DEMO, lambda stream: down(stream) if stream.probe_id == "demo/unicom-south" else fine(stream))
    assert (cause.kind, cause.key, cause.category) == ("probe", "demo/unicom-south", "infrastructure")


def test_one_silent_stream_among_living_ones_is_a_path_of_its_own() -> None:
    chosen = next(stream for stream in DEMO if len(stream.segments) > 3)
    (cause,) = found(DEMO, lambda stream: down(stream) if stream is chosen else fine(stream))
    assert (cause.kind, cause.members) == ("path", (chosen.stream_id,))


def test_equally_good_causes_are_all_told() -> None:
    pair = [
        a_stream(1, segments=("west", "east")),
        a_stream(2, segments=("west", "east"), source="b/x", destination="a/x", source_node="b", destination_node="a"),
    ]
    (cause,) = found(pair, down)
    assert (cause.kind, cause.key) == ("segment", "east")
    assert {"segment:west", "node:a", "node:b"} <= set(cause.equal)
    assert cause.confidence == 0.5


def test_nothing_down_has_no_cause() -> None:
    assert found(DEMO, fine) == []
    assert found(DEMO, blind) == []


def test_the_national_mesh_is_localised_in_fifty_milliseconds() -> None:
    streams = mesh_streams("national")
    node = streams[0].source_node
    index = build_index(streams)
    verdicts = [
        down(stream) if node in (stream.source_node, stream.destination_node) else fine(stream) for stream in streams
    ]
    took_s, causes = [], localise(index, verdicts)
    for _ in range(5):
        begun_s = time.process_time()
        causes = localise(index, verdicts)
        took_s.append(time.process_time() - begun_s)
    (cause,) = causes
    assert (cause.kind, cause.key, len(streams)) == ("node", node, 6480)
    assert min(took_s) < 0.05
