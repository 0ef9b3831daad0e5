"""Which versions `--from-run` hands to Kedro, of runs that are made by hand: a dataset is there when its file is."""

from __future__ import annotations

import shutil

import pytest
import yaml
from kedro.io import DataCatalog

from bort_kedro.errors import ConfigurationError, MissingInputError, StorageError
from bort_kedro.session.from_run import load_versions_of
from bort_kedro.session.manifests import Manifests
from version_folders import DOCUMENTS, day, empty_project, ended, saved

FIRST, SECOND, THIRD = map(day, (1, 2, 3))
OPTIONS = {
    **dict.fromkeys(("env", "pipeline", "from_nodes", "to_nodes", "from_inputs", "to_outputs"), None),
    **{"node_names": (), "tags": (), "namespaces": (), "params": {}, "load_versions": {}},
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two runs have made documents; the third read those of the first."""
    empty_project(tmp_path, monkeypatch)
    for version in (FIRST, SECOND):
        saved(tmp_path, DOCUMENTS, version)
        ended(tmp_path, version, wrote=["corpus_documents"], mlflow_run=f"mlflow of {version}")
    ended(tmp_path, THIRD, read={"corpus_documents": FIRST}.items(), wrote=["library.examples"])
    return tmp_path


def found(project, run, *pipelines, **options):
    asked = OPTIONS | {"pipelines": list(pipelines)} | options
    return load_versions_of(run, asked)


@pytest.mark.parametrize(
    "run", [FIRST, f"mlflow of {FIRST}", f"data/08_reporting/run_manifest.json/{FIRST}/run_manifest.json"]
)
def test_what_a_run_wrote_is_read_however_the_run_is_named(project, run):
    assert found(project, run, "tasks") == {"corpus_documents": FIRST}


def test_what_a_run_read_is_read_again(project):
    assert found(project, THIRD, "tasks") == {"corpus_documents": FIRST}


def test_what_the_nodes_make_themselves_keeps_its_own_version(project):
    assert found(project, FIRST, "corpus", "tasks") == {}
    assert found(project, FIRST, "corpus") == {}


def test_versions_that_are_stated_go_before(project):
    stated = {"corpus_documents": "2026-05-05T00.00.00.000Z", "tokens": SECOND}
    assert found(project, FIRST, "tasks", load_versions=stated) == stated


def test_what_is_opened_of_the_results_of_a_stage_has_its_version_whether_or_not_the_manifest_names_the_stage(project):
    (project / "conf" / "local" / "parameters.yml").write_text("finetune: {tasks: [rte], student: an/encoder}")
    nodes = {"node_names": ("evaluate.open_tasks_results_node",)}
    report = "data/08_reporting/examples_report/rte.json"
    for version, name in {"2026-02-01": "tasks.rte.examples_report", "2026-02-02": "rte.examples_report"}.items():
        saved(project, report, version)
        ended(project, version, wrote=[name])
        assert found(project, version, "evaluate", **nodes) == {"tasks.rte.examples_report": version}


def test_unknown_runs_are_told_with_the_latest_that_there_are(project):
    with pytest.raises(ConfigurationError) as caught:
        found(project, "yesterday", "tasks")
    assert str(caught.value) == (
        "There is no run `yesterday`: it is neither the id of one that ended, nor that of its run in MLflow, nor the "
        f"file of a manifest. The latest are: {THIRD}, {SECOND}, {FIRST}."
    )


def test_a_version_that_is_gone_is_named_with_what_to_do(project):
    shutil.rmtree(project / DOCUMENTS / FIRST)
    with pytest.raises(MissingInputError) as caught:
        found(project, THIRD, "tasks")
    assert str(caught.value) == (
        f"Of what the run {THIRD} had this is not there any more: corpus_documents (version {FIRST}). Name a version "
        "that there is with `--load-versions`, or run the stage that makes it as well; the manifest of that run has "
        "its parameters and seeds."
    )


def test_a_dataset_that_the_run_did_not_touch_is_named(project):
    with pytest.raises(ConfigurationError) as caught:
        found(project, FIRST, "pretrain_distill")
    assert str(caught.value) == (
        f"The run {FIRST} neither read nor wrote maximum_point_encoder, selected_encoder, selected_shape, tokenizer, "
        "tokens, which this run reads. Name a version that there is with `--load-versions`, or run the stage that "
        "makes it as well."
    )
    with pytest.raises(ConfigurationError, match=r" and \d+ more, which this run reads\."):
        found(project, FIRST, "evaluate")


def test_a_file_that_is_no_manifest_is_refused(project):
    (project / "notes.json").write_text('{"run_id": "1"}')
    with pytest.raises(StorageError) as caught:
        found(project, "notes.json", "tasks")
    assert str(caught.value) == (
        f"{project / 'notes.json'} cannot be read as the manifest of a run: it has no datasets_read, datasets_written. "
        "Name another file."
    )


def test_a_pipeline_that_is_not_there_is_told_before_anything_is_read(project):
    with pytest.raises(ConfigurationError, match=r"`--pipelines` names `task`, which .* Did you mean `tasks`\?"):
        found(project, FIRST, "task")


def test_runs_cannot_be_told_apart_without_versions_of_their_manifests(project):
    entry = yaml.safe_load((project / "conf/base/catalog.yml").read_text())["run_manifest"]
    entry = {name: value for name, value in entry.items() if name != "versioned"}
    (project / "conf" / "local" / "catalog.yml").write_text(yaml.safe_dump({"run_manifest": entry}))
    with pytest.raises(ConfigurationError, match="`run_manifest` is not versioned"):
        found(project, FIRST, "tasks")


def test_manifests_may_lie_on_a_store():
    catalog = DataCatalog.from_config(
        {
            "run_manifest": {
                "type": "bort_kedro.datasets.atomic.AtomicJSONDataset",
                "filepath": "memory://runs/run_manifest.json",
                "versioned": True,
            }
        },
        save_version=FIRST,
    )
    manifest = {"run_id": FIRST, "datasets_read": {}, "datasets_written": {"tokens": FIRST}}
    catalog.save("run_manifest", manifest)
    assert Manifests(catalog).versions() == [FIRST]
    assert Manifests(catalog).named(FIRST) == manifest
