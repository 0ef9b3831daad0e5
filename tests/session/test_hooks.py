"""What is checked before the first node, and what is written down after the last."""

from __future__ import annotations

import errno
import os
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
from kedro.io import DataCatalog, MemoryDataset, Version
from kedro.pipeline import Node, Pipeline
from kedro_datasets.pandas import CSVDataset

from bort_kedro.datasets.atomic import AtomicJSONDataset
from bort_kedro.datasets.candidate_csv import RecordedCandidatesDataset
from bort_kedro.datasets.stage_results import StageResultsDataset
from bort_kedro.datasets.task_files import TaskFilesDataset
from bort_kedro.datasets.teacher_cache import TeacherCacheDataset
from bort_kedro.datasets.training_states import TrainingStatesDataset
from bort_kedro.errors import ConfigurationError, MissingInputError, StorageError, TaskError
from bort_kedro.pipelines import evaluate, finetune, tasks
from bort_kedro.pipelines.namespaces import RESULTS
from bort_kedro.session import hooks
from bort_kedro.session.asked import data_read, parameters_named
from bort_kedro.session.manifest_hook import ManifestHook
from bort_kedro.session.preflight import PreflightHook
from bort_kedro.training.saved_state import SavedState
from project_parameters import raw_parameters


def catalog_of(datasets, parameters=None):
    """The catalog of a session of the smallest configuration, or of other parameters."""
    return DataCatalog({"parameters": MemoryDataset(parameters or raw_parameters("smoke")), **datasets})


class Configuration(dict):
    """A loader without files of conf/local."""

    def said(self):
        return ""


def test_what_is_accepted_of_earlier_trainings_reaches_their_handles(tmp_path, monkeypatch):
    monkeypatch.setattr(hooks, "pipelines", {})
    kept = {
        "training_states": TrainingStatesDataset(str(tmp_path)),
        "pretrain_distill.teacher_cache": TeacherCacheDataset(str(tmp_path)),
    }
    catalog = catalog_of({**kept, **{results: StageResultsDataset() for results in RESULTS.values()}})
    hook = hooks.ConfigurationHook()
    loader = Configuration(parameters=raw_parameters("smoke") | {"accepted_changes": ["torch"]})
    hook.after_context_created(SimpleNamespace(config_loader=loader))
    hook.after_catalog_created(catalog, {})
    assert [dataset.accepted for dataset in kept.values()] == [("torch",), ("torch",)]
    assert set(kept) == set(hooks.KEPT_BETWEEN_RUNS)


DiskUsage = namedtuple("DiskUsage", "total used free")


def pipeline_reading(*names):
    return Pipeline([Node(lambda *data: data, list(names), "result", name="use_node")])


def preflight(project, pipeline, catalog):
    PreflightHook().before_pipeline_run({"project_path": str(project)}, pipeline, catalog)


def missing(tmp_path, *names):
    with pytest.raises(MissingInputError) as caught:
        preflight(tmp_path, pipeline_reading(*names), catalog_of({}))
    return str(caught.value)


def test_missing_inputs_are_listed_with_the_stage_that_makes_them(tmp_path):
    message = missing(tmp_path, "tokens", "tokenizer", "student_encoder")
    assert "  - tokenizer, tokens: made by `kedro run --pipelines corpus`" in message
    assert "  - student_encoder: made by `kedro run --pipelines pretrain_distill`" in message


def test_a_recorded_table_that_is_missing_is_asked_for_by_path_and_columns(tmp_path):
    table = RecordedCandidatesDataset(filepath=str(tmp_path / "mine.csv"))
    catalog = catalog_of({"recorded_candidates": table})
    with pytest.raises(MissingInputError) as caught:
        preflight(tmp_path, pipeline_reading("recorded_candidates"), catalog)
    assert str(caught.value) == (
        "This run needs data that is not there yet:\n"
        f"  - recorded_candidates: no file at {tmp_path / 'mine.csv'}. Put a CSV with the columns layers, heads, "
        "hidden, intermediate, parameters, error there, or change `filepath` of `recorded_candidates` in "
        "conf/local/catalog.yml\n"
        "Run the earliest of these stages first, or `kedro run` for all stages in order."
    )


def test_inputs_that_exist_pass(tmp_path):
    preflight(tmp_path, pipeline_reading("tokens"), catalog_of({"tokens": MemoryDataset("there")}))
    assert list((tmp_path / "data").iterdir()) == []


def test_a_read_only_data_folder_stops_the_run(tmp_path, monkeypatch):
    def refuse(path, data):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(StorageError) as caught:
        preflight(tmp_path, Pipeline([]), catalog_of({}))
    assert f"The data folder {tmp_path / 'data'} cannot be written: Read-only file system" in str(caught.value)


def test_a_nearly_full_disk_stops_the_run_and_names_the_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: DiskUsage(10**9, 10**9 - 7 * 10**6, 7 * 10**6))
    with pytest.raises(StorageError, match=r"has 7 MB free, a run needs at least 500 MB"):
        preflight(tmp_path, Pipeline([]), catalog_of({}))


def test_seeds_are_found_wherever_they_are():
    values = {"corpus": {"seed": 3}, "finetune": {"training": {"seeds": [0, 1]}}, "other": 5}
    assert parameters_named(values, {"seed", "seeds"}) == {"corpus.seed": 3, "finetune.training.seeds": [0, 1]}


def with_own_task(folder, **finetune):
    """Parameters of a session with a task `mine`, of which the second row of test is cut off."""
    for split, text in (("train", "good\tyes\nbad\tno\n"), ("dev", "fine\tyes\n"), ("test", "poor\tno\ncut\n")):
        (folder / f"{split}.tsv").write_text("sentence\tlabel\n" + text)
    files = {split: str(folder / f"{split}.tsv") for split in ("train", "dev", "test")}
    raw = raw_parameters("smoke")
    columns = {"text": "sentence", "label": "label"}
    raw["finetune"] |= {"tasks": ["mine"], "own_tasks": {"mine": {"files": files, "columns": columns}}, **finetune}
    return raw


def test_a_broken_row_of_a_users_task_is_found_before_the_first_node(tmp_path):
    datasets = {"task_files": TaskFilesDataset(folder=str(tmp_path / "none"))}
    with pytest.raises(TaskError) as caught:
        preflight(tmp_path, tasks.create_pipeline(["mine"]), catalog_of(datasets, with_own_task(tmp_path)))
    assert str(caught.value) == (
        f"{tmp_path / 'test.tsv'}, line 3: 1 fields, expected 2 (`sentence`, `label`). The row begins ['cut']. Mend "
        "the row, set `skip_bad_rows` to leave such rows out, or name another file; all in params:finetune."
    )


def test_a_broken_line_of_tagged_words_is_found_before_the_first_node(tmp_path):
    raw = with_own_task(tmp_path)
    (tmp_path / "train.conll").write_text("Peter B-PER\nsings O\n")
    (tmp_path / "dev.conll").write_text("Anna B-PER\nsings VBZ\n")
    files = {split: str(tmp_path / f"{split}.conll") for split in ("train", "dev")}
    raw["finetune"]["own_tasks"] = {"mine": {"files": files, "form": "token_classification"}}
    datasets = {"task_files": TaskFilesDataset(folder=str(tmp_path / "none"))}
    with pytest.raises(TaskError, match=r"dev.conll, line 1, column `tags`: 'VBZ', expected O, or B- or I- and a type"):
        preflight(tmp_path, tasks.create_pipeline(["mine"]), catalog_of(datasets, raw))


class Told(TaskFilesDataset):
    """Keeps what was read of it."""

    def __init__(self, folder):
        super().__init__(folder=folder)
        self.read = []

    def load(self):
        files = super().load()

        def read(task, **options):
            self.read.append(files.read(task, **options))
            return self.read[-1]

        return SimpleNamespace(read=read)


def test_a_broken_row_of_recorded_labels_is_found_before_the_first_node(tmp_path):
    raw = with_own_task(tmp_path, skip_bad_rows=True)
    labels = tmp_path / "labels.jsonl"
    raw["finetune"]["teacher"]["recorded"] = {"mine": {"file": str(labels)}}
    there = {name: MemoryDataset("there") for name in ("student_encoder", "training_states")}
    catalog = catalog_of({"task_files": TaskFilesDataset(folder=str(tmp_path / "none")), **there}, raw)
    pipeline = tasks.create_pipeline(["mine"]) + finetune.create_pipeline(["mine"], recorded=["mine"])
    with pytest.raises(TaskError, match=r"file of recorded labels .*labels\.jsonl is not there"):
        preflight(tmp_path, pipeline, catalog)
    labels.write_text('{"sentence": "good", "label": "maybe"}\n')
    with pytest.raises(TaskError, match="no row in it that can be used"):
        preflight(tmp_path, pipeline, catalog)
    labels.write_text('{"sentence": "good", "label": {"yes": 1}}\n')
    preflight(tmp_path, pipeline, catalog)
    # A run that does not ask the teacher reads no file of its.
    labels.unlink()
    preflight(tmp_path, tasks.create_pipeline(["mine"]), catalog)


def test_broken_rows_that_are_to_be_left_out_do_not_stop_the_run(tmp_path):
    parameters = with_own_task(tmp_path, skip_bad_rows=True)
    told = Told(str(tmp_path / "none"))
    preflight(tmp_path, tasks.create_pipeline(["mine"]), catalog_of({"task_files": told}, parameters))
    assert [(sum(reading.num_rows.values()), sum(reading.num_skipped.values())) for reading in told.read] == [(4, 1)]


def test_files_of_a_task_that_are_not_there_stop_the_run_before_the_first_node(tmp_path):
    raw = raw_parameters("smoke")
    raw["finetune"] |= {"tasks": ["cola", "library"]}
    catalog = catalog_of({"task_files": TaskFilesDataset(folder=str(tmp_path / "tasks"))}, raw)
    with pytest.raises(TaskError, match=r"Task `cola`.*train \(train.tsv\)"):
        preflight(tmp_path, tasks.create_pipeline(["cola", "library"]), catalog)


def test_a_run_that_makes_no_examples_reads_no_files_of_tasks(tmp_path):
    told = Told(str(tmp_path / "none"))
    preflight(tmp_path, pipeline_reading("task_files"), catalog_of({"task_files": told}, with_own_task(tmp_path)))
    assert told.read == []


def test_scoring_again_reads_no_files_of_tasks(tmp_path):
    raw = raw_parameters("smoke")
    raw["finetune"] |= {"tasks": ["cola"]}
    told = Told(str(tmp_path / "none"))
    names = ("task_files", "cola.examples")
    pipeline = evaluate.create_pipeline(["cola"])
    assert set(names) <= pipeline.inputs()
    there = [*pipeline.inputs(), *data_read(pipeline)]
    catalog = catalog_of({name: MemoryDataset(0) for name in there} | {"task_files": told}, raw)
    preflight(tmp_path, pipeline, catalog)
    assert told.read == []


def test_what_is_missing_of_the_results_of_a_stage_is_listed_by_name(tmp_path):
    pipeline = evaluate.create_pipeline(["library"]).only_nodes_with_tags("report")
    there = {*pipeline.inputs(), *data_read(pipeline)}
    gone = {"pretrain_distill.student_history", "search.candidate_table", "evaluate.speed_table"}
    with pytest.raises(MissingInputError) as caught:
        preflight(tmp_path, pipeline, catalog_of({name: MemoryDataset(0) for name in there - gone}))
    assert str(caught.value).splitlines()[1:-1] == [
        "  - evaluate.speed_table: made by `kedro run --pipelines evaluate`",
        "  - pretrain_distill.student_history: made by `kedro run --pipelines pretrain_distill`",
        "  - search.candidate_table: made by `kedro run --pipelines search`",
    ]


def test_versions_of_the_future_are_refused_as_the_newest_that_later_runs_would_take(tmp_path, monkeypatch):
    def saved(name, version):
        AtomicJSONDataset(filepath=str(tmp_path / name), version=Version(None, version)).save({})
        return AtomicJSONDataset(filepath=str(tmp_path / name), version=Version(None, "2027-03-01T10.00.00.000Z"))

    catalog = catalog_of({name: saved(name, "2027-03-01T09.59.59.999Z") for name in ("read", "result")})
    monkeypatch.setattr("bort_kedro.session.preflight.generate_timestamp", lambda: "2027-03-01T10.00.05.000Z")
    preflight(tmp_path, pipeline_reading("read"), catalog)
    # Of a run beside this one, and a name that somebody gave.
    saved("read", "2027-03-01T10.00.04.000Z")
    saved("result", "as published")
    preflight(tmp_path, pipeline_reading("read"), catalog)
    saved("read", "2027-03-01T10.00.05.001Z")
    saved("result", "2030-01-01T00.00.00.000Z")
    with pytest.raises(StorageError) as caught:
        preflight(tmp_path, pipeline_reading("read"), catalog)
    assert str(caught.value) == (
        "It is 2027-03-01T10.00.05.000Z by the clock of this machine, and 2 version(s) are of later, which every run "
        f"would take for the newest: {tmp_path}/read/2027-03-01T10.00.05.001Z/read, "
        f"{tmp_path}/result/2030-01-01T00.00.00.000Z/result. Set the clock right; if it was wrong when they were made, "
        "remove their folders, or name these after the time at which they were made."
    )


def test_the_manifest_names_versions_read_of_results_trainings_the_tracked_run_and_what_was_stated_locally(
    tmp_path,
):
    saved = AtomicJSONDataset(filepath=str(tmp_path / "report.json"), version=Version(None, "2026-01-01"))
    saved.save({"w": 1})
    catalog = catalog_of({"search.search_report": saved, "search_results": StageResultsDataset()})
    catalog["run_manifest"] = MemoryDataset()
    catalog["search_results"].read_from(catalog)
    catalog["training_states"] = TrainingStatesDataset(str(tmp_path / "states"))
    states = catalog["training_states"].load()
    for seed in range(3):
        states.of("search/begun", {"seed": seed}).put(SavedState(1, {}, {}))
    (_, found, _), past = sorted(states.used()), time.time() - 60
    for name in states.used():
        os.utime(tmp_path / "states" / name, (past, past))
    hook = ManifestHook(lambda: "0a1b")
    hook.after_context_created(
        SimpleNamespace(config_loader=SimpleNamespace(local_files={"conf/local/b", "conf/local/a"}))
    )
    hook.after_catalog_created(catalog)
    results = catalog.load("search_results")
    hook.after_dataset_loaded("search_results", results)
    assert results.load("search.search_report") == {"w": 1}
    # Seconds of files are those of a coarser clock.
    os.utime(tmp_path / "states" / found, (time.time() + 1,) * 2)
    run = {"run_id": "1", "pipeline_names": None, "env": None, "project_path": str(tmp_path)}
    hook.after_pipeline_run(run, catalog)
    manifest = catalog.load("run_manifest")
    assert manifest["datasets_read"] == {"search.search_report": "2026-01-01"}
    assert manifest["local_files"] == ["conf/local/a", "conf/local/b"]
    assert manifest["trainings"] == [found]
    assert manifest["mlflow_run"] == "0a1b"


def test_half_precision_without_a_gpu_is_refused_before_the_first_node(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    raw = raw_parameters("smoke")
    raw["finetune"]["training"]["mixed_precision"] = "fp16"
    with pytest.raises(ConfigurationError, match=r"fp16 for finetune.training.mixed_precision, which needs a CUDA"):
        preflight(tmp_path, Pipeline([]), catalog_of({}, raw))


def launched(monkeypatch, rank, pipeline, *names):
    """The catalog after the hook, in one of two processes that a launcher started for these pipelines."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    catalog = DataCatalog({"tokens": MemoryDataset("blocks"), "result": CSVDataset(filepath="result.csv")})
    hooks.LaunchedProcessHook().before_pipeline_run({"pipeline_names": list(names)}, pipeline, catalog)
    return catalog


def test_the_first_process_of_a_launcher_saves_and_the_others_keep_their_outputs_in_memory(monkeypatch):
    monkeypatch.setattr(hooks.logging, "disable", lambda level: None)
    pipeline = pipeline_reading("tokens")
    for rank, kind in ((0, CSVDataset), (1, MemoryDataset)):
        catalog = launched(monkeypatch, rank, pipeline, "pretrain_distill")
        assert type(catalog.get("result")) is kind
        assert catalog.load("tokens") == "blocks"


@pytest.mark.parametrize("names", [("search",), (), ("pretrain_distill", "finetune")])
def test_a_launcher_is_refused_for_stages_that_share_no_work(monkeypatch, names):
    with pytest.raises(ConfigurationError) as caught:
        launched(monkeypatch, 0, pipeline_reading("tokens"), *names)
    assert str(caught.value) == (
        f"A launcher started 2 processes for the pipeline(s) {', '.join(names) or '__default__'}; only "
        "pretrain_distill shares its work among them. Start that one with `-m bort_kedro --pipelines "
        "pretrain_distill`, and the others with `kedro run`; the search has its own `search.engine`."
    )


def test_without_a_launcher_nothing_changes(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    catalog = DataCatalog({"result": CSVDataset(filepath="result.csv")})
    hooks.LaunchedProcessHook().before_pipeline_run({"pipeline_names": []}, pipeline_reading("tokens"), catalog)
    assert type(catalog.get("result")) is CSVDataset
