"""Getting the broker's jars: once, whole, only the locked ones, and a clear line when that fails."""

from pathlib import Path

import pytest

from deploy.embedded.kafka import install
from deploy.embedded.kafka.install import install_jars
from schemas.errors import UnavailableError


def put_maven(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program named mvn first on PATH that does what `script` says."""
    folder.mkdir()
    maven = folder / "mvn"
    maven.write_text(f"#!/bin/sh\n{script}\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.fixture
def two_jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Lock two jars of known content; return the script of a Maven that brings them."""
    lock = tmp_path / "jars.sha256"
    digests = {  # of "one" and "two"
        "one.jar": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
        "two.jar": "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3",
    }
    lock.write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))
    monkeypatch.setattr(install, "LOCK", lock)
    return "mkdir jars; printf one > jars/one.jar; printf two > jars/two.jar"


def test_jars_are_fetched_once_with_a_line_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_jars: str
) -> None:
    put_maven(tmp_path / "bin", monkeypatch, two_jars)
    said: list[str] = []
    jars = install_jars(said.append, cache=tmp_path / "cache")
    assert sorted(jar.name for jar in jars.iterdir()) == ["one.jar", "two.jar"]
    assert "fetching 2 jars" in said[0]
    said.clear()
    put_maven(tmp_path / "broken", monkeypatch, "exit 1")
    assert install_jars(said.append, cache=tmp_path / "cache") == jars
    assert said == []


@pytest.mark.parametrize(
    ("change", "named"),
    [("; printf evil > jars/one.jar", "one.jar"), ("; rm jars/two.jar", "two.jar"), ("; touch jars/x.jar", "x.jar")],
)
def test_a_jar_that_is_not_the_locked_one_installs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_jars: str, change: str, named: str
) -> None:
    put_maven(tmp_path / "bin", monkeypatch, two_jars + change)
    with pytest.raises(UnavailableError, match=f"1 jars differ.*{named}.*nothing was installed"):
        install_jars(lambda _: None, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_mavens_own_error_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_maven(tmp_path / "bin", monkeypatch, "echo '[ERROR]'; echo '[ERROR] Could not resolve kafka_2.13'; exit 1")
    with pytest.raises(UnavailableError, match=r"could not fetch the broker's jars: Could not resolve kafka_2\.13"):
        install_jars(lambda _: None, cache=tmp_path / "cache")


def test_a_maven_that_hangs_is_ended_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_maven(tmp_path / "bin", monkeypatch, "exec sleep 30")
    with pytest.raises(UnavailableError, match=r"within 0\.2 s"):
        install_jars(lambda _: None, cache=tmp_path / "cache", deadline_s=0.2)


def test_without_maven_the_line_that_gets_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"no mvn on PATH.*apt-get install maven"):
        install_jars(lambda _: None, cache=tmp_path / "cache")
