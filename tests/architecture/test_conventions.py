import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "probes", "streams", "alerts", "dashboards", "deploy")
QUANTITY = re.compile(r"_(ms|s|us|ns|km|bps|ppm|hz|ratio|count|bytes|seq|index|db)$")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def bare_truth_tests(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield every expression whose bare truth decides something."""
    for node in ast.walk(tree):
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test=test):
                yield test
            case ast.BoolOp(values=values):
                yield from values
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield operand
            case ast.comprehension(ifs=ifs):
                yield from ifs
            case _:
                pass


def offences(source: str) -> list[str]:
    found = []
    for test in bare_truth_tests(ast.parse(source)):
        name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
        if QUANTITY.search(name):
            found.append(f"line {test.lineno}: bare truth test on {name}")
    return found


def test_zero_is_a_measurement_so_no_quantity_is_tested_by_its_truth() -> None:
    found = [f"{path.relative_to(ROOT)} {offence}" for path in SOURCES for offence in offences(path.read_text())]
    assert found == []


@pytest.mark.parametrize("bad", ["if rtt_ms: pass", "x = 1 if a.loss_ratio else 2", "y = not t_ns", "b_us and c"])
def test_the_convention_sees_the_fault_that_types_and_lints_miss(bad: str) -> None:
    assert offences(bad) != []


@pytest.mark.parametrize("good", ["if rtt_ms is not None: pass", "if rtt_ms > 0: pass", "if rows: pass"])
def test_the_convention_leaves_comparisons_alone(good: str) -> None:
    assert offences(good) == []


def test_an_init_holds_a_docstring_and_nothing_else() -> None:
    for path in (p for p in SOURCES if p.name == "__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


def names_used(tree: ast.AST) -> Iterator[str]:
    """Yield every module that a file may mean: imported, imported from, or named in a text."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                yield from (module, *(f"{module}.{each.name}" for each in names))
            case ast.Import(names=names):
                yield from (each.name for each in names)
            case ast.Constant(value=str(text)):
                yield text
            case _:
                pass


def test_no_module_ships_that_nothing_else_uses() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES}
    used = {name for path in SOURCES for name in names_used(ast.parse(path.read_text()))}
    started = {"deploy.tether", "deploy.embedded.clickhouse.__main__"}  # by path, by `python -m`
    assert {each for each in modules - used - started if not each.endswith("__init__")} == set()


def test_no_function_is_longer_than_its_gate() -> None:
    long = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > 60:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} {lines} lines")
    assert long == []


def test_every_folder_of_the_house_says_what_it_is() -> None:
    for folder in (*PACKAGES, "tests"):
        assert (ROOT / folder / "README.md").is_file(), folder
