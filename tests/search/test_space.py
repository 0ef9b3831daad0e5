"""Which shapes are searched where T says so."""

import pytest

from bort_kedro.encoders.shapes import MINILM_L6, BertShape
from bort_kedro.errors import ConfigurationError
from bort_kedro.search.space import enumerate_shapes, parts_of, shape_of_maximum, space_within
from project_parameters import parameters

OPENED = MINILM_L6.to_row() | {"hidden_act": "gelu"}


def test_the_parts_of_an_encoder_are_thirds_halves_and_quarters_of_its_sizes():
    space = parts_of(MINILM_L6)
    assert space.num_hidden_layers == (2, 3, 4, 6)
    assert space.num_attention_heads == (6, 12)
    assert space.hidden_size == (192, 288, 384)
    assert space.intermediate_size == (384, 768, 1536)
    assert len(enumerate_shapes(space).shapes) == 72
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
        "parts of the encoder's own sizes), or params:search.maximum_point."
    )
