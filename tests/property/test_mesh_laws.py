"""What holds of a mesh file whatever the order of its lines and whatever node is added."""

import random
import re

from hypothesis import given
from hypothesis import strategies as st
from support.meshes import PUBLIC_HEX, ROADS, SMALL, mesh_of, probe_line, small

KEYED = (
    SMALL
    + ROADS
    + probe_line("small/one", '"alpha/telecom", "beta/telecom"', f'{{ id = "k", public = "{PUBLIC_HEX}" }}')
)


def shuffled(text: str, seed: int) -> str:
    """Return the same file with its lines, tables and lists in another order, and comments between."""
    dice = random.Random(seed)  # noqa: S311 - a shuffle, not a secret
    top, *tables = re.split(r"\n(?=\[)", text)
    dice.shuffle(tables)
    top = re.sub(r"(?ms)^((?:node|carrier) = \[\n)(.*?)(^\])", lambda m: mixed_block(m, dice), top)
    lists = re.compile(r'(?m)^(carriers|kinds|endpoints|networks) = \["(.*)"\]$')
    body = lists.sub(
        lambda m: f'{m[1]} = ["' + '", "'.join(reversed(m[2].split('", "'))) + '"]', "\n# a comment\n".join(tables)
    )
    return top + "\n" + body


def mixed_block(found: re.Match[str], dice: random.Random) -> str:
    lines = found[2].splitlines(keepends=True)
    dice.shuffle(lines)
    return found[1] + "  # moved\n".join(lines) + found[3]


@given(st.integers(min_value=0, max_value=2**32))
def test_the_order_of_lines_decides_neither_the_version_nor_a_stream_nor_a_path(seed: int) -> None:
    assert mesh_of(shuffled(KEYED, seed)) == mesh_of(KEYED)


@given(lat=st.floats(-90, 90), lon=st.floats(-180, 180), n=st.integers(4, 255))
def test_one_more_node_line_is_one_more_node_in_every_rule(lat: float, lon: float, n: int) -> None:
    before, carriers = mesh_of(small()), 2
    line = f'  {{ id = "delta", kind = "cluster", n = {n}, lat = {lat:.6f}, lon = {lon:.6f} }},\n'
    after = mesh_of(small('  { id = "alpha"', line + '  { id = "alpha"'))
    inside, at_node, between_clusters = carriers * 2 * 3, carriers, carriers * 2 * 2
    assert len(after.streams) == len(before.streams) + inside + at_node + between_clusters
    assert set(before.stream_by_id) < set(after.stream_by_id)
    assert set(after.probe_by_id) - set(before.probe_by_id) == {"small/delta"}
    assert all(s.control in after.stream_by_id for s in after.streams if s.relation == "inter_network")


@given(st.sampled_from(["lat = 40.0", "interval_ms = 100", "km = 5", '"hub-north"', "10.1.{n}.1", 'kind = "trunk"']))
def test_any_changed_value_is_another_version(piece: str) -> None:
    text = KEYED.replace('probe = "node"', 'probe = "node"\ninterval_ms = 100')
    changed = {
        "lat = 40.0": "lat = 40.5",
        "interval_ms = 100": "interval_ms = 200",
        "km = 5": "km = 6",
        '"hub-north"': '"hub-n"',
    }
    changed |= {"10.1.{n}.1": "10.7.{n}.1", 'kind = "trunk"': 'kind = "metro"'}
    assert mesh_of(text.replace(piece, changed[piece])).version != mesh_of(text).version


def test_a_default_written_out_is_the_same_version() -> None:
    assert mesh_of(small('probe = "node"', 'probe = "node"\ninterval_ms = 100')).version == mesh_of(small()).version
