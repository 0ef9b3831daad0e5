"""The tasks stage as a graph, and its nodes on toy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bort_kedro.configuration import check_parameters
from bort_kedro.datasets.task_files import TaskFilesDataset
from bort_kedro.errors import TaskError
from bort_kedro.evaluation.floors import answer_by_floors
from bort_kedro.pipelines.tasks import create_pipeline
from bort_kedro.pipelines.tasks.nodes import builder_of, reader_of
from bort_kedro.tasks.table import RIGHT, find_task
from bort_kedro.text.prose import sentences
from project_parameters import raw_parameters
from toy_tasks import NOISE, examples_of, write_csv


def parameters(folder=Path("data"), **changes):
    """Those of the smallest configuration with an own task `toy` and changes."""
    raw = raw_parameters("smoke")
    files = {split: str(folder / f"{split}.csv") for split in ("train", "dev", "test")}
    own = {"toy": {"files": files, "columns": {"text": "text", "label": "label"}}}
    raw["finetune"] |= {"tasks": ["toy"], "own_tasks": own, **changes}
    return check_parameters(raw).finetune


def test_each_task_is_built_from_the_corpus_or_read_from_files_in_its_namespace():
    pipeline = create_pipeline(["library", "cola"])
    assert {node.name: node.inputs for node in pipeline.nodes} == {
        "tasks.library.build_examples_node": ["corpus_documents", "params:finetune"],
        "tasks.cola.read_examples_node": ["task_files", "params:finetune"],
        "tasks.gather_results_node": ["tasks.cola.examples_report", "tasks.library.examples_report"],
    }
    assert pipeline.outputs() == {"library.examples", "cola.examples", "tasks_results"}
    assert {tag for node in pipeline.nodes for tag in node.tags} == {"tasks"}


def test_examples_are_read_with_what_each_split_is_and_what_was_left_out(tmp_path):
    write_csv(tmp_path, examples_of(num_train=6, num_dev=4, num_test=4))
    with (tmp_path / "train.csv").open("a") as file:
        file.write("only one field\n")
    handle = TaskFilesDataset(folder=str(tmp_path / "none")).load()
    finetune = parameters(folder=tmp_path, skip_bad_rows=True)
    examples, report = reader_of("toy")(handle, finetune)
    assert examples["split"].value_counts().to_dict() == {"train": 6, "dev": 4, "test": 4}
    assert {split: report[split]["source"] for split in ("train", "dev", "test")} == {
        split: f"user's {split}" for split in ("train", "dev", "test")
    }
    train = str(tmp_path / "train.csv")
    assert report["files"]["train"] == train
    assert report["num_rows_read"] == {"train": 6, "dev": 4, "test": 4}
    assert report["num_rows_skipped"] == {train: 1}
    assert report["first_faults"] == [
        f"{train}, line 8: 1 fields, expected 2 (`text`, `label`). The row begins ['only one field']"
    ]
    with pytest.raises(TaskError, match=f"^{train}, line 8: 1 fields"):
        reader_of("toy")(handle, parameters(folder=tmp_path))


def test_a_label_that_train_alone_has_is_told_with_how_to_have_it_refused(tmp_path, caplog):
    def write(split, *labels):
        rows = [f"text {number},{label}\n" for number, label in enumerate(labels)]
        (tmp_path / f"{split}.csv").write_text("text,label\n" + "".join(rows))

    for split in ("train", "dev", "test"):
        write(split, "yes", "no", "no")
    handle = TaskFilesDataset(folder=str(tmp_path)).load()
    reader_of("toy")(handle, parameters(folder=tmp_path))
    assert caplog.messages == []
    write("train", "yes", "no", "on")
    reader_of("toy")(handle, parameters(folder=tmp_path))
    assert caplog.messages == [
        "Task `toy`: of the labels found in train, dev and test have no 'on' (1 of 3 rows). If that is a misspelling, "
        "mend it; to have all but some labels refused, name those as `own_tasks.toy.labels` in params:finetune."
    ]


def test_a_split_read_from_other_files_than_the_official_ones_is_called_the_users(tmp_path):
    (tmp_path / "RTE").mkdir()
    header = "index\tsentence1\tsentence2\tlabel\n"
    for name in ("train", "dev", "mine"):
        rows = [f"{row}\tText {name} {row}.\tOther.\t{('entailment', 'not_entailment')[row % 2]}\n" for row in range(8)]
        (tmp_path / "RTE" / f"{name}.tsv").write_text(header + "".join(rows))
    handle = TaskFilesDataset(folder=str(tmp_path)).load()

    def sources(files):
        _, report = reader_of("rte")(handle, parameters(tasks=["rte"], files=files))
        return {split: report[split]["source"] for split in ("train", "dev", "test")}

    assert sources({"rte": {"test": "mine.tsv"}}) == {
        "train": "official train",
        "dev": "official dev",
        "test": "user's test",
    }
    assert sources({"rte": {"dev": "mine.tsv"}})["dev"] == "half of the user's dev, stratified by label, seed 0"


def test_examples_of_a_built_in_task_come_from_its_documents_alone():
    documents = []
    for number in range(60):
        generator = np.random.default_rng(number)
        lines = [f"Sentence d{number}s{line} {' '.join(generator.permutation(NOISE)[:5])}." for line in range(4)]
        documents.append((f"d{number}", "numpy", "\n".join(lines), "tasks" if number % 2 else "train"))
    table = pd.DataFrame(documents, columns=["document_id", "source", "text", "split"])
    examples, report = builder_of("order")(table, parameters())
    assert list(dict.fromkeys(examples["split"])) == ["train", "dev", "test"]
    assert set(examples["label"]) == {"intact", "shuffled"}
    assert examples["group"].is_unique
    assert report["train"]["source"] == "built-in train"
    assert sum(report[split]["num_rows"] for split in ("train", "dev", "test")) == len(examples)
    given = {sentence for text in table.query("split == 'tasks'")["text"] for sentence in sentences(text)}
    assert set(examples.query("label == 'intact'")["text"]) <= given


def test_words_of_a_built_in_task_are_tagged_by_the_arguments_of_their_documents():
    lines = [f"The axis d{number} {' '.join(NOISE[number % 5 :][:4])} is here." for number in range(40)]
    table = pd.DataFrame(
        {
            "document_id": [f"d{number}" for number in range(40)],
            "source": "numpy",
            "text": lines,
            "arguments": ["axis out"] * 40,
            "split": "tasks",
        }
    )
    examples, report = builder_of("arguments")(table, parameters())
    assert {label.count("B-argument") for label in examples["label"]} == {1}
    assert report["test"]["labels"]["B-argument"] == report["test"]["num_rows"] > 0
    answers, _ = answer_by_floors(find_task("arguments"), *[dict(iter(examples.groupby("split")))] * 2, lambda: 0.0)
    assert set(answers["method"]) == {"constant", "memorised", "pattern"}
    assert set(answers.query("method == 'memorised'")["prediction"]) == set(examples.query("split != 'train'")["label"])


def test_multiple_choice_of_the_users_own_is_read_by_the_names_of_its_columns(tmp_path):
    for split in ("train", "dev", "test"):
        table = pd.DataFrame({"question": ["why", "how"], "a": ["x", "y"], "b": ["z", "w"], "answer": ["1", "a"]})
        table.to_csv(tmp_path / f"{split}.csv", index=False)
    finetune = parameters(
        own_tasks={
            "toy": {
                "files": {split: str(tmp_path / f"{split}.csv") for split in ("train", "dev", "test")},
                "columns": {"text": "question", "options": ["a", "b"], "label": "answer"},
                "form": "multiple_choice",
            }
        }
    )
    examples, report = reader_of("toy")(TaskFilesDataset(folder=str(tmp_path)).load(), finetune)
    train = examples.query("split == 'train'")
    assert train["option"].tolist() == ["x", "z", "y", "w"]
    assert (train["label"] == RIGHT).tolist() == [False, True, True, False]
    assert (report["train"]["num_rows"], report["train"]["num_units"]) == (4, 2)
