import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = out.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_the_six_packages_and_never_the_tests(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names if ".dist-info" not in name}
    assert tops == {"schemas", "probes", "streams", "alerts", "dashboards", "deploy"}


@pytest.mark.parametrize("folder", ["schemas/migrations", "schemas/queries", "alerts/policy", "deploy/mesh"])
def test_the_wheel_holds_every_file_that_the_code_reads(wheel_names: set[str], folder: str) -> None:
    for path in (ROOT / folder).iterdir():
        if path.is_file():
            assert f"{folder}/{path.name}" in wheel_names


def test_the_one_console_script_is_isochrone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"isochrone": "deploy.cli.main:run"}


def test_the_lock_names_hashes_and_no_address() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "--hash=sha256:" in text, lock
        assert "://" not in text, lock
