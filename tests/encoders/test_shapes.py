import pytest

from bort_kedro.encoders.shapes import BORT, BertShape, head_remainder
from bort_kedro.errors import ShapeError


def test_heads_that_do_not_divide_the_hidden_size_are_refused_with_the_full_story():
    with pytest.raises(ShapeError) as caught:
        BertShape(4, 12, 1024, 768)
    assert str(caught.value) == (
        "BERT shape (4, 12, 1024, 768) cannot be built: hidden_size 1024 leaves a remainder of 4 when "
        "split over 12 heads. Head counts up to 12 that divide it: [1, 2, 4, 8]. Change "
        "num_attention_heads or hidden_size under params:search.space (or search.maximum_point)."
    )


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((0, 8, 1024, 768), "num_hidden_layers is 0"),
        ((4, 0, 1024, 768), "num_attention_heads is 0"),
        ((4, 8, 0, 768), "hidden_size is 0"),
        ((4, 8, 1024, -1), "intermediate_size is -1"),
    ],
)
def test_a_size_below_one_is_refused_by_its_name(values, name):
    with pytest.raises(ShapeError) as caught:
        BertShape(*values)
    assert str(caught.value) == (
        f"BERT shape ({', '.join(map(str, values))}) cannot be built: {name}, allowed are integers "
        "from 1 up. Change it under params:search.space (or search.maximum_point)."
    )


@pytest.mark.parametrize(("hidden", "heads", "remainder"), [(1024, 12, 4), (768, 12, 0), (512, 16, 0), (7, 3, 1)])
def test_head_remainder_equals_hand_value(hidden, heads, remainder):
    assert head_remainder(hidden, heads) == remainder


def test_shape_keeps_its_text_its_identifier_and_its_row():
    assert str(BORT) == "(4, 8, 1024, 768)"
    assert BORT.identifier == "D4-A8-H1024-I768"
    row = BORT.to_row()
    assert list(row.items()) == [
        ("num_hidden_layers", 4),
        ("num_attention_heads", 8),
        ("hidden_size", 1024),
        ("intermediate_size", 768),
    ]
    assert BertShape.from_row({**row, "error": 0.5}) == BORT


def test_shapes_sort_by_depth_then_heads_then_hidden_then_intermediate():
    shapes = [BertShape(2, 4, 8, 1), BertShape(1, 4, 8, 9), BertShape(1, 4, 8, 2), BertShape(1, 2, 16, 9)]
    assert [str(shape) for shape in sorted(shapes)] == [
        "(1, 2, 16, 9)",
        "(1, 4, 8, 2)",
        "(1, 4, 8, 9)",
        "(2, 4, 8, 1)",
    ]
