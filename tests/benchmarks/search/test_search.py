"""The whole of ``make bench-search`` on a space that trains in seconds."""

import pandas as pd
import pytest

from benchmarks.search import __main__ as benchmark
from benchmarks.search import overhead, page, replays
from tiny_benchmarks import tiny_space_parameters, tiny_text, written


def test_a_search_over_many_candidates_is_timed_to_its_end():
    assert 0 < overhead.overhead_seconds(300) < 100


def test_the_page_says_how_many_were_trained_and_not_how_many_were_allowed():
    row = {"w_share": 0.9, "hypervolume_share": 0.8, "seed": 0}
    findings = [
        {"space": kind, "strategy": strategy, "budget": budget, "training_seed": seed, "cost": cost, **row}
        for kind in ("whole", "part")
        for full in replays.FPTAS_BUDGETS
        for strategy, budget, cost in (("fptas", full, full - 1.0), ("surrogate", full // 2, full / 2))
        for seed in (0, 1)
    ]
    part = page.half_part(pd.DataFrame(findings))
    assert "| whole, 2 pairs | 9 / 17 | 90.0 % / 90.0 % | +0.0 ± 0.0 | 100.0 % |" in part.text
    assert part.figures[0].name == "surrogate with 2 trainings minus fptas with 3, whole space: share of the best W"


@pytest.mark.session
def test_a_small_space_is_trained_replayed_and_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "bench_parameters", tiny_space_parameters)
    monkeypatch.setattr(benchmark, "embedded_text", tiny_text)
    monkeypatch.setattr(overhead, "bench_parameters", tiny_space_parameters)
    for module in (benchmark, page):
        monkeypatch.setattr(module, "SEARCH_SECONDS", {300: 2.0})
    for module in (replays, page):
        monkeypatch.setattr(module, "PARTS", 2)
    monkeypatch.setattr(benchmark, "DRAWS", {"surrogate": 1, "TPE": 1, "GP": 1})
    monkeypatch.setattr(benchmark, "SAMPLED_BUDGETS", (4,))
    monkeypatch.setattr(benchmark, "JUDGED_BUDGET", 4)
    benchmark.main(["--folder", str(tmp_path / "docs"), "--states", str(tmp_path / "states")])
    text, figures = written(tmp_path / "docs", "search")
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# Search",
        "## Guarantee",
        "## Half the trainings",
        "## Cost",
        "## Against optuna's samplers",
        "## Winners and noise",
        "## Overhead",
    ]
    assert "24 shapes and the maximum point, 2 seeds each" in text
    assert "![Share found by number of trainings](search.svg)" in text
    assert (
        figures["fptas: share of searches whose W was within the bound stated before the rest was looked at"]["target"]
        == 1.0
    )
    assert {"search over 300 candidates without trainings", "this benchmark"} <= figures.keys()
    assert (tmp_path / "docs" / "search.svg").read_text().startswith("<?xml")
    assert {
        "surrogate ahead of TPE after 4 trainings: hypervolume",
        "surrogate ahead of GP after 4 trainings: W",
    } <= set(figures)
    errors = pd.read_csv(tmp_path / "docs" / "search_errors.csv")
    # Two seeds of 24 candidates and T, after each of three rungs.
    assert len(errors) == 2 * 25 * 3
    assert sorted(errors["seed"].unique()) == [100, 101]
    assert errors["error"].between(0, 1).all()
    assert capsys.readouterr().out == f"{text}\n"
