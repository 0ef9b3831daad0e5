import time
from itertools import permutations

import numpy as np
import pytest

from bort_kedro.encoders.costs import (
    count_embedding_operations,
    count_head_operations,
    count_operations,
    count_parameters,
)
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.search.growth import check_growth
from bort_kedro.search.space import SpaceSettings, enumerate_shapes

PUBLISHED = enumerate_shapes(
    SpaceSettings(
        num_hidden_layers=[2, 4, 6, 8, 10, 12],
        num_attention_heads=[4, 8, 12, 16],
        hidden_size=[512, 768, 1024],
        intermediate_size=[256, 512, 768, 1024, 3072],
    )
).shapes
PUBLISHED_SIZES = {"vocabulary_size": 50_265, "max_positions": 512, "sequence_length": 128}
BY_DEGREE = (
    "The AB^nC condition holds by degree: as polynomials in D, A, H and I, parameters and operations of the layers are "
    "of degree 3 (D H^2, D H I), those of the head of degree 2 (H^2), those of the embeddings of degree 1 (H)."
)


def two_by_two(vocabulary_size):
    shapes = [BertShape(depth, 1, hidden, 4) for depth in (1, 2) for hidden in (2, 4)]
    return check_growth(shapes, vocabulary_size=vocabulary_size, max_positions=3, sequence_length=2)


def test_growth_of_a_two_by_two_space_equals_the_hand_count():
    # Layers of H = 2 and 4 hold 54 and 136 parameters, embeddings with V = 10 hold 32 and 64, heads 20 and 38:
    # a hidden step adds 82 a layer, 32 and 18. Depth steps add a layer, and nothing elsewhere.
    check = two_by_two(10)
    parameters = check.parameters
    assert (parameters.num_steps, parameters.num_above_embeddings, parameters.num_above_head) == (4, 4, 4)
    # Operations: layers 2 * 80 + 184 = 344 and 2 * 224 + 276 = 724, embeddings 40 and 80, heads 2 * 48 + 88 = 184
    # and 2 * 112 + 156 = 380: a hidden step adds 380 a layer, 40 and 196.
    assert check.operations.num_above_both == 4
    assert check.holds
    assert check.sentence() == (
        f"{BY_DEGREE} It holds at the sizes of this space too: in all of its 4 steps to the next value the layers grow "
        "at least as much as embeddings and head, in parameters and in operations."
    )


def test_a_large_vocabulary_outgrows_one_layer_and_not_two():
    # With V = 50 a hidden step adds 2 * (50 + 3 + 1) + 4 = 112 parameters of embeddings: more than one layer's 82
    # and less than two layers' 164. Operations of the head go from 2 * 208 + 168 to 2 * 432 + 236, by 516: more
    # than one layer's 380 and less than two layers' 760.
    check = two_by_two(50)
    assert vars(check.parameters) == {
        "quantity": "parameters",
        "num_steps": 4,
        "num_above_embeddings": 3,
        "num_above_head": 4,
        "num_above_both": 3,
        "failing_axes": {"hidden_size": 1},
    }
    assert check.operations.num_above_embeddings == 4
    assert check.operations.num_above_head == 3
    assert not check.holds


@pytest.mark.parametrize(("vocabulary_size", "embeddings", "head"), [(33, 4, 4), (34, 4, 3), (35, 4, 3), (36, 3, 3)])
def test_layers_that_grow_as_much_grow_enough(vocabulary_size, embeddings, head):
    # One layer's hidden step adds 82 parameters, embeddings 2 * (V + 4) + 4; in operations 380, the head 116 + 8 V.
    check = two_by_two(vocabulary_size)
    assert check.parameters.num_above_embeddings == embeddings
    assert check.operations.num_above_head == head


def by_brute_force(shapes):
    lists = {name: sorted({getattr(shape, name) for shape in shapes}) for name in vars(shapes[0])}
    length, vocabulary = PUBLISHED_SIZES["sequence_length"], PUBLISHED_SIZES["vocabulary_size"]
    steps = 0
    above = {"parameters": [0, 0, 0], "operations": [0, 0, 0]}
    for smaller, larger in permutations(shapes, 2):
        differing = [name for name in lists if getattr(smaller, name) != getattr(larger, name)]
        if len(differing) != 1:
            continue
        values = lists[differing[0]]
        places = [values.index(getattr(shape, differing[0])) for shape in (smaller, larger)]
        if places[1] != places[0] + 1:
            continue
        steps += 1
        growth = {"parameters": [], "operations": []}
        weights = [
            count_parameters(shape, vocabulary_size=vocabulary, max_positions=512) for shape in (smaller, larger)
        ]
        for part in ("encoder", "embeddings", "masked_lm_head"):
            growth["parameters"].append(getattr(weights[1], part) - getattr(weights[0], part))
        for count in (
            lambda shape: count_operations(shape, sequence_length=length),
            lambda shape: count_embedding_operations(shape, sequence_length=length),
            lambda shape: count_head_operations(shape, vocabulary_size=vocabulary, num_positions=length),
        ):
            growth["operations"].append(count(larger).total - count(smaller).total)
        for quantity, (layers, embeddings, head) in growth.items():
            above[quantity][0] += layers >= embeddings
            above[quantity][1] += layers >= head
            above[quantity][2] += layers >= embeddings and layers >= head
    return steps, above


def test_steps_of_the_published_space_equal_brute_force_over_all_pairs():
    check = check_growth(PUBLISHED, **PUBLISHED_SIZES)
    steps, above = by_brute_force(PUBLISHED)
    for part in (check.parameters, check.operations):
        assert part.num_steps == steps == 820
        assert [part.num_above_embeddings, part.num_above_head, part.num_above_both] == above[part.quantity]
    assert above == {"parameters": [739, 820, 739], "operations": [820, 739, 739]}


def test_the_published_space_fails_at_steps_of_the_hidden_size_alone():
    check = check_growth(PUBLISHED, **PUBLISHED_SIZES)
    assert check.parameters.failing_axes == check.operations.failing_axes == {"hidden_size": 81}
    assert not check.holds
    assert check.sentence() == (
        f"{BY_DEGREE} At the sizes of this space, of 820 steps to the next value, the layers grow at least as much as "
        "embeddings and head in 739 for parameters and 739 for operations; the others are steps of hidden_size."
    )


def test_the_order_of_the_candidates_does_not_matter():
    shuffled = [PUBLISHED[place] for place in np.random.default_rng(0).permutation(len(PUBLISHED))]
    assert check_growth(shuffled, **PUBLISHED_SIZES) == check_growth(PUBLISHED, **PUBLISHED_SIZES)


def test_one_candidate_makes_no_step():
    check = check_growth(PUBLISHED[:1], **PUBLISHED_SIZES)
    assert check.parameters.num_steps == 0
    assert check.sentence() == (
        f"{BY_DEGREE} No two candidates of this space are one step apart, so its sizes say nothing of it."
    )


@pytest.mark.slow
def test_thirty_thousand_shapes_take_seconds():
    shapes = enumerate_shapes(
        SpaceSettings(
            num_hidden_layers=tuple(range(1, 31)),
            num_attention_heads=[1, 2, 4, 8],
            hidden_size=tuple(range(64, 320, 16)),
            intermediate_size=tuple(range(64, 1088, 64)),
        )
    ).shapes
    assert len(shapes) == 30_720
    begin = time.thread_time()
    check = check_growth(shapes, **PUBLISHED_SIZES)
    assert time.thread_time() - begin < 5.0
    # Along each axis, all but the last of its values step: of 30 * 4 * 16 * 16 candidates.
    assert check.parameters.num_steps == 30_720 * 4 - 30_720 * (1 / 30 + 1 / 4 + 1 / 16 + 1 / 16)


@pytest.mark.parametrize("name", ["parameters", "operations"])
def test_steps_are_only_between_neighbours_of_the_list(name):
    # Without the middle candidate, the outer two are two steps apart in the list that the others make.
    shapes = [BertShape(1, 1, 8, 4), BertShape(3, 1, 8, 4), BertShape(2, 1, 16, 4)]
    assert getattr(check_growth(shapes, **PUBLISHED_SIZES), name).num_steps == 0
