import ipaddress

import pytest

from probes.gate import Allowed, Limits
from schemas.errors import ConfigError

SECOND = 1_000_000_000


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def test_a_peer_is_answered_only_when_an_address_or_prefix_names_it() -> None:
    allowed = Allowed(("10.0.0.0/24", "192.0.2.7", "2001:db8::/64"))
    asked = ("10.0.0.200", "10.0.1.1", "192.0.2.7", "192.0.2.8", "2001:db8::9", "2001:db8:1::9")
    assert [packed(address) in allowed for address in asked * 2] == [True, False, True, False, True, False] * 2


def test_an_empty_list_answers_nobody() -> None:
    assert packed("127.0.0.1") not in Allowed(())


def test_an_entry_that_is_no_address_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match="give addresses or prefixes"):
        Allowed(("hub-a",))


def test_a_source_has_its_limit_each_second_and_leaves_the_others_theirs() -> None:
    limits = Limits(per_source=2, total=100)
    assert [limits.allow(b"a", at) for at in (0, 1, 2, SECOND - 1)] == [True, True, False, False]
    assert limits.allow(b"b", 3)
    assert limits.allow(b"a", SECOND)


def test_all_sources_together_have_a_limit() -> None:
    limits = Limits(per_source=10, total=3)
    assert [limits.allow(source, 0) for source in (b"a", b"b", b"c", b"d")] == [True, True, True, False]
