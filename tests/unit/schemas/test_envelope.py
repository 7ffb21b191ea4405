import re

import pytest

from schemas.envelope import KEY_HEADER, SIGNATURE_HEADER, Signer, check_signature
from schemas.errors import WireError
from schemas.topics import TOPICS, TopicSpec

SIGNER = Signer("k1", bytes(range(32)))
KEYS = {"k1": SIGNER.public}


def reason(topic: str, value: bytes, headers: list[tuple[str, bytes]]) -> str:
    with pytest.raises(WireError) as caught:
        check_signature(topic, value, headers, KEYS)
    return caught.value.reason


def test_a_signed_value_names_its_key() -> None:
    assert check_signature("t", b"v", SIGNER.sign("t", b"v"), KEYS) == "k1"


def test_a_value_does_not_hold_on_another_topic() -> None:
    assert reason("other", b"v", SIGNER.sign("t", b"v")) == "signature"


@pytest.mark.parametrize("spec", TOPICS)
def test_no_topic_can_hold_the_nul_that_parts_it_from_the_value(spec: TopicSpec) -> None:
    assert re.fullmatch(r"[a-z0-9._-]{1,249}", spec.name)


def test_one_flipped_bit_breaks_the_signature() -> None:
    assert reason("t", b"w", SIGNER.sign("t", b"v")) == "signature"


def test_a_key_outside_the_mesh_is_named() -> None:
    assert reason("t", b"v", Signer("k2", bytes(32)).sign("t", b"v")) == "unknown_key"


def test_a_key_id_of_another_key_does_not_help() -> None:
    forged = [(KEY_HEADER, b"k1"), Signer("k2", bytes(32)).sign("t", b"v")[1]]
    assert reason("t", b"v", forged) == "signature"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(KEY_HEADER, b"k1")],
        [(KEY_HEADER, b"\xff"), (SIGNATURE_HEADER, b"")],
        [(KEY_HEADER, b"k1"), (KEY_HEADER, b"k1"), (SIGNATURE_HEADER, b"")],
    ],
)
def test_a_missing_broken_or_repeated_header_is_an_envelope_fault(headers: list[tuple[str, bytes]]) -> None:
    assert reason("t", b"v", headers) == "envelope"


def test_a_signature_of_the_wrong_length_is_refused_not_raised() -> None:
    assert reason("t", b"v", [(KEY_HEADER, b"k1"), (SIGNATURE_HEADER, b"short")]) == "signature"
