"""`isochrone mesh` as an operator meets it."""

import json
from pathlib import Path

import pytest
from support.meshes import small
from typer.testing import CliRunner

from deploy.cli.mesh import app
from schemas.errors import ConfigError


@pytest.fixture
def mesh_file(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text(small(), encoding="utf-8")
    return file


def test_check_prints_counts_cost_and_warnings(mesh_file: Path) -> None:
    said = CliRunner().invoke(app, ["check", str(mesh_file)])
    assert said.exit_code == 0
    assert "22 directed streams" in said.output
    assert "small/alpha" in said.output
    assert "warning: 3 of 3 probes have no key" in said.output


def test_check_says_in_json_what_it_prints(mesh_file: Path) -> None:
    said = json.loads(CliRunner().invoke(app, ["check", str(mesh_file), "--json"]).output)
    assert said["holds"] is True
    assert sum(row["streams"] for row in said["streams"]) == said["cost"]["streams"] == 22
    assert said["cost_by_probe"]["small/alpha"]["packets_per_s"] == 80


def test_check_lists_every_fault_in_json_and_exits_non_zero(mesh_file: Path) -> None:
    mesh_file.write_text(small("n = 3", "n = 2").replace("lat = 31.0", "lat = 310.0"), encoding="utf-8")
    said = CliRunner().invoke(app, ["check", str(mesh_file), "--json"])
    assert said.exit_code == 1
    errors = json.loads(said.output)["errors"]
    assert any("off the globe" in line for line in errors)
    assert any("is taken by" in line for line in errors)


def test_check_hands_a_fault_to_the_command_line_as_one_error(mesh_file: Path) -> None:
    mesh_file.write_text(small("n = 3", "n = 2"), encoding="utf-8")
    said = CliRunner().invoke(app, ["check", str(mesh_file)])
    assert isinstance(said.exception, ConfigError)


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path: Path, name: str) -> None:
    said = CliRunner().invoke(app, ["check", str(tmp_path / name)])
    assert isinstance(said.exception, ConfigError)
    assert "cannot be read" in str(said.exception)


def test_export_prints_the_slice_of_one_probe(mesh_file: Path) -> None:
    said = CliRunner().invoke(app, ["export", str(mesh_file), "--probe", "small/beta"])
    assert json.loads(said.output)["probe_id"] == "small/beta"
