"""Which shapes are searched where T says so."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from bort_kedro.encoders.shapes import MINILM_L6, SHAPE_COLUMNS, BertShape
from bort_kedro.errors import ConfigurationError
from bort_kedro.search.space import (
    Space,
    SpaceSettings,
    enumerate_shapes,
    parts_of,
    require_contained,
    shape_of_maximum,
    space_within,
)
from project_parameters import parameters

OPENED = MINILM_L6.to_row() | {"hidden_act": "gelu"}


def test_the_parts_of_an_encoder_are_thirds_halves_and_quarters_of_its_sizes():
    space = parts_of(MINILM_L6)
    assert space.num_hidden_layers == (2, 3, 4, 6)
    assert space.num_attention_heads == (6, 12)
    assert space.hidden_size == (192, 288, 384)
    assert space.intermediate_size == (384, 768, 1536)
    assert len(enumerate_shapes(space).shapes) == 4 * 2 * 3 * 3 - 1
    assert MINILM_L6 not in enumerate_shapes(space).shapes
    assert not enumerate_shapes(space).invalid


def test_the_smallest_encoder_has_itself_as_its_only_part():
    assert enumerate_shapes(parts_of(BertShape(1, 1, 1, 1))).shapes == (BertShape(1, 1, 1, 1),)


def test_the_shape_of_the_maximum_point_is_stated_or_that_of_the_encoder():
    search = parameters().search
    assert shape_of_maximum(search, None) == BertShape(4, 4, 256, 1024)
    assert shape_of_maximum(search.changed(maximum_point="a/b"), OPENED) == MINILM_L6


def test_a_space_that_is_not_stated_is_made_of_parts():
    search = parameters(search={"space": None, "maximum_point": "a/b"}).search
    assert space_within(search, MINILM_L6) == parts_of(MINILM_L6)


def test_an_encoder_smaller_than_the_space_is_refused_with_both_places_to_change():
    search = parameters(search={"maximum_point": "a/b"}).search
    with pytest.raises(ConfigurationError) as caught:
        space_within(search, BertShape(6, 4, 128, 512))
    assert str(caught.value) == (
        "The encoder `a/b` cannot be the maximum point: maximum_point.hidden_size is 128, below the space's largest "
        "160; the maximum point must be at least as large as every candidate. Change params:search.space (null takes "
        "parts of the encoder's own sizes), params:search.always_train, or params:search.maximum_point."
    )
    added = search.changed(space=None, always_train=[[2, 4, 256, 512]])
    assert space_within(added, BertShape(6, 4, 256, 512)) == parts_of(BertShape(6, 4, 256, 512))
    with pytest.raises(ConfigurationError, match=r"hidden_size is 128, below search.always_train's largest 256; the"):
        space_within(added, BertShape(6, 4, 128, 512))


def space_of(**sizes):
    """A space of two depths, head counts, hidden and intermediate sizes, with some values replaced."""
    return {
        "num_hidden_layers": [1, 2],
        "num_attention_heads": [2, 3],
        "hidden_size": [32, 48],
        "intermediate_size": [64, 96],
    } | sizes


def enumerated(space):
    """Shapes as tuples, and what cannot be built."""
    found = enumerate_shapes(TypeAdapter(Space).validate_python(space))
    return [tuple(shape.to_row().values()) for shape in found.shapes], list(found.invalid)


def test_lists_are_combined_in_their_order_depth_slowest():
    shapes, invalid = enumerated(space_of())
    assert shapes == [
        *((1, 2, 32, 64), (1, 2, 32, 96), (1, 2, 48, 64), (1, 2, 48, 96), (1, 3, 48, 64), (1, 3, 48, 96)),
        *((2, 2, 32, 64), (2, 2, 32, 96), (2, 2, 48, 64), (2, 2, 48, 96), (2, 3, 48, 64), (2, 3, 48, 96)),
    ]
    assert invalid == [(1, 3, 32, 64), (1, 3, 32, 96), (2, 3, 32, 64), (2, 3, 32, 96)]


def test_heads_of_one_size_and_multiples_of_the_hidden_size_follow_it():
    rules = space_of(num_attention_heads={"head_size": 16}, intermediate_size={"times_hidden_size": [1.5, 4]})
    assert enumerated(rules) == (
        [
            *((1, 2, 32, 48), (1, 2, 32, 128), (1, 3, 48, 72), (1, 3, 48, 192)),
            *((2, 2, 32, 48), (2, 2, 32, 128), (2, 3, 48, 72), (2, 3, 48, 192)),
        ],
        [],
    )


def test_what_matches_all_sizes_given_is_left_out_built_or_not():
    shapes, invalid = enumerated(
        space_of(
            without=[{"num_hidden_layers": 1, "hidden_size": 48}, {"num_attention_heads": 3, "intermediate_size": 64}]
        )
    )
    assert shapes == [
        *((1, 2, 32, 64), (1, 2, 32, 96)),
        *((2, 2, 32, 64), (2, 2, 32, 96), (2, 2, 48, 64), (2, 2, 48, 96), (2, 3, 48, 96)),
    ]
    assert invalid == [(1, 3, 32, 96), (2, 3, 32, 96)]


def test_a_list_of_shapes_is_the_space_in_its_order():
    assert enumerated([[2, 4, 96, 128], [1, 2, 32, 64]]) == ([(2, 4, 96, 128), (1, 2, 32, 64)], [])
    # As a record has them.
    assert enumerated([dict(zip(SHAPE_COLUMNS, (1, 2, 32, 64), strict=True))]) == ([(1, 2, 32, 64)], [])


sizes = st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True)


@given(
    depths=sizes,
    heads=sizes,
    head_size=st.integers(1, 5),
    multiples=sizes,
    without=st.lists(
        st.fixed_dictionaries({}, optional={name: st.integers(1, 60) for name in SHAPE_COLUMNS}), max_size=3
    ),
)
def test_rules_give_what_filtering_all_numbers_gives(depths, heads, head_size, multiples, without):
    hidden = [count * head_size for count in heads]
    candidates = [
        sizes
        for sizes in product(depths, range(1, 13), hidden, range(1, 721))
        if sizes[1] * head_size == sizes[2] and sizes[3] / sizes[2] in multiples
    ]

    def is_left_out(sizes, rule):
        return all(sizes[SHAPE_COLUMNS.index(name)] == value for name, value in rule.items())

    left = [rule for rule in without if rule and any(is_left_out(sizes, rule) for sizes in candidates)]
    kept = [sizes for sizes in candidates if not any(is_left_out(sizes, rule) for rule in left)]
    space = {
        "num_hidden_layers": depths,
        "num_attention_heads": {"head_size": head_size},
        "hidden_size": hidden,
        "intermediate_size": {"times_hidden_size": multiples},
        "without": left,
    }
    if not kept:
        with pytest.raises(ValueError, match="without leaves out every candidate that can be built"):
            enumerated(space)
        return
    assert sorted(enumerated(space)[0]) == sorted(kept)
    assert enumerated([list(sizes) for sizes in kept])[0] == kept


def test_the_maximum_point_need_only_contain_what_is_a_candidate():
    without = SpaceSettings.model_validate(space_of(without=[{"hidden_size": 48}]))
    require_contained(without, BertShape(2, 2, 32, 96))
    with pytest.raises(ValueError, match=r"maximum_point.num_attention_heads is 2, below the space's largest 3"):
        require_contained(SpaceSettings.model_validate(space_of()), BertShape(2, 2, 48, 96))
    listed = TypeAdapter(Space).validate_python([[1, 2, 32, 64], [2, 1, 16, 96]])
    require_contained(listed, BertShape(2, 2, 32, 96))
    with pytest.raises(ValueError, match=r"maximum_point.intermediate_size is 64, below the space's largest 96"):
        require_contained(listed, BertShape(2, 2, 32, 64))
