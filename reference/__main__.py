"""``python -m reference`` writes every page anew."""

from __future__ import annotations

from benchmarks.configured import PROJECT
from reference.pages import PAGES

if __name__ == "__main__":
    for name, page in PAGES.items():
        (PROJECT / "docs" / "reference" / name).write_text(page(), "utf-8")
