"""Datasets on the stores that fsspec knows: saved whole or not at all, or refused by name."""

from __future__ import annotations

import importlib
import pkgutil

import fsspec
import pandas as pd
import plotly.graph_objects as go
import pytest
from kedro.io import AbstractDataset, DataCatalog, DatasetError
from kedro.io.core import Version

from bort_kedro import datasets
from bort_kedro.datasets.atomic import AtomicCSVDataset, AtomicJSONDataset, AtomicParquetDataset, AtomicPlotlyDataset
from bort_kedro.datasets.candidate_csv import RecordedCandidatesDataset
from bort_kedro.datasets.local_disk import ON_STORES, OnLocalDisk
from bort_kedro.datasets.markdown_report import IllustratedReportDataset, TextReportDataset
from bort_kedro.datasets.model_card import ModelCardDataset
from bort_kedro.datasets.records import RecordDataset
from bort_kedro.errors import ConfigurationError
from bort_kedro.reporting.markdown import IllustratedText, image
from bort_kedro.text.settings import TokenizerSettings

TABLE = pd.DataFrame({"shape": ["D1-A1-H8-I8", "D2-A1-H8-I8"], "error": [0.5, 0.25]})
RECORD = TokenizerSettings(pretrained=None, vocabulary_size=300, min_count=None)
KINDS = {
    AtomicCSVDataset: (TABLE, {"save_args": {"index": False}}),
    AtomicParquetDataset: (TABLE, {}),
    AtomicJSONDataset: ({"accuracy": 0.5}, {}),
    AtomicPlotlyDataset: (go.Figure(go.Scatter(x=[1, 2], y=[3, 4])), {}),
    RecordDataset: (RECORD, {"record": f"{TokenizerSettings.__module__}.TokenizerSettings"}),
    TextReportDataset: ("61.2 ± 0.4 %\n", {}),
    IllustratedReportDataset: (IllustratedText(image("a.svg", "A"), {"a.svg": "<svg>é</svg>"}), {}),
    ModelCardDataset: ("---\nlanguage: en\n---\n# é\n", {}),
}
# Where nothing is stored.
WITHOUT_PLACE = {"HubTextDataset", "HubTextStreamDataset", "InstalledDocumentationDataset", "StageResultsDataset"}
OLD, NEW = "2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"


@pytest.fixture(autouse=True)
def store():
    """The store of `memory://`, empty."""
    memory = fsspec.filesystem("memory")
    yield memory
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def of_the_project():
    """Every dataset class under `bort_kedro.datasets` that a catalog may name."""
    modules = [
        importlib.import_module(f"{datasets.__name__}.{found.name}")
        for found in pkgutil.iter_modules(datasets.__path__)
    ]
    classes = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    return {
        each.__name__: each
        for each in classes
        if issubclass(each, AbstractDataset)
        and each.__module__.startswith(datasets.__name__)
        and each.__name__[0] != "_"
    }


def test_every_dataset_takes_a_store_or_refuses_it_or_has_no_place():
    local = {name for name, kind in of_the_project().items() if issubclass(kind, OnLocalDisk)}
    assert {kind.__name__ for kind in KINDS} | {"RecordedCandidatesDataset", "RecordedLatenciesDataset"} == set(
        ON_STORES
    )
    assert local | set(ON_STORES) | WITHOUT_PLACE == of_the_project().keys() - {"TextSource"}
    assert not local & set(ON_STORES)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_value_comes_back_from_a_store_by_its_version(kind, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value, arguments = KINDS[kind]
    place = "memory:///bucket [1]*/value.bin"
    assert not kind(filepath=place, version=Version(None, None), **arguments).exists()
    kind(filepath=place, version=Version(None, OLD), fs_args={"asynchronous": False}, **arguments).save(value)
    loaded = kind(
        filepath=place, version=Version(None, None), credentials={"use_listings_cache": False}, **arguments
    ).load()
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(loaded, value)
    else:
        assert loaded == value
    assert f"/bucket [1]*/value.bin/{OLD}/value.bin" in store.store
    assert list(tmp_path.iterdir()) == []


def test_a_save_to_a_store_that_breaks_midway_leaves_what_was_there(store):
    place = "memory:///bucket/value.json"
    AtomicJSONDataset(filepath=place, version=Version(None, OLD)).save({"run": 1})
    with pytest.raises(DatasetError, match="not JSON serializable"):
        AtomicJSONDataset(filepath=place, version=Version(None, NEW)).save({"run": 2, "broken": object()})
    assert list(store.store) == [f"/bucket/value.json/{OLD}/{name}" for name in ("SHA256SUMS", "value.json")]
    assert AtomicJSONDataset(filepath=place, version=Version(None, None)).load() == {"run": 1}


def test_a_dataset_on_a_store_saves_after_a_save_that_broke(store):
    dataset = AtomicJSONDataset(filepath="memory:///bucket/value.json")
    with pytest.raises(DatasetError):
        dataset.save({"broken": object()})
    dataset.save({"run": 2})
    assert dataset.load() == {"run": 2}
    assert list(store.store) == ["/bucket/value.json"]


def test_recorded_candidates_are_read_from_a_store(store):
    store.pipe_file(
        "/bucket/mine.csv", b"layers,heads,hidden,intermediate,parameters,latency_ms,error\n1,2,8,16,100,0.5,0.25\n"
    )
    dataset = RecordedCandidatesDataset(filepath="memory:///bucket/mine.csv")
    assert dataset.exists()
    assert dataset.load()["error"].tolist() == [0.25]
    assert not RecordedCandidatesDataset(filepath="memory:///bucket/other.csv").exists()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("model_folder.PretrainedDataset", {"filepath": "s3://bucket/x", "credentials": {"key": "k"}}),
        ("model_folder.TokenizerDataset", {"filepath": "s3://bucket/x", "versioned": True}),
        ("token_blocks.TokenBlocksDataset", {"filepath": "s3://bucket/x"}),
        ("export_folder.ExportFolderDataset", {"filepath": "s3://bucket/x", "fs_args": {"anon": True}}),
        ("submission_archive.SubmissionArchivesDataset", {"filepath": "s3://bucket/x"}),
        ("teacher_cache.TeacherCacheDataset", {"filepath": "s3://bucket/x"}),
        ("training_states.TrainingStatesDataset", {"filepath": "s3://bucket/x"}),
        ("task_files.TaskFilesDataset", {"folder": "s3://bucket/x"}),
        ("text_sources.TextFilesDataset", {"paths": ["here.txt", "s3://bucket/x"]}),
        ("text_streams.TextFilesStreamDataset", {"paths": "s3://bucket/x"}),
    ],
)
def test_a_dataset_of_the_local_disk_refuses_a_protocol_and_says_which_take_one(tmp_path, monkeypatch, name, arguments):
    monkeypatch.chdir(tmp_path)
    catalog = DataCatalog.from_config({"mine": {"type": f"bort_kedro.datasets.{name}", **arguments}})
    with pytest.raises(DatasetError) as caught:
        catalog.load("mine")
    fault = caught.value
    while not isinstance(fault, ConfigurationError):
        fault = fault.__cause__
    assert str(fault) == (
        f"{name.partition('.')[2]} works on a local disk alone, and `s3://bucket/x` has the protocol `s3`. Of the "
        "project's datasets AtomicCSVDataset, AtomicParquetDataset, AtomicJSONDataset, AtomicPlotlyDataset, "
        "RecordDataset, TextReportDataset, IllustratedReportDataset, ModelCardDataset, RecordedCandidatesDataset, "
        "RecordedLatenciesDataset take one, as Kedro's own do. Give a path without a protocol in the catalog, such as "
        "that under which the store is mounted."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "kind",
    [
        "atomic.AtomicCSVDataset",
        "markdown_report.TextReportDataset",
        "model_folder.PretrainedDataset",
        "submission_archive.SubmissionArchivesDataset",
        "teacher_cache.TeacherCacheDataset",
        "training_states.TrainingStatesDataset",
        "candidate_csv.RecordedCandidatesDataset",
    ],
)
def test_a_dataset_is_described_as_seen_from_the_working_folder(tmp_path, monkeypatch, kind):
    """Kedro-Viz publishes what describes a dataset, and Kedro has made its path absolute."""
    monkeypatch.chdir(tmp_path)
    for place, told in ((tmp_path / "data" / "x", "data/x"), (tmp_path.parent / "x", f"{tmp_path.parent}/x")):
        described = {"type": f"bort_kedro.datasets.{kind}", "filepath": str(place)}
        assert AbstractDataset.from_config("mine", described)._describe()["filepath"] == told


def test_every_dataset_of_the_local_disk_is_tried_above():
    (mark,) = test_a_dataset_of_the_local_disk_refuses_a_protocol_and_says_which_take_one.pytestmark
    tried = {name.partition(".")[2] for name, _ in mark.args[1]}
    assert tried == {name for name, kind in of_the_project().items() if issubclass(kind, OnLocalDisk)}
