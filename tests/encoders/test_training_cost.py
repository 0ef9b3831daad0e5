import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.families import predicted_logits
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.encoders.training_cost import forward_flops, layer_weights

SHAPE = BertShape(num_hidden_layers=2, num_attention_heads=2, hidden_size=8, intermediate_size=12)


def test_weights_of_the_layers_of_a_hand_counted_shape():
    assert layer_weights(SHAPE) == 2 * (4 * 64 + 2 * 96)


def test_flops_of_a_hand_counted_batch():
    # 10 tokens in sequences of 6 and 4, 3 of them predicted, 20 ids.
    found = forward_flops(SHAPE, vocabulary_size=20, num_tokens=10, sum_of_squared_lengths=52, num_predicted=3)
    assert found == 2 * 896 * 10 + 4 * 2 * 8 * 52 + 2 * 3 * 8 * (8 + 20)


def test_flops_of_a_hand_counted_batch_whose_last_layer_is_spared():
    sizes = {"vocabulary_size": 20, "num_tokens": 10, "sum_of_squared_lengths": 52, "num_predicted": 3}
    whole = forward_flops(SHAPE, **sizes)
    # Two of the predicted positions stand in the sequence of 6, one in that of 4; 7 tokens are not predicted.
    spared = forward_flops(SHAPE, **sizes, sum_of_predicted_lengths=16)
    assert whole - spared == 2 * 7 * (2 * 64 + 2 * 96) + 4 * 8 * (52 - 16)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_flops_equal_those_that_torch_counts_for_full_sequences(attention):
    """Written out, attention runs everywhere and torch counts it; fused, its products are not counted on CPUs."""
    vocabulary_size, length, rows = 50, 16, 3
    model = build_masked_lm(bert_config(SHAPE, vocabulary_size=vocabulary_size, max_positions=length), seed=0).eval()
    model.set_attn_implementation(attention)
    ids = torch.full((rows, length), 7)
    predicted = torch.tensor([1, 5, 17, 40])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        predicted_logits(model, ids, torch.ones_like(ids), predicted)
    counted = forward_flops(
        SHAPE,
        vocabulary_size=vocabulary_size,
        num_tokens=rows * length,
        sum_of_squared_lengths=rows * length**2 if attention == "eager" else 0,
        num_predicted=len(predicted),
        sum_of_predicted_lengths=None if attention == "eager" else 0,
    )
    # Each row asks with as many queries as the fullest: 2 in each of 3, where 4 are predicted.
    unused = 2 * 2 * 8 * 8 if attention == "sdpa" else 0
    assert counter.get_total_flops() == pytest.approx(counted + unused)
