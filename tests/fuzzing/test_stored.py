"""Whatever became of a file that a run wrote, it is read as it was written, or set aside, or refused by its name."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kedro.io.core import Version

from bort_kedro.datasets.atomic import AtomicCSVDataset, AtomicJSONDataset, AtomicParquetDataset
from bort_kedro.datasets.model_folder import TokenizerDataset
from bort_kedro.datasets.records import RecordDataset
from bort_kedro.datasets.submission_archive import SubmissionArchivesDataset
from bort_kedro.datasets.teacher_cache import TeacherCaches
from bort_kedro.datasets.token_blocks import TokenBlocksDataset
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.exports.folder import ExportedTask, open_export, write_manifest
from bort_kedro.pretraining.teacher_targets import TargetChunk
from bort_kedro.text.tokens import Tokens
from bort_kedro.training.saved_state import SavedState
from search_results import trained_search
from spoiling import edited, read_or_refused, spoiled_bytes

TABLE = pd.DataFrame({"shape": ["D1-A1-H8-I8", "D2, é"], "error": [0.5, 1 / 3], "steps": [1, 20]})
FACTS = {"accuracy": 0.1 + 0.2, "of": ["a", None, True], "é": {"n": 10**17}}
RECORD = "bort_kedro.search.report.SearchReport"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stored")


@given(data=st.data(), kind=st.sampled_from([AtomicCSVDataset, AtomicParquetDataset, AtomicJSONDataset]))
def test_a_spoiled_file_is_read_or_refused(folder, data, kind):
    path = folder / "value.bin"
    kind(filepath=str(path)).save(FACTS if kind is AtomicJSONDataset else TABLE)
    content = path.read_bytes()
    path.write_bytes(data.draw(spoiled_bytes(content)))
    value, refusal = read_or_refused(kind(filepath=str(path)).load, path)
    if not refusal and path.read_bytes() == content:
        assert value == FACTS if kind is AtomicJSONDataset else value.equals(TABLE)


@given(data=st.data())
def test_an_edited_record_comes_back_or_is_refused(folder, data):
    path = folder / "record.json"
    text = json.dumps(data.draw(edited(trained_search().to_json())))
    path.write_bytes(data.draw(st.just(text.encode()) | spoiled_bytes(text.encode())))
    record, refusal = read_or_refused(RecordDataset(filepath=str(path), record=RECORD).load, path)
    if not refusal:
        assert type(record).from_json(record.to_json()).to_json() == record.to_json()


@given(data=st.data())
def test_edited_archives_are_read_or_refused(folder, data):
    place = folder / "archives"
    dataset = SubmissionArchivesDataset(str(place))
    files = {"CoLA.tsv": "index\tprediction\n0\t1\n", "é.jsonl": "{}\n"}
    dataset.save({"GLUE": files})
    path = place / "GLUE.zip"
    content = path.read_bytes()
    path.write_bytes(data.draw(spoiled_bytes(content)))
    archives, refusal = read_or_refused(dataset.load, path)
    if not refusal:
        assert all(files.get(name, text) == text for name, text in archives["GLUE"].items())


@pytest.fixture(scope="module")
def tokens(folder, tiny_vocabulary, tiny_blocks):
    dataset = TokenBlocksDataset(str(folder / "tokens"), version=Version(None, "2026-01-01T00.00.00.000Z"))
    dataset.save(Tokens(tiny_vocabulary, {"train": tiny_blocks}, word_starts=np.arange(300) % 7 == 0))
    place = Path(dataset._get_load_path())
    return place, {path.name: path.read_bytes() for path in place.iterdir()}


@given(data=st.data(), name=st.sampled_from(["manifest.json", "train.ids.npy", "train.offsets.npy", "word_starts.npy"]))
def test_a_spoiled_file_of_tokens_is_refused(tokens, data, name):
    place, contents = tokens
    spoiled = data.draw(spoiled_bytes(contents[name]))
    for file, content in (contents | {name: spoiled}).items():
        (place / file).write_bytes(content)
    dataset = TokenBlocksDataset(str(place.parent.parent), version=Version(None, None))
    _, refusal = read_or_refused(dataset.load, place)
    assert bool(refusal) == (spoiled != contents[name])


MEANING = ExportedTask(
    task="mine",
    form="classification",
    labels=("no", "yes"),
    truncation="longest_first",
    max_tokens=8,
    tokenizer="abc",
    has_pairs=False,
)


@given(data=st.data())
def test_an_edited_manifest_of_an_export_is_refused(folder, data):
    place = folder / "export"
    (place / "onnx").mkdir(parents=True, exist_ok=True)
    (place / "onnx" / "config.json").write_text("{}")
    write_manifest(place, MEANING, ["onnx"])
    path = place / "export.json"
    path.write_text(json.dumps(data.draw(edited(json.loads(path.read_text())))))
    _, refusal = read_or_refused(lambda: open_export(place, "onnx"), place)
    assert refusal  # there is no model in it


IDENTITY = {"shape": {"depth": 1}, "settings": {"num_threads": 2}, "versions": {"torch": "2.13.0"}}
STATE = SavedState(5, {"model.weight": torch.arange(3.0), "generator.cpu": torch.zeros(2)}, {"seconds": 1.5})


@given(data=st.data(), name=st.sampled_from(["state", "identity.json"]))
def test_a_spoiled_training_state_is_the_one_that_was_written_or_none(folder, data, name):
    root = folder / "states"
    shutil.rmtree(root, ignore_errors=True)
    TrainingStates(root, keep=2).of("search/a", IDENTITY).put(STATE)
    path = next(root.rglob("*.safetensors" if name == "state" else name))
    path.write_bytes(data.draw(spoiled_bytes(path.read_bytes())))
    states = TrainingStates(root, keep=2, accepted=("torch",))
    list(states.kept())
    changed = copy.deepcopy(IDENTITY) | {"versions": {"torch": "2.14.0"}}
    for identity in (IDENTITY, changed):
        found = states.of("search/a", identity).latest()
        assert found is None or (found.step, found.record) == (STATE.step, STATE.record)
        assert found is None or all(found.tensors[each].equal(there) for each, there in STATE.tensors.items())


@given(data=st.data(), name=st.sampled_from(["chunk", "identity.json"]))
def test_a_spoiled_teacher_cache_says_what_the_teacher_said_or_nothing(folder, data, name):
    root = folder / "cache"
    shutil.rmtree(root, ignore_errors=True)
    chunk = TargetChunk(
        ids=np.array([[1, 5], [6, 7]], dtype=np.uint16),
        log_ratios=np.array([[0, -0.5], [0, -1.5]], dtype=np.float16),
        log_tail=np.array([-1.0, -np.inf], dtype=np.float32),
        offsets=np.array([0, 1, 2]),
    )
    TeacherCaches(root).of(IDENTITY).write(0, 0, chunk)
    path = next(root.rglob("*.safetensors" if name == "chunk" else name))
    path.write_bytes(data.draw(spoiled_bytes(path.read_bytes())))
    changed = copy.deepcopy(IDENTITY) | {"versions": {"torch": "2.14.0"}}
    for identity in (IDENTITY, changed):
        found = TeacherCaches(root, accepted=("torch",)).of(identity).read(0, 0)
        assert found is None or all(np.array_equal(getattr(found, each), there) for each, there in vars(chunk).items())


@given(data=st.data())
def test_a_spoiled_tokenizer_opens_or_is_refused(folder, data, tiny_tokenizer):
    place = folder / "tokenizer"
    if not place.exists():
        tiny_tokenizer.save_pretrained(place)
    name = data.draw(st.sampled_from(["tokenizer.json", "tokenizer_config.json"]))
    content = (place / name).read_text("utf-8")
    text = json.dumps(data.draw(edited(json.loads(content))))
    (place / name).write_bytes(data.draw(st.just(text.encode()) | spoiled_bytes(content.encode())))
    read_or_refused(TokenizerDataset(str(place)).load, place)
    (place / name).write_text(content, "utf-8")
