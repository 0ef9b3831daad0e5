import time
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertForMaskedLM, BertModel

from bort_kedro.encoders.costs import (
    ShapeArrays,
    candidate_counts,
    count_embedding_operations,
    count_head_operations,
    count_operations,
    count_parameters,
    count_pooler_operations,
    recorded_operations,
)
from bort_kedro.encoders.encoder import bert_config
from bort_kedro.encoders.shapes import BERT_LARGE, BORT, BORT_EXCHANGED, BertShape
from bort_kedro.search.space import SpaceSettings, enumerate_shapes

SHAPES = [
    BertShape(1, 1, 8, 4),
    BertShape(1, 4, 16, 48),
    BertShape(2, 2, 16, 24),
    BertShape(3, 4, 32, 16),
    BertShape(5, 3, 24, 40),
]
# Every shape of a tiny space, all of which can be built.
TINY_SPACE = [BertShape(*values) for values in product([1, 2], [1, 2, 4], [8, 12], [4, 10])]
PUBLISHED_SPACE = enumerate_shapes(
    SpaceSettings(
        num_hidden_layers=[2, 4, 6, 8, 10, 12],
        num_attention_heads=[4, 8, 12, 16],
        hidden_size=[512, 768, 1024],
        intermediate_size=[256, 512, 768, 1024, 3072],
    )
).shapes
# Each list's every value is among them.
PUBLISHED_SAMPLE = PUBLISHED_SPACE[7::24]
# The published counts are of this vocabulary and these positions.
PUBLISHED = {"vocabulary_size": 50_265, "max_positions": 512}


def on_meta(model_class, shape, **sizes):
    with torch.device("meta"):
        return model_class(bert_config(shape, **sizes)).eval()


def number_of_weights(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_closed_form_parameters_equal_those_of_the_built_model_part_by_part(shape):
    model = BertForMaskedLM(bert_config(shape, vocabulary_size=37, max_positions=11))
    count = count_parameters(shape, vocabulary_size=37, max_positions=11)
    assert count.embeddings == number_of_weights(model.bert.embeddings)
    assert count.encoder == number_of_weights(model.bert.encoder)
    # The decoder's weight is the word embedding's, so of the decoder only the bias is the head's own.
    assert count.masked_lm_head == number_of_weights(model.cls) - 37 * shape.hidden_size
    assert count.total == number_of_weights(model)


def products_counted_by_torch(function, *inputs):
    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return counter.get_total_flops()


def assert_counts_equal_the_model(shape, *, vocabulary_size, max_positions, length):
    """Parameters of each part and the products of layers, pooler and head, against the built modules."""
    sizes = {"vocabulary_size": vocabulary_size, "max_positions": max_positions}
    model, with_pooler = on_meta(BertForMaskedLM, shape, **sizes), on_meta(BertModel, shape, **sizes)
    count = count_parameters(shape, **sizes)
    assert count.embeddings == number_of_weights(model.bert.embeddings)
    assert count.encoder == number_of_weights(model.bert.encoder)
    assert count.total == number_of_weights(model)
    assert count.pooler == number_of_weights(with_pooler.pooler)
    assert count.embeddings + count.encoder + count.pooler == number_of_weights(with_pooler)
    assert count.total_with_pooler == count.total + count.pooler

    hidden = torch.zeros(1, length, shape.hidden_size, device="meta")
    layers = count_operations(shape, sequence_length=length)
    head = count_head_operations(shape, vocabulary_size=vocabulary_size, num_positions=length)
    assert products_counted_by_torch(model.bert.encoder, hidden) == 2 * layers.multiply_accumulates
    assert products_counted_by_torch(model.cls, hidden) == 2 * head.multiply_accumulates
    pooler = count_pooler_operations(shape)
    assert products_counted_by_torch(with_pooler.pooler, hidden) == 2 * pooler.multiply_accumulates


@pytest.mark.parametrize("shape", TINY_SPACE, ids=str)
def test_counts_equal_the_model_for_every_shape_of_a_tiny_space(shape):
    assert_counts_equal_the_model(shape, vocabulary_size=37, max_positions=16, length=5)


@pytest.mark.parametrize("shape", PUBLISHED_SAMPLE, ids=str)
def test_counts_equal_the_model_for_a_sample_of_the_published_space(shape):
    assert_counts_equal_the_model(shape, **PUBLISHED, length=128)


def test_the_sample_of_the_published_space_holds_each_value_of_each_list():
    assert len(PUBLISHED_SPACE) == 300
    assert len(PUBLISHED_SAMPLE) == 13
    for name in vars(BORT):
        values = [{getattr(shape, name) for shape in shapes} for shapes in (PUBLISHED_SPACE, PUBLISHED_SAMPLE)]
        assert values[0] == values[1]


def test_counts_of_arrays_equal_those_of_each_shape():
    arrays = ShapeArrays.of(PUBLISHED_SPACE)
    weights = count_parameters(arrays, **PUBLISHED)
    for place, shape in enumerate(PUBLISHED_SPACE):
        expected = count_parameters(shape, **PUBLISHED)
        for part in ("embeddings", "encoder", "masked_lm_head", "pooler", "total", "total_with_pooler"):
            assert getattr(weights, part)[place] == getattr(expected, part)
    for count in (
        lambda sizes: count_operations(sizes, sequence_length=128),
        lambda sizes: count_embedding_operations(sizes, sequence_length=128),
        lambda sizes: count_head_operations(sizes, vocabulary_size=50_265, num_positions=128),
        count_pooler_operations,
    ):
        many = count(arrays)
        assert many.total.dtype == np.int64
        singles = [count(shape) for shape in PUBLISHED_SPACE]
        assert many.multiply_accumulates.tolist() == [single.multiply_accumulates for single in singles]
        assert many.other.tolist() == [single.other for single in singles]
        assert many.total.tolist() == [single.total for single in singles]


def test_arrays_of_shapes_and_of_rows_are_equal():
    rows = np.array([[1, 2, 8, 4], [3, 4, 16, 5]])
    for arrays in (ShapeArrays.of(rows), ShapeArrays.of([BertShape(1, 2, 8, 4), BertShape(3, 4, 16, 5)])):
        assert np.column_stack(list(vars(arrays).values())).tolist() == rows.tolist()
        assert arrays.hidden_size.dtype == np.int64


def test_thirty_thousand_shapes_are_counted_in_no_time():
    rows = np.random.default_rng(0).integers(1, 2000, size=(30_000, 4))
    begin = time.thread_time()
    arrays = ShapeArrays.of(rows)
    weights, operations = (
        count_parameters(arrays, **PUBLISHED).total,
        count_operations(arrays, sequence_length=128).total,
    )
    assert time.thread_time() - begin < 0.1
    assert (weights > 0).all()
    assert (operations > 0).all()


def test_columns_of_candidates_are_the_counts_of_their_parts():
    columns = candidate_counts(SHAPES, vocabulary_size=37, max_positions=11, sequence_length=9)
    weights = [count_parameters(shape, vocabulary_size=37, max_positions=11) for shape in SHAPES]
    operations = [count_operations(shape, sequence_length=9) for shape in SHAPES]
    assert {name: values.tolist() for name, values in columns.items()} == {
        "parameters": [count.total for count in weights],
        "embedding_parameters": [count.embeddings for count in weights],
        "layer_parameters": [count.encoder for count in weights],
        "head_parameters": [count.masked_lm_head for count in weights],
        "pooler_parameters": [count.pooler for count in weights],
        "operations": [count.total for count in operations],
        "multiply_accumulates": [count.multiply_accumulates for count in operations],
        "embedding_operations": [count_embedding_operations(shape, sequence_length=9).total for shape in SHAPES],
        "pooler_operations": [count_pooler_operations(shape).total for shape in SHAPES],
        "head_operations": [
            count_head_operations(shape, vocabulary_size=37, num_positions=9).total for shape in SHAPES
        ],
    }


def test_operations_of_recorded_shapes_need_no_heads_that_divide_the_hidden_size():
    table = pd.DataFrame(
        {"num_hidden_layers": [2, 2], "num_attention_heads": [2, 3], "hidden_size": 2, "intermediate_size": 3}
    )
    # A third head adds its scaling and softmax, 2 * 2 * 5 in each of two layers.
    assert recorded_operations(table, sequence_length=2).tolist() == [660, 700]


def test_operations_of_embeddings_and_pooler_equal_the_hand_count():
    shape = BertShape(7, 1, 3, 5)
    embeddings = count_embedding_operations(shape, sequence_length=4)
    # Of 12 elements, two additions and a norm of 8 each.
    assert (embeddings.multiply_accumulates, embeddings.other) == (0, 120)
    pooler = count_pooler_operations(shape)
    # A 3 by 3 matrix; a bias and a tangent of 5 for each of its 3 results.
    assert (pooler.multiply_accumulates, pooler.other, pooler.total) == (9, 18, 36)


@pytest.mark.parametrize("shape", [BORT, BORT_EXCHANGED, BERT_LARGE], ids=str)
def test_closed_form_parameters_equal_the_model_at_published_sizes(shape):
    model = on_meta(BertForMaskedLM, shape, **PUBLISHED)
    assert count_parameters(shape, **PUBLISHED).total == number_of_weights(model)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("length", [1, 9])
def test_multiply_accumulates_are_half_the_products_that_torch_counts(shape, length):
    model = on_meta(BertModel, shape, vocabulary_size=37, max_positions=16)
    hidden = torch.zeros(1, length, shape.hidden_size, device="meta")
    with FlopCounterMode(display=False) as counter:
        model.encoder(hidden)
    assert counter.get_total_flops() == 2 * count_operations(shape, sequence_length=length).multiply_accumulates


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_head_products_are_half_those_that_torch_counts(shape):
    model = on_meta(BertForMaskedLM, shape, vocabulary_size=37, max_positions=16)
    with FlopCounterMode(display=False) as counter:
        model.cls(torch.zeros(6, shape.hidden_size, device="meta"))
    operations = count_head_operations(shape, vocabulary_size=37, num_positions=6)
    assert counter.get_total_flops() == 2 * operations.multiply_accumulates


def test_operations_of_a_small_encoder_equal_the_hand_count():
    # (D, A, H, I) = (2, 2, 2, 3) and L = 2. Products of a layer: projections 4 * 2 * 4, scores and mixing
    # 2 * 4 * 2, feed-forward 2 * 2 * 2 * 3.
    operations = count_operations(BertShape(2, 2, 2, 3), sequence_length=2)
    assert operations.multiply_accumulates == 2 * (32 + 16 + 24)
    # Others: biases 2 * (5 * 2 + 3), two residuals and norms 2 * 2 * 2 * 9, scaling and softmax of two heads
    # 2 * 4 * 5, activation 8 * 2 * 3.
    assert operations.other == 2 * (26 + 72 + 40 + 48)
    assert operations.total == 2 * 144 + 372


def test_operations_grow_with_depth_alone_as_the_middle_part_should():
    one, four = BertShape(1, 8, 1024, 768), BertShape(4, 8, 1024, 768)
    assert count_operations(four, sequence_length=128).total == 4 * count_operations(one, sequence_length=128).total
    sizes = {"vocabulary_size": 100, "max_positions": 10}
    assert count_parameters(four, **sizes).encoder == 4 * count_parameters(one, **sizes).encoder
    assert count_parameters(four, **sizes).embeddings == count_parameters(one, **sizes).embeddings


@pytest.mark.parametrize(
    ("shape", "embeddings", "encoder", "with_pooler_and_head"),
    [(BORT, 52.0, 23.1, 77.3), (BORT_EXCHANGED, 39.0, 15.8, 56.0)],
    ids=["as released", "H and I exchanged"],
)
def test_millions_of_parameters_equal_the_table_of_the_published_shapes(
    shape, embeddings, encoder, with_pooler_and_head
):
    count = count_parameters(shape, **PUBLISHED)
    assert round(count.embeddings / 1e6, 1) == embeddings
    assert round(count.encoder / 1e6, 1) == encoder
    # The table adds a pooler, dense(H) with a bias, which the masked-LM model here has not; the head is
    # dense(H), a layer norm and the decoder's bias, its matrix being the word embeddings.
    assert round(count.total_with_pooler / 1e6, 1) == with_pooler_and_head


@pytest.mark.parametrize(
    ("shape", "length", "ratio"),
    [
        # The published multiples count the products with weights: those of one token. Attention over 512
        # tokens has products between activations besides, and they narrow the gap.
        (BORT, 1, 13.1),
        (BORT_EXCHANGED, 1, 19.2),
        (BORT, 512, 12.0),
        (BORT_EXCHANGED, 512, 17.3),
    ],
)
def test_matrix_products_of_bert_large_are_the_published_multiple(shape, length, ratio):
    large = count_operations(BERT_LARGE, sequence_length=length).multiply_accumulates
    small = count_operations(shape, sequence_length=length).multiply_accumulates
    assert round(large / small, 1) == ratio
