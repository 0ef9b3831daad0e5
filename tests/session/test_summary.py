"""What the terminal shows when a run ends, of what the run made or read."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline

from bort_kedro.cli import cli
from bort_kedro.datasets.markdown_report import TextReportDataset
from bort_kedro.datasets.training_states import TrainingStatesDataset
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.session.summary import SummaryHook
from bort_kedro.training.saved_state import SavedState
from report_data import report_inputs
from search_results import CHOSEN, candidate, recorded_search, trained_search
from task_records import FINETUNING, examples, export_format, export_report, floor, rival, task

WITH_STATES = ("search", "pretrain_distill", "finetune")
PAGE, EXPORT = "report.html/2026/report.html", "exports/library/2026/library"
TABLE = pd.DataFrame(
    [candidate(CHOSEN, 0.6, is_selected=True).to_json()]
    + [candidate(BertShape(depth, 2, 64, 128), 0.5 - depth / 100).to_json() for depth in range(2, 20)]
)
TASKS = [
    task(
        name,
        method="agora",
        interval_low=0.664,
        interval_high=0.736,
        floors={"constant": floor(0.5, 0.2), "tfidf": floor(0.72, -0.02)},
        rivals={"plain": rival(0.02, 0.009, 0.68)},
    )
    for name in ("library", "order")
]
SCORES = pd.DataFrame([row.to_row() for row in TASKS])
EXPORTED = export_report(pytorch=export_format(), onnx_int8=export_format(median_ms=0.5, bytes=300_000)).to_json()
MADE = {
    "corpus": {"corpus.corpus_manifest": report_inputs()["corpus"]},
    "tasks": {"tasks.library.examples_report": examples(train="built-in train").to_json()},
    "search": {
        "search.search_report": trained_search(),
        "search.candidate_table": TABLE,
        "selected_shape": CHOSEN.to_row(),
    },
    "pretrain_distill": {"pretrain_distill.pretraining_metrics": report_inputs()["pretraining"].to_json()},
    "finetune": {"finetune.library.finetuning_report": FINETUNING.to_json()},
    "evaluate": {
        "evaluate.library.export_report": EXPORTED,
        "evaluate.order.export_report": EXPORTED,
        "evaluate.task_scores": SCORES,
        "evaluate.report_page": "<html>",
        "evaluate.library.export": None,
    },
}


@pytest.fixture
def ended(tmp_path, monkeypatch, capsys):
    """Let a run of some stages make what they make, and read what is printed at its end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: str(Path(sys.executable).with_name(name)))
    states = TrainingStatesDataset(str(tmp_path / "states"))
    files = {"evaluate.report_page": PAGE, "evaluate.library.export": EXPORT}
    paths = {name: str(tmp_path / file) for name, file in files.items()}

    def run(*stages, made=None, read=None, num_new=0, entries=None):
        places = {name: TextReportDataset(filepath=path) for name, path in {**paths, **(entries or {})}.items()}
        catalog = DataCatalog({**places, "training_states": states})
        nodes = [
            Node(
                print,
                ["training_states", f"{stage}_input"] if stage in WITH_STATES else f"{stage}_input",
                None,
                name=f"{stage}_node",
                namespace=stage if stage in MADE else None,
            )
            for stage in stages
        ]
        hook = SummaryHook()
        hook.before_pipeline_run(pipeline=Pipeline(nodes), catalog=catalog)
        for number in range(num_new):
            identity = {"settings": {"optimization": {"num_steps": 4}}, "number": number}
            states.load().of("search/D1", identity).put(
                SavedState(4, {"model.bias": torch.zeros(1)}, {"has_ended": True})
            )
        for name, data in (read or {}).items():
            hook.after_dataset_loaded(dataset_name=name, data=data)
        for stage in stages:
            for name, data in (MADE.get(stage, {}) if made is None else made).items():
                hook.after_dataset_saved(dataset_name=name, data=data)
        hook.after_pipeline_run(catalog=catalog)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 24
        assert max((len(line) for line in lines if "--params" not in line), default=0) <= 100
        return lines

    return run


def test_a_run_of_all_stages_ends_with_one_screen_of_all_that_it_found(ended):
    assert ended(*MADE, num_new=3) == [
        "",
        "What this run found (new trainings: 3)",
        "Shapes (layers, heads, hidden, intermediate) by W over error, largest_w chosen (3 of 19)",
        "         shape, * Pareto front  parameters  operations  latency ms  error   loss       w",
        "chosen   (1, 2, 64, 128) *         100,000   2,000,000        0.75  0.612  3.100  0.6000",
        "         (2, 2, 64, 128) *         100,000   2,000,000        0.75  0.612  3.100  0.4800",
        "         (3, 2, 64, 128) *         100,000   2,000,000        0.75  0.612  3.100  0.4700",
        "largest  (4, 4, 128, 512)        1,000,000  40,000,000        0.75  0.580  3.100       –",
        "The second best is (2, 2, 64, 64) with W 0.539; the two differ by more than twice the noise of their",
        "errors.",
        "Pretraining under a larger teacher: hidden tokens predicted on unseen text",
        "student (1, 2, 64, 128)    no teacher  points ahead  larger encoder  word pairs counted",
        "           40.0 ± 0.3 %  38.5 ± 0.3 %    +1.5 ± 0.5    45.0 ± 0.3 %              31.0 %",
        "Tasks, accuracy, on test examples that fine-tuning never saw",
        "task     method   score      interval  constant  TF-IDF   plain  fastest export",
        "library  agora   70.0 %  66.4 to 73.6    50.0 %  72.0 %  68.0 %  onnx_int8 70.0 %, 0.50 ms, 0.3 MB",
        "order    agora   70.0 %  66.4 to 73.6    50.0 %  72.0 %  68.0 %  onnx_int8 70.0 %, 0.50 ms, 0.3 MB",
        "Not beaten beyond noise: TF-IDF on library, order.",
        "",
        "Report   report.html/2026/report.html",
        "Exports  exports",
        "Next  make viz                                               # the report, tables and plots",
        "      make mlflow                                            # every training with its curve",
        "      python -m pydoc bort_kedro.exports.folder.open_export  # how to use an export",
    ]


@pytest.mark.parametrize(
    ("stages", "found", "commands"),
    [
        (["corpus"], "Corpus: 9,237 documents", ["kedro run --pipelines search", "kedro plan", "make viz"]),
        (["corpus", "tasks"], "Corpus: 9,237 documents", ["kedro run", "kedro plan", "make viz"]),
        (["tasks"], "Examples of the tasks", ["kedro run", "kedro plan", "make viz"]),
        (
            ["corpus", "search"],
            "Shapes (layers",
            ["kedro run --pipelines pretrain_distill", "make viz", "make notebook"],
        ),
        (["pretrain_distill"], "Pretraining under", ["kedro run --pipelines finetune", "make mlflow", "make viz"]),
        (["tasks", "finetune"], "Fine-tuned models", ["kedro run --pipelines evaluate", "make mlflow", "make viz"]),
        (
            ["evaluate"],
            "Tasks, accuracy",
            ["make viz", "make mlflow", "python -m pydoc bort_kedro.exports.folder.open_export"],
        ),
    ],
)
def test_a_run_of_some_stages_tells_what_they_found_and_what_comes_after_the_last(ended, stages, found, commands):
    lines = ended(*stages)
    assert lines[2].startswith(found)
    first = next(number for number, line in enumerate(lines) if line.startswith("Next"))
    assert [line[6:].partition("#")[0].strip() for line in lines[first:]] == commands


def test_a_run_in_which_nothing_was_trained_anew_says_so(ended):
    assert ended("search")[1] == "What this run found (new trainings: none, all were found finished)"
    assert ended("search", num_new=1)[1] == "What this run found (new trainings: 1)"
    assert ended("evaluate")[1] == "What this run found"


def test_a_report_that_is_written_again_is_told_of_what_it_was_read_from(ended):
    read = {"evaluate.search_report": trained_search(), "evaluate.task_scores": SCORES}
    lines = ended("evaluate", made={"evaluate.report_page": "<html>"}, read=read)
    assert [line for line in lines if line.startswith(("Shapes", "Tasks", "Report", "Exports", "Pretraining"))] == [
        "Shapes (layers, heads, hidden, intermediate) by W over error, largest_w chosen",
        "Tasks, accuracy, on test examples that fine-tuning never saw",
        "Report  report.html/2026/report.html",
    ]
    assert lines[-1].endswith("kedro compare  # what changed since the run before")


def test_a_report_on_a_store_is_named_with_its_protocol(ended):
    place = "memory:///bucket/report.html"
    lines = ended("evaluate", made={"evaluate.report_page": "<html>"}, entries={"evaluate.report_page": place})
    assert "Report  memory:///bucket/report.html" in lines


def test_a_search_of_a_table_is_not_followed_by_a_training(ended):
    lines = ended("search", made={"search.search_report": recorded_search()})
    assert [line[6:].split("#")[0].strip() for line in lines[-3:]] == ["make viz", "make notebook", "kedro compare"]


def test_nothing_is_said_of_a_pipeline_that_a_user_has_added(ended):
    names = ("mine.export", "mine.export_report", "task_scores", "search_report", "mine.evaluate.report_page")
    assert ended("mine", made=dict.fromkeys(names, "mine")) == []


def test_many_tasks_are_shown_as_far_as_they_fit_and_counted(ended):
    scores = pd.DataFrame([task(f"task_{number}").to_row() for number in range(20)])
    lines = ended(*MADE, made={**MADE["search"], "evaluate.task_scores": scores, "evaluate.report_page": "<html>"})
    assert len(lines) == 24
    assert "Tasks, accuracy, on test examples that fine-tuning never saw (10 of 20)" in lines
    assert [line.split()[:2] for line in lines if line.startswith(("chosen", "largest"))] == [
        ["chosen", "(1,"],
        ["largest", "(4,"],
    ]


def test_a_command_to_go_on_with_has_the_environment_and_parameters_that_were_typed(ended, monkeypatch):
    said = []
    monkeypatch.setattr("sys.argv", ["kedro"])
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr("bort_kedro.cli._KEDRO_RUN", lambda **options: said.extend(ended("corpus", "search")))
    words = ["run", "--pipelines=search", "-e", "smoke", "--params", "search.budget=4,search.answer=knee"]
    cli.main(words, standalone_mode=False)
    commands = [line[6:].split("#")[0].strip() for line in said[-3:]]
    same = "--env smoke --params search.budget=4,search.answer=knee"
    assert commands[0] == f"kedro run {same} --pipelines pretrain_distill"
    assert said[-2] == "      make viz       # all candidates and their plots beside the graph"


def test_commands_to_go_on_with_name_programs_by_their_path_where_the_shell_finds_others(ended, monkeypatch, tmp_path):
    said = []
    programs = tmp_path / ".venv" / "bin"
    monkeypatch.setattr("sys.argv", [str(programs / "kedro")])
    monkeypatch.setattr("sys.executable", str(programs / "python"))
    monkeypatch.setattr("shutil.which", {"python": "/usr/bin/python"}.get)
    monkeypatch.setattr("bort_kedro.cli._KEDRO_RUN", lambda **options: said.extend(ended("corpus", "evaluate")))
    cli.main(["run", "--env", "smoke"], standalone_mode=False)
    assert said[-1].startswith("      .venv/bin/python -m pydoc bort_kedro.exports.folder.open_export  # ")
