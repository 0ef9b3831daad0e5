import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kedro.io.core import Version

from bort_kedro.datasets.checksums import SUMS
from bort_kedro.datasets.token_blocks import TokenBlocksDataset
from bort_kedro.text.tokens import TokenBlocks, Tokens


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
    assert loaded.summary() == tokens.summary()
    for index in range(len(tiny_blocks)):
        np.testing.assert_array_equal(loaded.splits["train"][index], tiny_blocks[index])
    assert loaded.word_starts is None
    assert not loaded.splits["train"].joined


def test_joined_documents_the_start_token_and_the_starts_of_words_come_back(dataset, tokens, tiny_vocabulary):
    joined = Tokens(
        replace(tiny_vocabulary, start_id=0),
        {name: replace(blocks, joined=True) for name, blocks in tokens.splits.items()},
        word_starts=np.arange(300) % 7 == 0,
    )
    dataset.save(joined)
    loaded = dataset.load()
    assert loaded.vocabulary == joined.vocabulary
    assert all(blocks.joined for blocks in loaded.splits.values())
    np.testing.assert_array_equal(loaded.word_starts, joined.word_starts)
    assert loaded.word_starts.dtype == bool


def test_the_fingerprint_follows_the_starts_of_words(dataset, tokens):
    dataset.save(tokens)
    before = dataset.load().fingerprint
    dataset.save(replace(tokens, word_starts=np.ones(300, dtype=bool)))
    assert dataset.load().fingerprint != before


def test_tokens_stored_before_documents_could_be_joined_open_as_they_were(dataset, tokens):
    dataset.save(tokens)
    path = Path(dataset._get_load_path()) / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["joined"], manifest["vocabulary"]["start_id"]
    path.write_text(json.dumps(manifest))
    (path.parent.parent / SUMS).unlink()
    loaded = dataset.load()
    assert loaded.vocabulary == tokens.vocabulary
    assert loaded.vocabulary.start_id is None
    assert (loaded.splits["train"].joined, loaded.word_starts) == (False, None)


def test_a_split_without_a_document_comes_back_empty(dataset, tokens, tiny_vocabulary):
    empty = TokenBlocks.from_blocks([], vocabulary_size=300)
    dataset.save(Tokens(tiny_vocabulary, {"train": tokens.splits["train"], "test": empty}))
    assert len(dataset.load().splits["test"]) == 0


def test_the_manifest_says_how_little_padding_costs(dataset, tokens):
    dataset.save(tokens)
    assert json.loads(dataset.preview())["splits"] == tokens.summary()


def test_mapped_tokens_are_handed_to_another_process_as_the_places_of_their_files(dataset, tiny_vocabulary):
    blocks = TokenBlocks.from_blocks([[0, *range(10, 40), 2]] * 2000, vocabulary_size=300)
    dataset.save(Tokens(tiny_vocabulary, {"train": blocks}, word_starts=np.arange(300) % 7 == 0))
    loaded = dataset.load()
    pickled = pickle.dumps(loaded)
    assert len(pickled) < 10_000
    again = pickle.loads(pickled)  # noqa: S301
    np.testing.assert_array_equal(again.splits["train"].ids, blocks.ids)
    np.testing.assert_array_equal(again.splits["train"].offsets, blocks.offsets)
    np.testing.assert_array_equal(again.word_starts, loaded.word_starts)
    assert (again.vocabulary, again.fingerprint) == (loaded.vocabulary, loaded.fingerprint)
    assert isinstance(again.splits["train"].ids, np.memmap)
    assert pickle.dumps(again) == pickled


@pytest.mark.parametrize("part", [slice(3, 90), slice(None, None, -1), slice(0, 7), slice(9, None)], ids=str)
def test_a_part_of_a_mapped_array_is_handed_over_by_value(dataset, tokens, part):
    dataset.save(tokens)
    ids = dataset.load().splits["train"].ids
    again = pickle.loads(pickle.dumps(ids[part]))  # noqa: S301
    assert type(again) is np.ndarray
    assert again.tolist() == ids.tolist()[part]


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
