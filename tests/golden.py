"""Texts held against a file that a person has read.

`pytest --update-golden` writes the files of the tests that it runs anew; read what git then shows before it is kept.
"""

from pathlib import Path

import pytest


class Golden:
    """Holds texts against the files in ``golden/`` beside the test."""

    def __init__(self, folder: Path, *, is_updated: bool):
        self.folder = folder
        self.is_updated = is_updated

    def check(self, name: str, text: str):
        """Fail where `text` is not that of the file `name`, with the command that writes it anew."""
        path = self.folder / name
        if self.is_updated:
            self.folder.mkdir(exist_ok=True)
            path.write_text(text.rstrip("\n") + "\n", "utf-8")
        if not path.is_file():
            pytest.fail(f"{path} does not exist; `pytest --update-golden` writes it.")
        expected = path.read_text("utf-8")
        assert text.rstrip("\n") + "\n" == expected, f"differs from {path}; `pytest --update-golden` writes it anew"
