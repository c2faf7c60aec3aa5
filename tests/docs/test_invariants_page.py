"""docs/invariants.md: every invariant has a code of its own and an enforcer that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "invariants.md"

_ROW = re.compile(r"^\| ([A-Z]\d+) \| (.+) \| (.+) \|$", re.MULTILINE)
_ENFORCER = re.compile(r"`((?:crdtsync|adapters|tests)/[\w/]+\.py)(?:::(\w+))?`")


def rows(text: str) -> list[tuple[str, str]]:
    """The code and the enforcement of each invariant."""
    return [(found[1], found[3]) for found in _ROW.finditer(text)]


def names(source: str) -> set[str]:
    """The functions, classes and constants that a file defines, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found.update(target.id for target in targets if isinstance(target, ast.Name))
    return found


def faults(enforcement: str) -> list[str]:
    """What is wrong with one enforcement, a sentence each."""
    named = _ENFORCER.findall(enforcement)
    if not named or _ENFORCER.sub("", enforcement).strip(", "):
        return [f"{enforcement} is not a list of enforcers"]
    wrong = []
    for path, name in named:
        file = ROOT / path
        if not file.is_file():
            wrong.append(f"{path} does not exist")
        elif name and name not in names(file.read_text(encoding="utf-8")):
            wrong.append(f"{path} defines no {name}")
    return wrong


@pytest.mark.parametrize(("code", "enforcement"), rows(PAGE.read_text(encoding="utf-8")))
def test_an_invariant_has_an_enforcer_that_exists(code: str, enforcement: str) -> None:
    assert faults(enforcement) == [], code


def test_the_codes_are_numbered_without_gap_or_repetition() -> None:
    text = PAGE.read_text(encoding="utf-8")
    codes = [code for code, _ in rows(text)]
    assert len(codes) == sum(line.startswith("| ") for line in text.splitlines()) - text.count("| code |")
    for letter in {code[0] for code in codes}:
        numbers = [int(code[1:]) for code in codes if code[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1)), letter


@pytest.mark.parametrize(
    ("enforcement", "fault"),
    [
        ("a promise", "is not a list of enforcers"),
        ("`tests/absent.py`", "does not exist"),
        ("`tests/test_layers.py::test_absent`", "defines no test_absent"),
    ],
)
def test_an_enforcer_that_does_not_exist_is_found(enforcement: str, fault: str) -> None:
    assert fault in faults(enforcement)[0]
