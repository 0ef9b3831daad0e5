"""A disk that takes only so many bytes, whoever writes them (Python, numpy, Arrow, Rust), or that gives back others."""

from __future__ import annotations

import hashlib
import random
import re
import resource
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
from kedro.io import DatasetError
from kedro.io.core import Version

from bort_kedro.datasets.atomic import AtomicCSVDataset, AtomicJSONDataset, AtomicParquetDataset, AtomicPlotlyDataset
from bort_kedro.datasets.checksums import SUMS
from bort_kedro.datasets.export_folder import ExportFolderDataset
from bort_kedro.datasets.markdown_report import IllustratedReportDataset
from bort_kedro.datasets.model_folder import PretrainedDataset, TokenizerDataset
from bort_kedro.datasets.submission_archive import SubmissionArchivesDataset
from bort_kedro.datasets.teacher_cache import TeacherCaches
from bort_kedro.datasets.token_blocks import TokenBlocksDataset
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.errors import StorageError
from bort_kedro.pretraining.teacher_targets import TargetChunk
from bort_kedro.reporting.markdown import IllustratedText, image
from bort_kedro.text.tokens import Tokens
from bort_kedro.training.saved_state import SavedState

TABLE = pd.DataFrame({"error": np.arange(40) / 7})
# By the class that stores them; where a fixture has the value, its name.
VALUES = {
    AtomicCSVDataset: TABLE,
    AtomicParquetDataset: TABLE,
    AtomicJSONDataset: list(range(100)),
    AtomicPlotlyDataset: go.Figure(go.Scatter(x=[1, 2], y=[3, 4])),
    IllustratedReportDataset: IllustratedText(image("a.svg", "A"), {"a.svg": "<svg>" * 100}),
    SubmissionArchivesDataset: {"GLUE": {str(number): str(number) for number in range(40)}},
    TokenizerDataset: "tiny_tokenizer",
    TokenBlocksDataset: "tokens",
    PretrainedDataset: "pretrained",
    ExportFolderDataset: "export",
}
NUM_BYTES = 100
SEED = 7
SAID = "cannot be written: the file is larger than the file system or `ulimit -f` allows"


@contextmanager
def room_for(num_bytes):
    """No file may grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def tokens(tiny_vocabulary, tiny_blocks):
    return Tokens(tiny_vocabulary, {"train": tiny_blocks})


@pytest.fixture
def pretrained(tiny_shape, tiny_tokenizer):
    config = bert_config(tiny_shape, vocabulary_size=len(tiny_tokenizer), max_positions=16)
    return Pretrained(build_masked_lm(config, seed=0), tiny_tokenizer)


@pytest.fixture
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(bytes(400))
    (folder / "export.json").write_text("{}")
    return SimpleNamespace(name=str(folder), cleanup=lambda: None)


@pytest.fixture(params=VALUES, ids=lambda kind: kind.__name__)
def stored(request, tmp_path):
    """A function: the dataset of a version; and what it saves."""
    value = VALUES[request.param]
    if isinstance(value, str):
        value = request.getfixturevalue(value)
    return lambda version: request.param(filepath=str(tmp_path / "value"), version=Version(None, version)), value


def test_a_save_that_does_not_fit_is_told_and_leaves_the_version_before(stored, tmp_path):
    dataset, value = stored
    dataset("1").save(value)
    before = sorted(tmp_path.rglob("*"))
    # One byte less than each of the files takes, so that each in turn is the one that does not fit.
    for size in sorted({path.stat().st_size for path in before if path.is_file()}):
        with pytest.raises(DatasetError) as caught, room_for(size - 1):
            dataset("2").save(value)
        assert isinstance(caught.value.__cause__, StorageError), size
        assert SAID in str(caught.value.__cause__)
        assert sorted(path for path in tmp_path.rglob("*") if path.name != "2") == before
    assert dataset(None).resolve_load_version() == "1"


def cut(data, place):
    return data[:place]


def altered(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("harm", [cut, altered])
def test_a_file_that_is_cut_or_altered_at_a_random_byte_is_told_and_never_read(stored, tmp_path, harm):
    dataset, value = stored
    dataset("1").save(value)
    places = random.Random(SEED)
    version = tmp_path / "value" / "1"
    for path in sorted(path for path in version.rglob("*") if path.is_file() and path.name != SUMS):
        whole = path.read_bytes()
        path.write_bytes(harm(whole, places.randrange(len(whole))))
        with pytest.raises(DatasetError) as caught:
            dataset(None).load()
        told = caught.value.__cause__
        assert isinstance(told, StorageError), path
        assert re.fullmatch(
            rf"{re.escape(str(path))} is not what was written: SHA-256 \w{{12}}, expected \w{{12}}\. Remove this "
            r"version's folder to fall back on the one before, or run the stage that makes it again\. If you changed "
            rf"it yourself, remove {re.escape(str(version / SUMS))} instead\.",
            str(told),
        )
        path.write_bytes(whole)
    dataset(None).load()


def test_sums_that_are_cut_or_altered_refuse_what_they_do_not_name(tmp_path):
    dataset = AtomicJSONDataset(filepath=str(tmp_path / "value"), version=Version(None, "1"))
    dataset.save({"accuracy": 0.5})
    sums = tmp_path / "value" / "1" / SUMS
    (line,) = sums.read_text().splitlines()
    assert line == f"{hashlib.sha256((tmp_path / 'value/1/value').read_bytes()).hexdigest()}  value"
    for harmed in (line[:-2], "0" + line[1:], "\0", line.replace("value", "valuf")):
        sums.write_text(harmed)
        with pytest.raises(DatasetError, match="is not what was written"):
            dataset.load()
    sums.unlink()
    assert dataset.load() == {"accuracy": 0.5}


def test_a_training_state_and_a_chunk_of_answers_that_do_not_fit_are_told_and_those_before_stay(tmp_path):
    state = SavedState(5, {"model.weight": torch.ones(200)}, {})
    folder = TrainingStates(tmp_path / "states", keep=2).of("a", {})
    folder.put(state)
    chunk = TargetChunk(
        ids=np.zeros((1, 100), np.uint16),
        log_ratios=np.zeros((1, 100), np.float16),
        log_tail=np.zeros(1, np.float32),
        offsets=np.arange(2),
    )
    cache = TeacherCaches(tmp_path / "cache").of({})
    cache.write(0, 0, chunk)
    with room_for(NUM_BYTES):
        with pytest.raises(StorageError, match=SAID):
            folder.put(SavedState(10, state.tensors, {}))
        with pytest.raises(StorageError, match=SAID):
            cache.write(0, 8, chunk)
    assert folder.latest().step == 5
    assert (cache.missing(0, 0), cache.missing(0, 8)) == (False, True)
    assert not list(tmp_path.rglob("*.part"))
