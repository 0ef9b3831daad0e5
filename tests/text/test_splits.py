from collections import Counter

import pytest

from bort_kedro.errors import CorpusError
from bort_kedro.text.splits import assign_splits

SHARES = {"validation": 0.1, "test": 0.1, "tasks": 0.3}


def test_shares_are_kept_and_training_takes_the_rest():
    splits = assign_splits([f"d{n}" for n in range(200)], shares=SHARES, seed=0)
    assert Counter(splits) == {"train": 100, "validation": 20, "test": 20, "tasks": 60}


def test_division_does_not_depend_on_the_order_of_documents():
    names = [f"d{n}" for n in range(50)]
    forward = dict(zip(names, assign_splits(names, shares=SHARES, seed=3), strict=True))
    backward = dict(zip(names[::-1], assign_splits(names[::-1], shares=SHARES, seed=3), strict=True))
    assert forward == backward
    assert forward != dict(zip(names, assign_splits(names, shares=SHARES, seed=4), strict=True))


def test_a_split_of_share_zero_stays_empty_and_others_get_at_least_one():
    splits = assign_splits(["a", "b", "c"], shares={"validation": 0.01, "test": 0.01, "tasks": 0.0}, seed=0)
    assert Counter(splits) == {"train": 1, "validation": 1, "test": 1}


def test_too_few_documents_say_how_many_are_needed():
    with pytest.raises(CorpusError) as caught:
        assign_splits(["a", "b", "c"], shares=SHARES, seed=0)
    assert "has 3 document(s), too few to divide" in str(caught.value)
    assert "so at least 4" in str(caught.value)
    assert "`document_boundary`" in str(caught.value)
