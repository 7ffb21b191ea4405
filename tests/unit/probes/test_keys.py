"""A private key is made once, shown to nobody else, and refused when others could have read it."""

from pathlib import Path

import pytest

from probes.keys import enrol, load_signer
from schemas.config import load
from schemas.envelope import check_signature
from schemas.errors import ConfigError
from schemas.mesh_file import MeshFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "probe.toml"


def test_the_line_to_paste_is_what_a_mesh_file_takes(path: Path) -> None:
    line = enrol(path, "m/p", random_bytes=lambda size: bytes(range(size)))
    mesh = load(f'[mesh]\nid = "m"\n{line}', MeshFile, source="mesh.toml")
    (key,) = mesh.probe[0].keys
    signer = load_signer(path)
    assert (mesh.probe[0].id, key.id, key.public) == ("m/p", signer.key_id, signer.public.hex())
    headers = signer.sign("t", b"value")
    assert check_signature("t", b"value", headers, {key.id: bytes.fromhex(key.public)}) == key.id


def test_enrolling_again_shows_the_same_key(path: Path) -> None:
    assert enrol(path, "m/p") == enrol(path, "m/p")


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    enrol(path, "m/p")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_signer(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('id = "k"\nseed = "zz"', "not hex"),
        ('id = "k"\nseed = "00"', "1 bytes, wanted 32"),
        ('id = "k"', "`seed` is missing"),
        ("\x00", "not valid TOML"),
    ],
)
def test_a_file_that_is_no_key_is_refused_with_its_name(path: Path, text: str, said: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=said) as error:
        load_signer(path)
    assert str(path) in str(error.value)


def test_no_key_names_the_command_that_makes_one(path: Path) -> None:
    with pytest.raises(ConfigError, match="isochrone probe enrol"):
        load_signer(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(ConfigError, match="can be written"):
        enrol(tmp_path / "keys" / "probe.toml", "m/p")
