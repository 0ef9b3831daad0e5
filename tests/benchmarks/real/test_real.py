"""What the benchmark of a real encoder says of its outcomes, and the whole of it on a tiny encoder and a few rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import BertModel

from benchmarks.real import __main__ as benchmark
from benchmarks.real import material, outcomes, students
from benchmarks.real.arms import Arm, first_layers
from benchmarks.real.page import Found, leads_part
from benchmarks.real.setting import SHORT, quick
from benchmarks.real.shares import Score, is_counted, kept_share, scores_of
from benchmarks.real.tasks import task_data, tasks_in
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.search import short_training
from bort_kedro.tasks.table import find_task
from tiny_benchmarks import in_this_process, text_files, written
from tiny_real_tasks import tiny_cola, tiny_copa, tiny_encoder


def test_dev_is_scored_whole_and_what_chooses_is_drawn_of_train(tmp_path):
    data = task_data("cola", tiny_cola(tmp_path), SHORT)
    assert {split: len(rows) for split, rows in data.tables.items()} == {"train": 48, "dev": 12, "test": 40}
    official = {line.split("\t")[3] for line in (tmp_path / "glue/CoLA/dev.tsv").read_text().splitlines()}
    assert set(data.tables["test"]["text"]) == official
    learned = set(data.tables["train"]["text"]) | set(data.tables["dev"]["text"])
    assert len(learned) == 60
    assert not learned & official


@pytest.mark.slow
def test_whole_questions_are_drawn_and_tasks_without_files_are_left_out(tmp_path):
    found = tasks_in(tiny_copa(tiny_cola(tmp_path)), SHORT)
    assert found.names == ["cola", "copa"]
    assert "rte" in found.faults
    data = task_data("copa", tmp_path, quick(1))
    assert {split: len(units) for split, units in data.units.items()} == {"train": 16, "dev": 6, "test": 16}
    assert data.tables["train"].groupby("group").size().unique().tolist() == [2]


@pytest.mark.slow
def test_first_layers_say_what_the_encoder_says_there(tmp_path):
    model = BertModel.from_pretrained(tiny_encoder(tmp_path)).eval()
    cut = first_layers(Pretrained(model, None), 2).model
    ids = torch.arange(12)[None]
    with torch.inference_mode():
        whole = model(input_ids=ids, output_hidden_states=True)
        assert torch.equal(cut(input_ids=ids).last_hidden_state, whole.hidden_states[2])
    assert (cut.config.num_hidden_layers, model.config.num_hidden_layers) == (2, 4)


def rte_rows(count):
    labels = ["entailment", "not_entailment"] * (count // 2)
    numbers = [str(number) for number in range(count)]
    return pd.DataFrame({"part": "", "group": numbers, "option": None, "label": labels})


def test_scores_are_resampled_by_example():
    table = rte_rows(400)
    right = table["label"].tolist()
    constant = ["entailment"] * 400
    scores = scores_of(find_task("rte"), table, {"encoder": [right], "constant": [constant], "two": [right, constant]})
    assert [scores[name].value for name in ("encoder", "constant", "two")] == [1.0, 0.5, 0.75]
    assert scores["encoder"].standard_error == 0.0
    # The root of p (1 - p) / N; the mean of two seeds, one of which never errs, moves half as much.
    assert scores["constant"].standard_error == pytest.approx(0.025, rel=0.1)
    assert scores["two"].standard_error == pytest.approx(scores["constant"].standard_error / 2)
    assert is_counted(scores["encoder"], scores["constant"])
    assert not is_counted(scores["constant"], scores["constant"])


def certain(value):
    return Score(value, np.full(1000, value))


def test_the_share_of_a_lead_is_the_mean_over_tasks_and_its_interval_that_of_tasks_drawn():
    encoder, constant = [certain(0.9), certain(0.8)], [certain(0.5), certain(0.4)]
    # Half of a lead of 0.4, and three quarters of one.
    share = kept_share([certain(0.7), certain(0.7)], encoder, constant)
    assert share.value == pytest.approx(0.625)
    # Of two tasks that are drawn with replacement both may be the first, or both the second.
    assert (share.low, share.high) == (pytest.approx(0.5), pytest.approx(0.75))
    assert kept_share([], [], []) is None


def found_of(scores):
    """What the page is told, as far as its first part asks: one student, and four tasks out of the table."""
    names = ("encoder", "half distilled", "half extracted", "half cut", "half random")
    arms = [Arm(name, name, BertShape(2, 2, 4, 4)) for name in names]
    tasks = {name: SimpleNamespace(task=find_task(name)) for name in scores}
    values = {"arms": arms, "selected": {"half": None}, "tasks": tasks, "scores": scores}
    return Found(**(dict.fromkeys(Found.__dataclass_fields__) | values))


def around(value, deviation=0.01):
    """A score whose standard error is so large."""
    return Score(value, value + np.array([-1.0, 1.0] * 500) * deviation)


def test_the_page_says_what_is_kept_over_the_tasks_that_tell_encoders_apart():
    same = dict.fromkeys(("half extracted", "half cut", "half random", "tfidf"), around(0.6))
    scores = {
        "rte": {**same, "encoder": around(0.9), "constant": certain(0.5), "half distilled": around(0.8, 0.02)},
        "cb": {**same, "encoder": around(0.7), "constant": certain(0.5), "half distilled": around(0.6)},
        # Not even the encoder is sure to be better than the constant answer.
        "wnli": {**same, "encoder": around(0.53), "constant": certain(0.5), "half distilled": around(0.8)},
    }
    part = leads_part(found_of(scores))
    assert part.text.startswith(
        "On 2 of 3 tasks the encoder is more than 4 standard errors ahead of the constant answer."
    )
    # Three quarters of a lead of 0.4, half of one of 0.2; of the others a quarter and half.
    row = next(line for line in part.text.splitlines() if line.startswith("| half distilled "))
    assert row.startswith("| half distilled | 62.5 % |")
    assert row.endswith("| 75.0 % | 50.0 % |")
    assert "| TF-IDF | 37.5 % |" in part.text
    assert (
        "half: the distilled student is ahead of `first layers of the encoder, as many as fit` by more than two"
        in part.text
    )
    assert "errors on `rte` and behind on none of these tasks." in part.text
    figures = {figure.name: figure.value for figure in part.figures}
    assert figures["half distilled: mean share of the lead"] == pytest.approx(0.625)


def test_without_a_task_that_tells_encoders_apart_the_page_says_so():
    scores = {"rte": {"encoder": around(0.5), "constant": certain(0.5)}}
    assert leads_part(found_of(scores)).text == (
        "On no task is the encoder more than 4 standard errors ahead of the constant answer."
    )


@pytest.mark.session
def test_a_tiny_encoder_goes_through_the_whole_benchmark(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "in_own_process", in_this_process)
    monkeypatch.setattr(material, "ENGINE", {"engine": "sequential", "num_workers": 1})
    for module in (outcomes, students):
        monkeypatch.setattr(module, "fresh_processes", lambda count, environment: ThreadPoolExecutor(1))
    encoder, tasks = tiny_encoder(tmp_path / "encoder"), tiny_cola(tmp_path / "tasks")
    arguments = [encoder, "--tasks", str(tasks), "--corpus", text_files(tmp_path), "--steps", "2"]
    arguments += ["--folder", str(tmp_path / "docs"), "--states", str(tmp_path / "states")]
    benchmark.main(arguments)
    page, figures = written(tmp_path / "docs", "real")
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# A student of a real encoder",
        "## What is kept of the encoder's lead",
        "## Encoder and students",
        "## Scores",
        "## Runtimes",
        "## How it was measured",
    ]
    assert "The encoder is `encoder`, a `bert` of " in page
    assert figures["half cut: operations of the encoder's"]["value"] == 0.5
    assert figures["half distilled: operations of the encoder's"]["value"] <= 0.5
    assert figures["quarter distilled: operations of the encoder's"]["value"] <= 0.25
    assert figures["cola, constant: score"]["value"] == 0.0
    small, large = (figures[f"{arm}, onnx_int8: file"]["value"] for arm in ("quarter distilled", "encoder"))
    assert small < large

    def refuse(*arguments, **keywords):
        raise AssertionError("a training is repeated")

    monkeypatch.setattr(outcomes, "_trained", refuse)
    monkeypatch.setattr(short_training, "pretrain", refuse)
    benchmark.main(arguments)
    again = written(tmp_path / "docs", "real")[1]
    scores = {name: each["value"] for name, each in figures.items() if name.endswith("score")}
    assert scores == {name: again[name]["value"] for name in scores}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], benchmark.MISSING),
        (["a", "--tasks", "b"], benchmark.MISSING),
        (["a", "--tasks", "b", "--corpus", "c", "--steps", "2"], benchmark.QUICK),
    ],
)
def test_what_is_missing_is_told(capsys, arguments, told):
    with pytest.raises(SystemExit) as error:
        benchmark.main(arguments)
    assert error.value.code == 2
    assert capsys.readouterr().err == told
