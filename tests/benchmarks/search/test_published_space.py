"""The whole of ``make bench-published-space``."""

import numpy as np
import pandas as pd

from benchmarks.search import published_space
from tiny_benchmarks import written


def test_the_published_space_is_ranked_and_written(monkeypatch, tmp_path):
    monkeypatch.setattr(published_space, "RESAMPLINGS", 3)
    monkeypatch.setattr(published_space, "ALPHAS", np.array(published_space.SHOWN_ALPHAS))
    published_space.main(["--folder", str(tmp_path)])
    page, figures = written(tmp_path, "published-space")
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## Exact: what the errors would have to be",
        "## If the error is a power of the size",
        "## If the error continues what small shapes show",
    ]
    rank = figures["Bort as released (4, 8, 1024, 768): rank by the size factors alone"]
    assert (rank["value"], rank["unit"]) == (179, "of 300")
    # Of whatever was measured last.
    assert 1 <= figures["Bort as released (4, 8, 1024, 768): rank by extrapolated error"]["value"] <= 300
    ratios = pd.read_csv(tmp_path / "published-space.csv")
    assert len(ratios) == 300
    assert (ratios["required_ratio_bort"] > 1).sum() == 178


def test_without_measured_errors_the_page_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr(published_space, "MEASURED", tmp_path / "search_errors.csv")
    section = published_space.measured_section(published_space.published_space())
    assert section.figures == ()
    assert section.outcome == (
        "Not extrapolated: there is no docs/benchmarks/search_errors.csv with measured errors; `make bench-search` "
        "makes it."
    )
