import math

import numpy as np
import pytest

from bort_kedro.core.masking import IGNORED, mask_block

VOCABULARY_SIZE, MASK_ID = 1000, 4
IS_ORDINARY = np.arange(VOCABULARY_SIZE) >= 5


def masked(token_ids, *, seed=1, epoch=2, block=3, share=0.15, is_ordinary=IS_ORDINARY):
    return mask_block(
        token_ids, seed=seed, epoch=epoch, block=block, mask_id=MASK_ID, is_ordinary=is_ordinary, share=share
    )


def a_block(num_ordinary, seed=0):
    ordinary = np.random.default_rng(seed).integers(5, VOCABULARY_SIZE, size=num_ordinary)
    return np.concatenate([[0], ordinary, [2]]).astype(np.uint16)


@pytest.mark.parametrize(
    ("num_ordinary", "share", "num_hidden"),
    [(20, 0.15, 3), (40, 0.15, 6), (100, 0.4, 40), (3, 0.15, 1), (1, 0.01, 1), (10, 1.0, 10)],
)
def test_masking_hides_the_rounded_share_of_ordinary_tokens_and_at_least_one(num_ordinary, share, num_hidden):
    _, labels = masked(a_block(num_ordinary), share=share)
    assert np.count_nonzero(labels != IGNORED) == num_hidden


def test_labels_hold_the_true_ids_where_predicted_and_inputs_change_nowhere_else():
    block = a_block(200)
    inputs, labels = masked(block, share=0.3)
    is_predicted = labels != IGNORED
    np.testing.assert_array_equal(labels[is_predicted], block[is_predicted])
    np.testing.assert_array_equal(inputs[~is_predicted], block[~is_predicted])
    assert (inputs.dtype, labels.dtype) == (np.int64, np.int64)


def test_masking_leaves_the_block_it_was_given_as_it_was():
    block = a_block(50)
    before = block.copy()
    masked(block, share=1.0)
    np.testing.assert_array_equal(block, before)


def test_hidden_tokens_split_eighty_ten_ten_within_five_standard_errors():
    block = np.full(20_000, 7, dtype=np.uint16)
    inputs, labels = masked(block, share=1.0)
    assert np.all(labels == 7)
    count = len(block)
    # A drawn token is the true one once in 995, which counts as unchanged.
    same_by_chance = 0.1 / 995
    for observed, expected in (
        (np.mean(inputs == MASK_ID), 0.8),
        (np.mean(inputs == 7), 0.1 + same_by_chance),
        (np.mean((inputs != MASK_ID) & (inputs != 7)), 0.1 - same_by_chance),
    ):
        assert abs(observed - expected) < 5 * math.sqrt(expected * (1 - expected) / count)


def test_special_tokens_are_never_predicted_and_never_drawn():
    ids = np.tile(np.arange(10, dtype=np.uint16), 500)
    is_ordinary = np.arange(10) >= 5
    inputs, labels = masked(ids, share=1.0, is_ordinary=is_ordinary)
    assert np.all(labels[ids < 5] == IGNORED)
    assert np.all(labels[ids >= 5] == ids[ids >= 5])
    drawn = inputs[(inputs != MASK_ID) & (ids >= 5)]
    assert set(drawn.tolist()) == {5, 6, 7, 8, 9}


def test_hidden_positions_are_spread_evenly_over_the_block():
    block = np.full(40, 9, dtype=np.uint16)
    num_blocks, share = 2000, 0.25
    times = sum((masked(block, block=index, share=share)[1] != IGNORED).astype(int) for index in range(num_blocks))
    spread = math.sqrt(num_blocks * share * (1 - share))
    assert np.all(np.abs(times - num_blocks * share) < 5 * spread)


def test_same_seed_epoch_and_block_give_the_same_masks_whatever_came_between():
    block = a_block(100)
    first = masked(block)
    np.random.default_rng().random(5)
    masked(a_block(30), block=9)
    second = masked(block)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("other", [{"seed": 9}, {"epoch": 9}, {"block": 9}], ids=str)
def test_another_seed_epoch_or_block_gives_other_masks(other):
    block = a_block(100)
    assert not np.array_equal(masked(block)[1], masked(block, **other)[1])


def test_a_block_of_special_tokens_alone_is_left_as_it_is():
    block = np.array([0, 1, 2], dtype=np.uint16)
    inputs, labels = masked(block)
    np.testing.assert_array_equal(inputs, block)
    np.testing.assert_array_equal(labels, [IGNORED] * 3)
