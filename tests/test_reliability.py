"""What docs/reliability.md names is there, and each fault's tier is that of its test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text("utf-8")
HEADER = ["fault", "guaranteed", "what the user reads", "held by", "tier"]
FEWEST_ROWS = 20


def table_rows():
    lines = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("|")]
    return [cells for cells in lines if cells != HEADER and set("".join(cells)) != {"-"}]


ROWS = table_rows()


def tier_of(file, name):
    """Of a test, by its own marks; None where there is no such test."""
    for node in ast.parse((TESTS / file).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            marks = {ast.unparse(each) for each in node.decorator_list}
            return "nightly" if "pytest.mark.nightly" in marks else "CI"
    return None


def test_every_fault_has_a_row_of_its_own():
    assert len(ROWS) >= FEWEST_ROWS
    assert [cells for cells in ROWS if len(cells) != len(HEADER) or not all(cells)] == []
    assert len({cells[0] for cells in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_test_of_a_fault_is_there_and_of_its_tier(row):
    *_, held_by, tier = row
    file, name = re.fullmatch(r"`([\w/]+\.py)::(test_\w+)`", held_by).groups()
    assert tier_of(file, name) == tier
