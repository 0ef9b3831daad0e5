"""Encoders whose every weight tells: a mix-up of any two shows in what they say."""

import torch

from bort_kedro.encoders.shapes import BertShape

VOCABULARY_SIZE = 300
PAD_ID = 1
SHAPE = BertShape(num_hidden_layers=3, num_attention_heads=4, hidden_size=32, intermediate_size=40)
SIZES = {
    **SHAPE.to_row(),
    "vocab_size": VOCABULARY_SIZE,
    "max_position_embeddings": 12,
    "pad_token_id": PAD_ID,
    "layer_norm_eps": 1e-5,
}
IDS = torch.tensor([[0, 17, 30, 4, 99, 2], [0, 250, 4, 2, PAD_ID, PAD_ID]])
ATTENTION = (IDS != PAD_ID).long()


def disturbed(model):
    """Weights drawn anew; biases, norms and token types start at 0, 1 and 0, where a mix-up cannot be seen.

    In double precision, so that a tolerance of 1e-7 stands far above any order of summation, and in steps of 2**-10,
    so that single precision holds the weights, and the sum of two, as they are.
    """
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        is_gain = name.lower().endswith(("layernorm.weight", "layer_norm.weight"))
        drawn = float(is_gain) + 0.3 * torch.randn(parameter.shape, generator=generator)
        parameter.data = (drawn * 2**10).round() / 2**10
    return model.double().eval()


def with_trained_head(model):
    """With a masked-LM head whose biases and gains are no longer what they begin with, as after a step (in place)."""
    generator = torch.Generator().manual_seed(3)
    for name, vector in model.named_parameters():
        if vector.dim() == 1 and not name.startswith(f"{model.base_model_prefix}."):
            vector.data += 0.01 * torch.randn(vector.shape, generator=generator).to(vector.dtype)
    return model
