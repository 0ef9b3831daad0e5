import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertForMaskedLM, BertModel

from bort_kedro.core.costs import count_head_operations, count_operations, count_parameters
from bort_kedro.core.shapes import BERT_LARGE, BORT, BORT_EXCHANGED, BertShape
from bort_kedro.models.encoder import bert_config

SHAPES = [
    BertShape(1, 1, 8, 4),
    BertShape(1, 4, 16, 48),
    BertShape(2, 2, 16, 24),
    BertShape(3, 4, 32, 16),
    BertShape(5, 3, 24, 40),
]
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
    pooler = shape.hidden_size**2 + shape.hidden_size
    assert round((count.total + pooler) / 1e6, 1) == with_pooler_and_head


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
