"""A probe host installs what it needs and nothing of the pipeline behind it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL_DEADLINE_S = 110
MAX_MB = 125
NOT_HERE = ("faust", "aiokafka", "clickhouse_driver", "chdb", "pandas", "starlette", "weasyprint", "grafana_client")


def call(words: list[str]) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=INSTALL_DEADLINE_S, cwd=ROOT)


def installer(home: Path) -> list[str]:
    """Return uv, which `make setup` installs, or this environment's pip: both check the same hashes."""
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        return [str(uv), "pip", "install", "--python", str(home / "bin/python")]
    return [sys.executable, "-m", "pip", "--python", str(home / "bin/python"), "install", "--no-compile"]


def isochrone(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(home / "bin/isochrone"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture(scope="module")
def probe_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual environment with `isochrone[probe]` as its lock says."""
    home = tmp_path_factory.mktemp("probe")
    call([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(home)])
    call([sys.executable, "-m", "venv", "--without-pip", str(home / "env")])
    install = [*installer(home / "env"), "--quiet"]
    call([*install, "--require-hashes", "-r", "requirements/probe.txt"])
    (built,) = home.glob("*.whl")
    call([*install, "--no-deps", str(built)])
    return home / "env"


@pytest.mark.parametrize("words", [("--help",), ("probe", "--help"), ("probe", "run", "--help")])
def test_the_probe_command_teaches_itself_without_the_pipeline(probe_host: Path, words: tuple[str, ...]) -> None:
    done = isochrone(probe_host, *words)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_a_probe_can_enrol_its_key(probe_host: Path, tmp_path: Path) -> None:
    done = isochrone(probe_host, "probe", "enrol", "--probe", "demo/north", "--key", str(tmp_path / "key.toml"))
    assert "public" in done.stdout
    assert (tmp_path / "key.toml").stat().st_mode & 0o777 == 0o600


def test_a_command_of_the_pipeline_names_what_this_install_leaves_out(probe_host: Path) -> None:
    done = isochrone(probe_host, "report", "build")
    assert done.returncode == 2
    assert "install isochrone with the extra" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_pipeline_is_not_on_a_probe_host_and_all_of_it_fits_into_its_bar(probe_host: Path) -> None:
    site = next(probe_host.glob("lib/python*/site-packages"))
    assert [name for name in NOT_HERE if (site / name).exists()] == []
    own = (path for path in site.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    size_mb = sum(path.stat().st_size for path in own) / 1e6
    assert size_mb <= MAX_MB, f"{size_mb:.0f} MB"
