"""Encoders to be timed and weighed: right in every size, with weights that mean nothing."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from transformers import BertForMaskedLM, BertModel

from bort_kedro.encoders.encoder import bert_config
from bort_kedro.encoders.shapes import BertShape

WEIGHT_SCALE = 0.02
NOISE_SIZE = 2**20


def build_headless_encoder(
    shape: BertShape,
    *,
    vocabulary_size: int,
    sequence_length: int,
    device: str = "cpu",
    word_table: Tensor | None = None,
) -> BertModel:
    """An encoder without pooler and head, in evaluation mode, with weights that are right for timing only.

    The weights are one block of small noise, repeated: the time of a pass does not depend on them, and drawing hundreds
    of millions of random numbers would take longer than all the passes. The word embeddings may have their memory in
    the table of `shared_word_table`.
    """
    config = bert_config(shape, vocabulary_size=vocabulary_size, max_positions=sequence_length)
    with torch.device("meta"):
        model: BertModel = BertModel(config, add_pooling_layer=False)
    model.to_empty(device=device)
    words = model.embeddings.word_embeddings
    if word_table is not None:
        words.weight = nn.Parameter(word_table[: words.weight.numel()].view(words.weight.shape))
    _fill_with_noise(each for each in model.parameters() if word_table is None or each is not words.weight)
    # Buffers are no parameters, and to_empty left them unset.
    model.embeddings.position_ids.copy_(torch.arange(sequence_length).unsqueeze(0))
    model.embeddings.token_type_ids.zero_()
    model.eval()
    return model


def with_masked_lm_head(encoder: BertModel) -> BertForMaskedLM:
    """An encoder of `build_headless_encoder` under a masked-LM head over all positions; they share their weights."""
    with torch.device("meta"):
        model: BertForMaskedLM = BertForMaskedLM(encoder.config)
    device = encoder.embeddings.word_embeddings.weight.device
    model.bert = encoder
    head = model.cls.predictions
    # Nothing is made of the decoder's own weights: a table of words would count in the memory that is measured.
    head.decoder.weight = encoder.embeddings.word_embeddings.weight
    head.transform.to_empty(device=device)
    head.bias = nn.Parameter(torch.empty(encoder.config.vocab_size, device=device))
    head.decoder.bias = head.bias
    _fill_with_noise([*head.transform.parameters(), head.bias])
    model.eval()
    return model


def shared_word_table(shapes: Sequence[BertShape], *, vocabulary_size: int, device: str = "cpu") -> Tensor:
    """Memory for the word embeddings of all shapes at once.

    The table is the larger part of a small encoder, and of it a pass reads the rows of its tokens. A head reads all of
    it, which is far more than a cache keeps until the next turn; so what is timed is the same as with a table for each.

    Returns:
        (V * largest H,) weights.
    """
    table = torch.empty(vocabulary_size * max(shape.hidden_size for shape in shapes), device=device)
    _fill_with_noise([table])
    return table


def _fill_with_noise(tensors: Iterable[Tensor]) -> None:
    noise = WEIGHT_SCALE * torch.randn(NOISE_SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for tensor in tensors:
            for piece in tensor.view(-1).split(NOISE_SIZE):
                piece.copy_(noise[: piece.numel()])
