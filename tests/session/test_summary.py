"""What the terminal says when a search ends."""

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from kedro.io import DataCatalog
from rich.console import Console

from bort_kedro.datasets.markdown_report import TextReportDataset
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.session.summary import SummaryHook, _print_candidates, _print_scores, _search_lines
from search_results import candidate, candidates, recorded, recorded_search, trained_search
from task_records import floor, rival, task


def printed(rows, report):
    console = Console(file=io.StringIO(), width=150)
    _print_candidates(console, pd.DataFrame(row.to_json() for row in rows).dropna(axis=1, how="all"), report)
    return console.file.getvalue()


def test_a_trained_search_ends_with_its_choice_who_comes_next_and_its_bound():
    assert _search_lines(trained_search()) == [
        "Error of the maximum point 0.580, of the most frequent token 0.950, of the most frequent follower 0.840.",
        "Selected (largest_w): 1 layers, 2 heads, hidden size 64, intermediate size 128 (W over error).",
        "The second best is (2, 2, 64, 64) with W 0.539; the two differ by more than twice the noise of their errors.",
        "Strategy fptas, 2 short trainings. The largest W found is at least 75.0 % of the largest of the space, if no "
        "network has a higher error than one it contains: of those not trained to the end, (3, 4, 96, 256) could have "
        "most, 0.720.",
    ]


def test_candidates_that_failed_are_counted_where_a_search_ends():
    (line,) = (line for line in _search_lines(trained_search(num_failed=2)) if line.startswith("Strategy"))
    assert line.startswith(
        "Strategy fptas, 2 short trainings; 2 candidate(s) failed, as the report says of each. The largest W found is "
        "at least 75.0 % of the largest of the space, those that failed left aside, if no network"
    )


def test_a_search_of_a_table_ends_without_a_word_on_trainings():
    lines = _search_lines(recorded_search(num_trained=12, num_tried=12))
    assert lines[1:] == [
        "The second best is (2, 2, 64, 64) with W 0.539; the table gives no noise of their errors, so whether the two "
        "can be told apart is not known.",
        "Strategy fptas, 12 rows looked up. The largest W found is at least 75.0 % of the largest of the space, if no "
        "network has a higher error than one it contains: of those not looked up, (3, 4, 96, 256) could have "
        "most, 0.720.",
    ]
    assert not any("train" in line for line in lines)


def test_what_is_bold_in_the_report_is_plain_on_the_terminal():
    lines = _search_lines(trained_search(is_distinguishable=False))
    assert lines[2].startswith("The two best cannot be told apart: the second best is (2, 2, 64, 64)")


@pytest.mark.parametrize(
    ("rows", "report", "title"),
    [
        (
            candidates(),
            trained_search(),
            "Trained candidates, 2 of 3, by W (* on the Pareto front)",
        ),
        (
            [recorded(row) for row in candidates()],
            recorded_search(),
            "Rows looked up, 2 of 3, by W (* on the Pareto front)",
        ),
    ],
    ids=["trained", "table"],
)
def test_the_table_is_headed_by_what_was_done(rows, report, title):
    text = printed(rows, report)
    assert text.splitlines()[0].strip() == title
    assert "(1, 2, 64, 128) *" in text
    assert "(2, 2, 32, 64)" not in text


@pytest.mark.parametrize(
    ("chosen", "which", "count"),
    [
        (25, "The best 20 trained candidates and the chosen one, 25 of 25", 21),
        (1, "The best 20 trained candidates, 25 of 25", 20),
    ],
)
def test_the_chosen_one_is_shown_however_it_ranks(chosen, which, count):
    rows = [
        candidate(BertShape(depth, 2, 64, 128), 0.7 - depth / 100, is_selected=depth == chosen)
        for depth in range(1, 26)
    ]
    text = printed(rows, trained_search(answer="smallest_error"))
    assert text.splitlines()[0].startswith(which)
    assert text.count(", 2, 64, 128)") == count


def test_nothing_is_said_where_nothing_was_made(capsys):
    SummaryHook().after_pipeline_run(catalog=None)
    assert capsys.readouterr().out == ""


def test_the_page_of_the_candidates_is_named_where_there_is_one(capsys):
    page = f"http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey={'a' * 100}"
    SummaryHook(lambda: page).after_pipeline_run(catalog=None)
    assert capsys.readouterr().out == f"The candidates in MLflow (`make mlflow`): {page}\n"


def scores(**changes):
    row = task(
        "superglue_rte",
        method="agora",
        score=0.572,
        standard_error=0.009,
        floors={"constant": floor(0.386, 0.186), "tfidf": floor(0.63, -0.058)},
        rivals={"plain": rival(0.011, 0.01)},
        **{"interval_low": 0.553, "interval_high": 0.591} | changes,
    )
    return pd.DataFrame([row.to_row()])


@pytest.mark.parametrize(
    ("changes", "interval"),
    [({}, "0.553 to 0.591"), ({"interval_low": None, "interval_high": None}, "± 0.009")],
)
def test_scores_are_shown_with_their_interval_in_a_hundred_columns(changes, interval):
    console = Console(file=io.StringIO(), width=100)
    _print_scores(console, scores(**changes))
    row = next(line for line in console.file.getvalue().splitlines() if "superglue_rte" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == ["superglue_rte", "agora", "accuracy", "0.572", interval, "yes 0.386", "no 0.630", "+1.1 ± 1.0"]


def lines_at(width, show, *data):
    console = Console(file=io.StringIO(), width=width)
    show(console, *data)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return lines


def cells(line):
    return [cell.strip() for cell in line.strip("│┃").split(line[0])]


@pytest.mark.parametrize(
    ("width", "names"),
    [
        (40, "shape (D, A, H, I), error, w"),
        (60, "shape (D, A, H, I), latency_ms, error, loss, w"),
        (80, "shape (D, A, H, I), parameters, latency_ms, error, loss, w"),
        (100, "shape (D, A, H, I), parameters, operations, latency_ms, error, loss, w"),
    ],
)
def test_candidates_have_the_columns_that_fit_whole_and_the_others_are_named(width, names):
    table = pd.DataFrame(row.to_json() for row in candidates()).dropna(axis=1, how="all")
    lines = lines_at(width, _print_candidates, table, trained_search())
    head, row = (next(line for line in lines if line.startswith(start)) for start in ("┃ shape", "│ (1, 2, 64, 128) *"))
    assert cells(head) == re.split(r", (?![AHI])", names)
    values = {"shape (D, A, H, I)": "(1, 2, 64, 128) *", "parameters": "100,000", "operations": "2,000,000"}
    values |= {"latency_ms": "0.75", "error": "0.612", "loss": "3.100", "w": "0.5410"}
    assert cells(row) == [values[name] for name in cells(head)]
    text = " ".join(line.strip() for line in lines)
    left_out = [name for name in ("error", "loss", "latency_ms", "parameters", "operations") if name not in names]
    assert (f"A wider terminal shows more columns: {'; '.join(left_out)}." in text) == bool(left_out)
    assert ("wider" in text) == bool(left_out)


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (40, ["superglue_rte", "0.572", "+1.1 ± 1.0"]),
        (60, ["superglue_rte", "0.572", "0.553 to 0.591", "+1.1 ± 1.0"]),
        (80, ["superglue_rte", "0.572", "0.553 to 0.591", "yes 0.386", "no 0.630", "+1.1 ± 1.0"]),
    ],
)
def test_scores_have_the_columns_that_fit_whole(width, row):
    lines = lines_at(width, _print_scores, scores())
    assert cells(next(line for line in lines if line.startswith("│ superglue_rte"))) == row
    assert any(line.startswith("A wider terminal shows more columns: ") for line in lines)


def test_the_last_lines_say_where_the_report_its_page_and_the_exports_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files = {
        "evaluate.report": "odd [a]/report.md",
        "evaluate.report_page": "report.html",
        "evaluate.library.export": "exports/library/2026/library",
        "evaluate.order.export": "exports/order/2026/order",
    }
    hook = SummaryHook()
    hook.after_context_created(SimpleNamespace(config_loader=SimpleNamespace(said=lambda: "Laid over it: mine.yml.")))
    for name in files:
        hook.after_dataset_saved(name, None)
    # What a pipeline that a user has added calls so is no export of a task.
    hook.after_dataset_saved("mine.export", None)
    catalog = DataCatalog({name: TextReportDataset(filepath=str(tmp_path / file)) for name, file in files.items()})
    hook.after_pipeline_run(catalog=catalog)
    assert capsys.readouterr().out == (
        "\nThe report: odd [a]/report.md\nThe same as one file, for a browser: report.html\n"
        f"Models for other runtimes: {Path('exports')}\n"
        "Laid over it: mine.yml.\n"
        "Look further: `make viz` (graph, tables, plots) and `make mlflow` (tracked runs).\n\n"
    )
