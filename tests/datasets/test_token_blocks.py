from pathlib import Path

import numpy as np
import pytest
from kedro.io.core import DatasetError, Version

from bort_kedro.core.tokens import TokenBlocks, Tokens
from bort_kedro.datasets.token_blocks import TokenBlocksDataset


@pytest.fixture
def tokens(tiny_vocabulary, tiny_blocks):
    return Tokens(
        tiny_vocabulary,
        {"train": tiny_blocks, "test": TokenBlocks.from_blocks([[0, 9, 2]], vocabulary_size=300)},
    )


@pytest.fixture
def dataset(tmp_path):
    return TokenBlocksDataset(str(tmp_path / "tokens"), version=Version(None, None))


def test_blocks_and_vocabulary_come_back_the_same(dataset, tokens, tiny_vocabulary, tiny_blocks):
    dataset.save(tokens)
    loaded = dataset.load()
    assert loaded.vocabulary == tiny_vocabulary
    assert loaded.summary() == {
        "train": {"blocks": len(tiny_blocks), "tokens": len(tiny_blocks.ids)},
        "test": {"blocks": 1, "tokens": 3},
    }
    for index in range(len(tiny_blocks)):
        np.testing.assert_array_equal(loaded.splits["train"][index], tiny_blocks[index])


def test_ids_are_memory_mapped(dataset, tokens):
    dataset.save(tokens)
    assert isinstance(dataset.load().splits["train"].ids, np.memmap)


def test_fingerprint_follows_the_ids(dataset, tokens, tmp_path, tiny_vocabulary):
    dataset.save(tokens)
    other = TokenBlocksDataset(str(tmp_path / "other"), version=None)
    other.save(tokens)
    assert other.load().fingerprint == dataset.load().fingerprint
    changed = TokenBlocksDataset(str(tmp_path / "changed"), version=None)
    changed.save(Tokens(tiny_vocabulary, {"train": TokenBlocks.from_blocks([[0, 8, 2]], vocabulary_size=300)}))
    assert changed.load().fingerprint != dataset.load().fingerprint


def test_an_altered_file_is_named_with_the_command_that_makes_it_again(dataset, tokens):
    dataset.save(tokens)
    path = Path(dataset._get_load_path()) / "train.ids.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError) as caught:
        dataset.load()
    assert "train.ids.npy is not what was written" in str(caught.value.__cause__)
    assert "kedro run --pipelines corpus" in str(caught.value.__cause__)
