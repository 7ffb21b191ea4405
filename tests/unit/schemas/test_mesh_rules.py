"""One mesh that is refused for each rule; every refusal names the table, the entry and a remedy."""

import pytest
from support.meshes import PUBLIC_BASE64, PUBLIC_HEX, ROADS, mesh_of, probe_line, small

from schemas.errors import ConfigError
from schemas.mesh_check_plan import one_draft_each
from schemas.mesh_endpoints import derive_endpoints
from schemas.mesh_streams import draft_streams


def refusal(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        mesh_of(text)
    return str(caught.value).splitlines()


def key(name: str, *, public: str = PUBLIC_HEX, since: str = "", until: str = "") -> str:
    window = (f", from = {since}" if since else "") + (f", until = {until}" if until else "")
    return f'{{ id = "{name}", public = "{public}"{window} }}'


def test_the_small_mesh_itself_holds() -> None:
    assert len(mesh_of(small()).streams) == 2 * 6 + 2 * 3 + 2 * 2


def test_a_duplicate_node_is_refused_with_its_line() -> None:
    said = refusal(
        small('  { id = "gamma"', '  { id = "beta", kind = "city", lat = 1.0, lon = 1.0 },\n  { id = "gamma"')
    )
    assert said == ["small.toml:10: node `beta`: `beta` stands 2 times; keep one of the lines, or give it another id"]


def test_an_unknown_node_in_a_group_is_refused_with_the_nearest_name() -> None:
    assert refusal(small('id = "only-clusters"\nkinds = ["cluster"]', 'id = "only-clusters"\nnodes = ["betta"]')) == [
        "small.toml:25: group `only-clusters`: node `betta` is unknown; did you mean `beta`?"
    ]


def test_an_unknown_kind_of_node_in_a_group_is_refused() -> None:
    said = refusal(small('kinds = ["cluster"]', 'kinds = ["clusters"]'))
    assert "kind `clusters` is unknown; did you mean `cluster`?" in said[0]


def test_a_group_that_selects_nothing_is_refused() -> None:
    assert "it selects no node" in refusal(small(more='\n[[group]]\nid = "none"\n'))[0]


def test_a_group_of_hubs_alone_selects_nothing() -> None:
    assert "it selects no node" in refusal(small(more='\n[[group]]\nid = "none"\nkinds = ["hub"]\n'))[0]


def test_an_unknown_hub_is_refused() -> None:
    assert (
        "hub `hub-nort` is unknown; did you mean `hub-north`?"
        in refusal(small('"hub-north" },\n  { id = "beta"', '"hub-nort" },\n  { id = "beta"'))[0]
    )


def test_a_cluster_is_no_hub_to_roll_up_to() -> None:
    assert "hub `beta` is unknown" in refusal(small('hub = "hub-north" }', 'hub = "beta" }'))[0]


@pytest.mark.parametrize("place", ["lat = 91.0, lon = 0.0", "lat = 0.0, lon = -180.5"])
def test_a_node_off_the_globe_is_refused(place: str) -> None:
    said = refusal(small("n = 3, lat = 30.0, lon = 114.0", f"n = 3, {place}"))
    assert "node `gamma`" in said[0]
    assert "is off the globe" in said[0]


def test_an_ordinal_used_twice_is_refused_with_a_free_one() -> None:
    said = refusal(small("n = 3", "n = 2"))
    assert said[0] == "small.toml:10: node `gamma`: n = 2 is taken by `beta`; write n = 3"


def test_a_measured_node_without_an_ordinal_is_told_a_free_one() -> None:
    said = refusal(small(" n = 3,", ""))
    assert said[0] == (
        "small.toml: endpoint `gamma/telecom`: it has no address; "
        "write n = 3 on node `gamma`, or an [[endpoint]] with its address"
    )


def test_an_id_that_would_blur_an_endpoint_id_is_refused() -> None:
    said = refusal(small('{ id = "gamma"', '{ id = "gam/ma"'))
    assert "`gam/ma` is no valid id" in said[0]


def test_an_unknown_carrier_is_refused() -> None:
    said = refusal(small('carriers = ["telecom", "unicom"]', 'carriers = ["telecom", "unicon"]'))
    assert "carrier `unicon` is unknown; did you mean `unicom`?" in said[0]


def test_an_unknown_network_of_an_endpoint_is_refused() -> None:
    line = '\n[[endpoint]]\nnode = "alpha"\ncarrier = "telecom"\nnetwork = "cn3"\naddress = "10.9.9.9"\n'
    assert "endpoint `alpha/telecom`: network `cn3` is unknown; did you mean `cn2`?" in refusal(small(more=line))[0]


def test_an_unknown_network_of_a_segment_is_refused() -> None:
    said = refusal(small('networks = ["china169"]', 'networks = ["china196"]', more=ROADS))
    assert "segment `ab-unicom`: network `china196` is unknown; did you mean `china169`?" in said[0]


def test_two_endpoints_of_one_address_are_refused() -> None:
    line = '\n[[endpoint]]\nnode = "gamma"\ncarrier = "unicom"\naddress = "10.1.1.1"\n'
    said = refusal(small(more=line))
    assert "endpoint `gamma/unicom`: address 10.1.1.1 port 862 is `alpha/telecom` too" in said[0]


@pytest.mark.parametrize("address", ["224.0.0.1", "0.0.0.0", "255.255.255.255", "10.1.300.1", "example.org", "ff02::1"])  # noqa: S104
def test_an_address_that_no_probe_may_send_to_is_refused(address: str) -> None:
    line = f'\n[[endpoint]]\nnode = "gamma"\ncarrier = "unicom"\naddress = "{address}"\n'
    assert f"`{address}` is not an address to send to" in refusal(small(more=line))[0]


def test_an_endpoint_served_by_two_probes_is_refused() -> None:
    said = refusal(small(more=probe_line("small/p", '"alpha/telecom"') + probe_line("small/q", '"alpha/telecom"')))
    assert "probe `small/q`: endpoint `alpha/telecom` is served by `small/p` already" in said[0]


def test_an_endpoint_that_sends_without_a_probe_is_refused_once() -> None:
    said = refusal(small('probe = "node"', 'probe = "listed"'))
    assert len(said) == 6
    assert "endpoint `alpha/telecom`: it sends, but no probe serves it" in said[0]


def test_a_probe_of_an_unknown_endpoint_is_refused() -> None:
    said = refusal(small(more=probe_line("small/p", '"alpha/telecon"')))
    assert "endpoint `alpha/telecon` is unknown; did you mean `alpha/telecom`?" in said[0]


@pytest.mark.parametrize("name", ["other/p", "small", "small/", "small/a/b", "p"])
def test_a_probe_id_that_is_not_mesh_and_name_is_refused(name: str) -> None:
    assert "is not mesh/name" in refusal(small(more=probe_line(name)))[0]


def test_windows_of_one_key_id_that_overlap_are_refused() -> None:
    keys = key("k", until="2026-02-01T00:00:00Z") + ", " + key("k", since="2026-01-31T23:59:59Z")
    assert "key `k` has two windows that overlap" in refusal(small(more=probe_line("small/alpha", keys=keys)))[0]


def test_windows_of_one_key_id_that_touch_hold_and_so_do_two_keys_at_once() -> None:
    touching = key("k", until="2026-02-01T00:00:00Z") + ", " + key("k", since="2026-02-01T00:00:00Z")
    mesh = mesh_of(small(more=probe_line("small/alpha", keys=f"{touching}, {key('other', public=PUBLIC_BASE64)}")))
    assert len(mesh.probe_by_id["small/alpha"].keys) == 3


def test_a_key_that_ends_before_it_begins_is_refused() -> None:
    keys = key("k", since="2026-02-01T00:00:00Z", until="2026-01-01T00:00:00Z")
    assert "key `k` ends before it begins" in refusal(small(more=probe_line("small/alpha", keys=keys)))[0]


@pytest.mark.parametrize("public", ["", "abcd", PUBLIC_HEX[:-2], PUBLIC_BASE64[:-4], "z" * 64])
def test_a_public_key_that_is_not_32_bytes_is_refused(public: str) -> None:
    said = refusal(small(more=probe_line("small/alpha", keys=key("k", public=public))))
    assert "key `k` is not 32 bytes in hex or base64" in said[0]


def test_a_key_id_of_two_probes_is_refused() -> None:
    more = probe_line("small/alpha", keys=key("k")) + probe_line("small/beta", keys=key("k"))
    assert "key `k` belongs to `small/alpha` too" in refusal(small(more=more))[0]


def test_streams_whose_numbers_collide_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.mesh_streams.stream_id", lambda *_: 7)
    said = refusal(small())
    assert "stream id 7 of " in said[0]
    assert " is taken by " in said[0]


def test_two_rules_that_ask_for_one_stream_alike_give_it_once() -> None:
    file = mesh_of(small(more='\n[[stream_group]]\nid = "again"\nshape = "inside"\n')).file
    drafts, faults = one_draft_each(draft_streams(file, derive_endpoints(file)))
    assert (len(drafts), faults) == (22, [])


def test_two_rules_that_disagree_about_one_stream_are_refused() -> None:
    said = refusal(small(more='\n[[stream_group]]\nid = "again"\nshape = "inside"\ninterval_ms = 200\n'))
    assert "is asked for by `again` with another interval or timeout" in said[0]


def test_a_crossing_without_a_control_inside_is_refused() -> None:
    said = refusal(small(more='\n[[stream_group]]\nid = "ef"\nshape = "crossing"\nclass = "ef"\n'))
    assert "crossing alpha/telecom -> beta/unicom has no control inside" in said[0]


def test_a_stream_with_no_road_is_refused_when_roads_are_declared() -> None:
    said = refusal(
        small(
            'id = "bc-unicom"\nkind = "trunk"\na = "beta/unicom"',
            'id = "bc-unicom"\nkind = "trunk"\na = "beta/telecom"',
            more=ROADS,
        )
    )
    assert any("no segments lead alpha/unicom -> gamma/unicom" in line for line in said)


def test_a_crossing_does_not_use_a_road_of_a_third_network() -> None:
    foreign = 'id = "mobile", networks = [{ id = "cmnet", as = 9808 }] },\n  { id = "telecom"'
    said = refusal(
        small('id = "telecom"', foreign, more=ROADS.replace('["chinanet", "china169"]', '["chinanet", "cmnet"]'))
    )
    assert any("no segments lead beta/telecom -> beta/unicom" in line for line in said)


def test_a_misspelt_vertex_is_refused_with_the_nearest_endpoint() -> None:
    said = refusal(small('b = "gamma/unicom"', 'b = "gama/unicom"\nkm = 900', more=ROADS))
    assert any(
        "segment `bc-unicom`: `gama/unicom` leads nowhere; did you mean `gamma/unicom`?" in line for line in said
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('b = "beta/unicom"\nnetworks = ["chinanet"', 'b = "beta/telecom"\nnetworks = ["chinanet"', "both ends are"),
        ("km = 5", "km = 0", "km 0.0 is out of range"),
        ("km = 5", "km = 5\nweight = -1", "weight -1.0 is out of range"),
        ('networks = ["china169"]', "networks = []", "it belongs to no network"),
    ],
)
def test_a_segment_that_is_no_road_is_refused(old: str, new: str, said: str) -> None:
    assert any(said in line for line in refusal(small(old, new, more=ROADS)))


def test_a_carrier_without_a_network_is_refused() -> None:
    said = refusal(small('{ id = "telecom"', '{ id = "mobile", networks = [] },\n  { id = "telecom"'))
    assert said == ['small.toml:3: carrier `mobile`: it has no network; write networks = [{ id = "...", as = 64512 }]']


def test_a_room_that_would_blur_an_endpoint_id_is_refused() -> None:
    line = '\n[[endpoint]]\nnode = "alpha"\ncarrier = "telecom"\nroom = "a/b"\naddress = "10.9.9.9"\n'
    assert "room `a/b` is no valid id" in refusal(small(more=line))[0]


def test_a_segment_of_unknown_length_is_refused() -> None:
    more = ROADS + '[[segment]]\nid = "x"\nkind = "metro"\na = "alpha/telecom"\nb = "router"\nnetworks = ["chinanet"]\n'
    assert any("segment `x`: its length is not known" in line for line in refusal(small(more=more)))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("slot_ms = 7000", "slot_ms 7000 does not divide a minute"),
        ("slot_ms = 0", "mesh.defaults.slot_ms: expected `int` >= 1"),
        ("interval_ms = 300", "interval_ms 300 does not divide slot_ms"),
        ("interval_ms = 0", "mesh.defaults.interval_ms: expected `int` >= 1"),
        ("timeout_ms = 60001", "timeout_ms 60001 is out of range"),
        ("stamp_port = 65536", "mesh.defaults.stamp_port: expected `int` <= 65535"),
        ('class = "gold"', "class `gold` is unknown"),
    ],
)
def test_a_schedule_that_no_slot_can_hold_is_refused(written: str, said: str) -> None:
    lines = refusal(small('probe = "node"', f'probe = "node"\n{written}'))
    assert any(said in line for line in lines)


def test_a_timezone_that_is_no_zone_name_is_refused() -> None:
    assert "timezone `+08:00` is no zone name" in refusal(small('id = "small"', 'id = "small"\ntimezone = "+08:00"'))[0]


def test_pairs_and_groups_do_not_mix_in_one_rule() -> None:
    rule = '\n[[stream_group]]\nid = "p"\nshape = "inside"\npairs = [["alpha/telecom", "beta/telecom"]]\n'
    assert "shape `inside` does not go with what it lists" in refusal(small(more=rule))[0]


def test_a_pair_of_an_unknown_endpoint_is_refused() -> None:
    rule = '\n[[stream_group]]\nid = "p"\nshape = "pairs"\npairs = [["alpha/telecom", "betta/telecom"]]\n'
    assert "endpoint `betta/telecom` is unknown; did you mean `beta/telecom`?" in refusal(small(more=rule))[0]


def test_a_probe_asked_for_more_than_its_limits_is_refused() -> None:
    said = refusal(small('id = "small"', 'id = "small"\nlimits = { packets_per_s = 79 }'))
    assert said[0].startswith("small.toml: probe `small/alpha`: 80 packets/s, 46.08 kbit/s exceed the limits")


def test_all_faults_are_told_at_once() -> None:
    text = (
        small('hub = "hub-north" }', 'hub = "hub-x" }')
        .replace("lat = 30.0", "lat = 300.0")
        .replace('"inside"', '"inside"\ninterval_ms = 7')
    )
    assert len(refusal(text)) == 3


def test_an_unknown_key_in_a_node_names_its_line() -> None:
    with pytest.raises(ConfigError, match=r"small.toml:10: node\[3\]: unknown key `lattitude`"):
        mesh_of(small("n = 3, lat = 30.0", "n = 3, lattitude = 30.0"))
