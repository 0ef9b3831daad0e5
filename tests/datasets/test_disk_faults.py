"""A disk that takes only so many bytes, whoever writes them: Python, numpy, Arrow, or a library in Rust."""

from __future__ import annotations

import resource
from contextlib import contextmanager

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
from kedro.io import DatasetError
from kedro.io.core import Version

from bort_kedro.datasets.atomic import AtomicCSVDataset, AtomicJSONDataset, AtomicParquetDataset, AtomicPlotlyDataset
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
}
NUM_BYTES = 100
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
