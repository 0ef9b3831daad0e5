import dataclasses

import numpy as np
import pytest
import torch

from batch_reading import labels_of, mask_of
from bort_kedro.errors import CorpusError
from bort_kedro.pretraining.masked_blocks import MaskedBlocks
from bort_kedro.pretraining.masking import IGNORED
from bort_kedro.text.batching import plan_epoch
from bort_kedro.text.tokenization import DocumentEncoder, tokenize_texts
from bort_kedro.text.tokens import TokenBlocks


@pytest.fixture
def data(tiny_blocks, tiny_vocabulary):
    return MaskedBlocks(tiny_blocks, tiny_vocabulary, seed=1, masked_share=0.3)


def assert_equal_batches(left, right):
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_batch_holds_its_blocks_padded_to_the_longest(data, tiny_blocks, tiny_vocabulary):
    batch = data.batch([0, 3, 7, 11], epoch=0)
    lengths = tiny_blocks.lengths[[0, 3, 7, 11]]
    assert len(set(lengths.tolist())) > 1
    assert batch["input_ids"].shape == (4, lengths.max())
    np.testing.assert_array_equal(batch["attention_mask"].sum(dim=1), lengths)
    is_padding = batch["attention_mask"] == 0
    assert set(batch["input_ids"][is_padding].tolist()) == {tiny_vocabulary.pad_id}
    assert set(labels_of(batch)[is_padding].tolist()) == {IGNORED}
    for row, block in enumerate([0, 3, 7, 11]):
        true_ids = torch.from_numpy(tiny_blocks[block].astype(np.int64))
        inputs, labels = (table[row, : lengths[row]] for table in (batch["input_ids"], labels_of(batch)))
        is_predicted = labels != IGNORED
        assert int(is_predicted.sum()) == max(1, round(0.3 * (int(lengths[row]) - 2)))
        assert torch.equal(labels[is_predicted], true_ids[is_predicted])
        assert torch.equal(inputs[~is_predicted], true_ids[~is_predicted])


def test_a_batch_names_the_predicted_positions_their_true_ids_and_their_number(data):
    batch = data.batch([0, 3, 7, 11], epoch=0)
    rows, _ = data._padded(np.array([0, 3, 7, 11]))
    _, labels, _ = data.masking.hide(rows, epoch=0, blocks=[0, 3, 7, 11])
    flat = labels.ravel().tolist()
    assert batch["predicted"].tolist() == [index for index, label in enumerate(flat) if label != IGNORED]
    assert batch["targets"].tolist() == [label for label in flat if label != IGNORED]
    assert torch.equal(batch["weight"], torch.tensor(float(len(batch["predicted"]))))
    kinds = {name: value.dtype for name, value in batch.items()}
    assert kinds.pop("weight") == torch.float32
    queries = {"query_slots", "query_positions"}
    assert set(kinds) == {"input_ids", "attention_mask", "predicted", "targets"} | queries
    assert torch.equal(batch["query_positions"][batch["query_slots"]], batch["predicted"])
    assert set(kinds.values()) == {torch.int64}


def test_a_batch_has_a_mask_only_where_one_of_its_rows_is_padded(data, tiny_blocks):
    longest, shortest = (int(place(tiny_blocks.lengths)) for place in (np.argmax, np.argmin))
    alike = np.flatnonzero(tiny_blocks.lengths == tiny_blocks.lengths[longest])
    assert "attention_mask" not in data.batch(alike, epoch=0)
    assert "attention_mask" not in data.batch([shortest], epoch=0)
    assert (data.batch([longest, shortest], epoch=0)["attention_mask"] == 0).any()


def test_masks_of_a_block_do_not_depend_on_the_batch_it_stands_in(data, tiny_blocks):
    length = int(tiny_blocks.lengths[7])
    alone, among = data.batch([7], epoch=2), data.batch([3, 7], epoch=2)
    for table in (lambda batch: batch["input_ids"], labels_of):
        assert torch.equal(table(alone)[0], table(among)[1, :length])


def test_masks_are_drawn_afresh_in_each_epoch(data):
    labels = [labels_of(data.batch(range(24), epoch=epoch)) for epoch in (0, 1, 0)]
    assert torch.equal(labels[0], labels[2])
    assert not torch.equal(labels[0], labels[1])


def test_masks_repeat_after_the_epochs_that_a_cache_holds(data):
    cycled = dataclasses.replace(data, mask_epochs=3)
    for epoch in range(7):
        assert_equal_batches(cycled.batch([2, 5], epoch=epoch), data.batch([2, 5], epoch=epoch % 3))


def test_blocks_of_a_longer_stream_have_the_masks_of_their_number_in_it(data, tiny_blocks):
    start = int(tiny_blocks.offsets[10])
    rest = dataclasses.replace(tiny_blocks, ids=tiny_blocks.ids[start:], offsets=tiny_blocks.offsets[10:] - start)
    later = dataclasses.replace(data, blocks=rest, numbers=np.arange(10, len(tiny_blocks)))
    assert_equal_batches(later.batch([0, 4], epoch=1), data.batch([10, 14], epoch=1))


def test_whole_words_are_hidden_together_and_others_than_those_of_single_tokens(data, tiny_blocks, tiny_tokenizer):
    tokens = tiny_tokenizer.convert_ids_to_tokens(range(len(tiny_tokenizer)))
    word_starts = np.array([token.startswith("Ġ") for token in tokens])
    by_words = dataclasses.replace(data, whole_words=True, word_starts=word_starts)
    labels = labels_of(by_words.batch(range(24), epoch=0)).numpy()
    for block, row in enumerate(labels):
        ids = tiny_blocks[block]
        words = np.cumsum(word_starts[ids[1:-1]] | (np.arange(len(ids) - 2) == 0))
        is_hidden = row[1 : len(ids) - 1] != IGNORED
        assert all(len(set(is_hidden[words == word].tolist())) == 1 for word in set(words.tolist()))
    assert (labels != labels_of(data.batch(range(24), epoch=0)).numpy()).any()


def test_whole_words_without_the_ids_that_begin_one_are_refused(tiny_blocks, tiny_vocabulary):
    with pytest.raises(CorpusError) as caught:
        MaskedBlocks(tiny_blocks, tiny_vocabulary, seed=1, masked_share=0.3, whole_words=True)
    assert str(caught.value) == (
        "Whole words cannot be hidden: `tokens` was stored without the ids that begin a word. Run `kedro run "
        "--pipelines corpus` to make it again, or set whole_word_masking to false."
    )


def test_of_full_blocks_only_the_batch_with_the_last_of_the_corpus_has_a_mask(tiny_tokenizer, tiny_vocabulary):
    encoder = DocumentEncoder(tiny_tokenizer, sequence_length=12, packing="full")
    blocks = tokenize_texts([f"The mean of row {number} and more." for number in range(40)], encoder)
    data = MaskedBlocks(blocks, tiny_vocabulary, seed=1, masked_share=0.3)
    assert blocks.lengths[-1] < 12
    for indices in plan_epoch(blocks.lengths, batch_tokens=48, seed=0, epoch=0):
        batch = data.batch(indices, epoch=0)
        is_padded = len(blocks) - 1 in indices and len(indices) > 1
        assert ("attention_mask" in batch) == is_padded
        assert "document_ids" not in batch


def test_documents_of_a_joined_block_are_numbered_from_one_in_each_row(data, tiny_vocabulary):
    rows = [[0, 9, 10, 2, 0, 11, 2, 0, 12, 13, 2], [0, 9, 2], [0, 9, 2, 0, 10, 11, 2]]
    blocks = dataclasses.replace(TokenBlocks.from_blocks(rows, vocabulary_size=300), joined=True)
    vocabulary = dataclasses.replace(tiny_vocabulary, start_id=0)
    batch = dataclasses.replace(data, blocks=blocks, vocabulary=vocabulary, masked_share=1.0).batch([0, 1, 2], epoch=0)
    assert batch["document_ids"].tolist() == [
        [1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3],
        [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0],
    ]
    assert batch["document_ids"].dtype == torch.int64


def test_training_batches_are_a_pure_function_of_the_step(data):
    forward, backward = data.training_batches(batch_tokens=48), data.training_batches(batch_tokens=48)
    first = [forward(step) for step in range(12)]
    second = [backward(step) for step in reversed(range(12))][::-1]
    for left, right in zip(first, second, strict=True):
        assert_equal_batches(left, right)


@pytest.mark.parametrize("num_parts", [1, 2, 3, 5])
def test_the_parts_of_a_step_together_are_its_batch(data, num_parts):
    batch_at = data.training_batches(batch_tokens=48)
    saw_an_empty_part = False
    for step in range(15):
        whole = batch_at(step)
        num_rows = len(whole["input_ids"])
        parts = [batch_at(step, part, num_parts) for part in range(num_parts)]
        assert sum(part["weight"] for part in parts) == whole["weight"]
        for index, part in enumerate(parts):
            rows = range(num_rows)[index::num_parts] or [0]
            length = part["input_ids"].shape[1]
            for table in (lambda batch: batch["input_ids"], mask_of, labels_of):
                assert torch.equal(table(part), table(whole)[list(rows), :length])
            assert mask_of(whole)[list(rows), length:].sum() == 0
            if index >= num_rows:
                saw_an_empty_part = True
                assert part["weight"] == 0
    assert saw_an_empty_part == (num_parts > 1)


def test_kept_targets_join_the_batch_of_their_blocks(data):
    asked = []

    class Kept:
        def lookup(self, indices, *, epoch):
            asked.append((indices, epoch))
            return {"teacher_ids": torch.tensor([[len(indices)]])}

    batch = data.training_batches(batch_tokens=48, targets=Kept())(0, 1, 2)
    bare = data.training_batches(batch_tokens=48)(0, 1, 2)
    assert batch.pop("teacher_ids").tolist() == [[len(bare["input_ids"])]]
    assert_equal_batches(batch, bare)
    ((indices, epoch),) = asked
    assert epoch == 0
    assert_equal_batches(data.batch(indices, epoch=0), bare)


def test_a_part_whose_blocks_hold_nothing_to_predict_repeats_one_that_does_with_weight_zero(tiny_vocabulary):
    """A document of unknown tokens alone has no ordinary one."""
    blocks = TokenBlocks.from_blocks([[0, 3, 3, 2], [0, 50, 60, 70, 2]], vocabulary_size=300)
    data = MaskedBlocks(blocks, tiny_vocabulary, seed=1, masked_share=0.3)
    whole = np.array([0, 1])
    first, second = (data.part(whole, part, 2, epoch=0) for part in (0, 1))
    assert (first["weight"].item(), second["weight"].item()) == (0.0, 1.0)
    assert torch.equal(first["input_ids"], second["input_ids"])
    assert len(first["predicted"]) == 1
