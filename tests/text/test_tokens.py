import numpy as np
import pytest

from bort_kedro.text.tokens import (
    TokenBlocks,
    Tokens,
    Vocabulary,
    cut_documents,
    frame_documents,
    join_blocks,
)
from cutting import cut_document


@pytest.mark.parametrize(
    ("num_tokens", "block_tokens", "sizes"),
    [
        (0, 4, []),
        (1, 4, [1]),
        (4, 4, [4]),
        (5, 4, [2, 3]),
        (9, 4, [3, 3, 3]),
        (10, 4, [3, 4, 3]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_a_document_is_cut_into_the_hand_computed_pieces(num_tokens, block_tokens, sizes):
    assert cut_documents(np.array([num_tokens]), block_tokens=block_tokens).tolist() == sizes


def test_pieces_are_the_fewest_and_differ_by_one_token_at_most():
    for block_tokens in range(1, 12):
        for num_tokens in range(1, 120):
            sizes = [len(piece) for piece in cut_document([7] * num_tokens, block_tokens=block_tokens)]
            assert sum(sizes) == num_tokens
            assert len(sizes) == -(-num_tokens // block_tokens)
            assert max(sizes) <= block_tokens
            assert max(sizes) - min(sizes) <= 1


def test_documents_cut_together_give_the_pieces_of_each_cut_alone():
    lengths = np.random.default_rng(0).integers(0, 200, size=300)
    for block_tokens in (1, 7, 62):
        alone = [len(piece) for n in lengths for piece in cut_document([7] * n, block_tokens=block_tokens)]
        assert cut_documents(lengths, block_tokens=block_tokens).tolist() == alone


def test_documents_are_framed_as_computed_by_hand():
    ids = np.array([11, 12, 13, 14, 15, 21, 31, 32], dtype=np.uint16)
    blocks = frame_documents(ids, np.array([5, 0, 1, 2]), before=[0, 9], after=[2], sequence_length=6)
    assert [blocks[index].tolist() for index in range(len(blocks))] == [
        [0, 9, 11, 12, 2],
        [0, 9, 13, 14, 15, 2],
        [0, 9, 21, 2],
        [0, 9, 31, 32, 2],
    ]
    assert (blocks.ids.dtype, blocks.offsets.dtype, blocks.joined) == (np.uint16, np.int64, False)


def test_no_document_at_all_is_framed_to_no_block():
    blocks = frame_documents(np.zeros(0, dtype=np.uint16), np.zeros(0, int), before=[0], after=[2], sequence_length=6)
    assert (len(blocks), blocks.offsets.tolist(), blocks.ids.dtype) == (0, [0], np.uint16)
    assert join_blocks(blocks, sequence_length=6).offsets.tolist() == [0]


def next_fit(lengths, sequence_length):
    """Lengths of the joined blocks, one piece after another."""
    joined = []
    for length in lengths:
        if joined and joined[-1] + length <= sequence_length:
            joined[-1] += length
        else:
            joined.append(length)
    return joined


def test_blocks_are_joined_by_next_fit():
    blocks = TokenBlocks.from_blocks([[7] * length for length in (3, 4, 2, 8, 1, 1)], vocabulary_size=10)
    joined = join_blocks(blocks, sequence_length=8)
    assert joined.lengths.tolist() == [7, 2, 8, 2]
    assert joined.joined
    assert joined.ids is blocks.ids
    for seed in range(50):
        lengths = np.random.default_rng(seed).integers(1, 13, size=seed)
        blocks = TokenBlocks.from_blocks([[7] * length for length in lengths], vocabulary_size=10)
        assert join_blocks(blocks, sequence_length=12).lengths.tolist() == next_fit(lengths.tolist(), 12)


def test_the_summary_counts_blocks_tokens_and_padding(tiny_vocabulary):
    even = TokenBlocks.from_blocks([[0, 9, 2]] * 40, vocabulary_size=300)
    # Sixteen blocks of the longest make a batch; these eight are one, padded from 10 tokens to 16.
    uneven = TokenBlocks.from_blocks([[9]] * 6 + [[9, 9]] * 2, vocabulary_size=300)
    none = TokenBlocks.from_blocks([], vocabulary_size=300)
    assert Tokens(tiny_vocabulary, {"train": even, "test": uneven, "none": none}).summary() == {
        "train": {"blocks": 40, "tokens": 120, "padding_share": 0.0},
        "test": {"blocks": 8, "tokens": 10, "padding_share": 0.375},
        "none": {"blocks": 0, "tokens": 0, "padding_share": 0.0},
    }


def test_blocks_come_back_as_they_were_packed():
    lists = [[5, 6, 7], [], [8], [9, 5]]
    blocks = TokenBlocks.from_blocks(lists, vocabulary_size=10)
    assert len(blocks) == 4
    assert [blocks[index].tolist() for index in range(4)] == lists
    assert blocks.lengths.tolist() == [3, 0, 1, 2]
    assert blocks.offsets.tolist() == [0, 3, 3, 4, 6]
    assert blocks.offsets.dtype == np.int64


@pytest.mark.parametrize(("vocabulary_size", "dtype"), [(300, np.uint16), (65_536, np.uint16), (65_537, np.uint32)])
def test_an_id_takes_two_bytes_while_the_largest_fits(vocabulary_size, dtype):
    blocks = TokenBlocks.from_blocks([[0, vocabulary_size - 1]], vocabulary_size=vocabulary_size)
    assert blocks.ids.dtype == dtype
    assert blocks[0].tolist() == [0, vocabulary_size - 1]


def test_no_block_at_all_is_an_empty_value():
    blocks = TokenBlocks.from_blocks([], vocabulary_size=10)
    assert len(blocks) == 0
    assert blocks.lengths.tolist() == []


def test_ordinary_ids_are_all_but_the_special_ones():
    vocabulary = Vocabulary(size=6, mask_id=4, pad_id=1, special_ids=(0, 1, 4), fingerprint="")
    assert vocabulary.is_ordinary.tolist() == [False, False, True, True, False, True]


def test_the_tiny_tokenizer_of_the_tests_has_the_layout_that_the_project_uses(tiny_tokenizer, tiny_vocabulary):
    assert len(tiny_tokenizer) == 300
    assert tiny_tokenizer.convert_ids_to_tokens(range(5)) == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    ids = tiny_tokenizer("the mean", "of it")["input_ids"]
    assert tiny_tokenizer.decode(ids) == "<s>the mean</s></s>of it</s>"
    assert tiny_vocabulary.special_ids == (0, 1, 2, 3, 4)
    assert (tiny_vocabulary.mask_id, tiny_vocabulary.pad_id) == (4, 1)
