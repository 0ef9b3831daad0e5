"""What docs/architecture.md says of the code is there, and nothing of the code is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
PAGE = (PROJECT / "docs" / "architecture.md").read_text()
SOURCE = PROJECT / "src" / "bort_kedro"
PICTURE = PAGE.split("```")[1]


def rooms():
    return sorted(folder.name for folder in SOURCE.iterdir() if (folder / "__init__.py").is_file())


def named_paths(text):
    return sorted(set(re.findall(r"`((?:src|conf|tests|docs)/[\w./-]+)`", text)))


@pytest.mark.parametrize("room", rooms())
def test_every_room_stands_in_the_picture(room):
    assert re.search(rf"(?m)(^ |│ ){room}\b", PICTURE)


@pytest.mark.parametrize("path", named_paths(PAGE))
def test_every_named_file_is_there(path):
    assert (PROJECT / path).exists()


@pytest.mark.parametrize("file", sorted(path.name for path in SOURCE.glob("*.py") if not path.name.startswith("__")))
def test_every_file_beside_the_rooms_is_named(file):
    assert f"`{file}`" in PAGE


def test_there_are_three_walks_and_ten_things_to_change():
    walks = PAGE.split("## Three walks")[1].split("## To change")[0]
    assert len(re.findall(r"(?m)^\*\*A ", walks)) == 3
    assert all(len(named_paths(walk)) >= 5 for walk in walks.split("**A ")[1:])
    table = PAGE.split("## To change X, open Y")[1]
    assert len([line for line in table.splitlines() if line.startswith("| ") and named_paths(line)]) >= 10


def test_functions_that_the_walks_name_are_in_their_files():
    for path, function in re.findall(r"`(src/[\w./]+\.py)`, `(\w+)`", PAGE):
        assert re.search(rf"(?m)^def {function}\(", (PROJECT / path).read_text()), (path, function)
