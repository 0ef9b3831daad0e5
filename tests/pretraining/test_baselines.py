import numpy as np

from bort_kedro.pretraining.baselines import CountBaselines
from bort_kedro.text.tokens import TokenBlocks

# Ids 0 to 4 are special. In training 6 follows 5 twice and 7 once; 8 is most frequent; 5 never follows 8
# inside a block, only across one.
BLOCKS = TokenBlocks.from_blocks([[0, 5, 6, 8, 2], [0, 5, 6, 8, 2], [0, 5, 7, 8, 8, 2], [0, 8, 2]], vocabulary_size=10)
IS_ORDINARY = np.array([False] * 5 + [True] * 5)


def test_bigram_predicts_the_most_frequent_follower_and_backs_off_to_the_most_frequent_token():
    baselines = CountBaselines(BLOCKS, IS_ORDINARY)
    inputs = np.array([[0, 5, 4, 8, 2], [0, 9, 4, 4, 2]])
    unigram, bigram = baselines.predict(inputs, np.array([2, 7, 8]))
    assert unigram.tolist() == [8, 8, 8]
    assert bigram.tolist() == [6, 8, 8]  # after 5; after 9, never seen; after the mask


def test_pairs_do_not_cross_blocks():
    blocks = TokenBlocks.from_blocks([[5, 6], [7, 6], [7, 8], [7, 8]], vocabulary_size=10)
    baselines = CountBaselines(blocks, IS_ORDINARY)
    _, bigram = baselines.predict(np.array([[6, 4]]), np.array([1]))
    # 6 is followed by 7 twice across blocks and by nothing inside one: the most frequent token answers.
    assert bigram.tolist() == [7]
    assert baselines.most_frequent == 7


def test_first_word_is_predicted_from_the_start_token():
    baselines = CountBaselines(BLOCKS, IS_ORDINARY)
    _, bigram = baselines.predict(np.array([[0, 4, 6]]), np.array([1]))
    assert bigram.tolist() == [5]
