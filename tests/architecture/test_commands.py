import importlib
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli.main import COMMANDS, build

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_is_listed_is_there_and_teaches_itself(name: str) -> None:
    answer = CliRunner().invoke(build([name]), [name, "--help"])
    assert answer.exit_code == 0, answer.output
    assert "Usage" in answer.output


def test_a_command_file_imports_no_part_until_it_is_called() -> None:
    for name, (module, _) in COMMANDS.items():
        source = Path(str(importlib.import_module(module).__file__)).read_text()
        parts = re.findall(r"^(?:from|import) (probes|streams|alerts|dashboards)\b", source, re.MULTILINE)
        assert parts == [], name


def test_an_unknown_command_is_answered_with_the_nearest_one() -> None:
    answer = CliRunner().invoke(build(["probx"]), ["probx"])
    assert answer.exit_code == 2
    assert "probe" in answer.output


def test_the_readme_names_only_commands_that_exist() -> None:
    named = set(re.findall(r"^isochrone (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named - set(COMMANDS) == set()
