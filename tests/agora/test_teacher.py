"""What Agora asks of the encoder that its teacher comes from."""

import pytest

from bort_kedro.agora.teacher import require_words_can_be_replaced
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.errors import TeacherError
from project_parameters import parameters

TRANSFORMATION = parameters().finetune.agora.transformation


@pytest.fixture
def masked_lm(tiny_shape, tiny_vocabulary, tiny_tokenizer):
    config = bert_config(tiny_shape, vocabulary_size=tiny_vocabulary.size, max_positions=16)
    return Pretrained(build_masked_lm(config, seed=0), tiny_tokenizer)


def refusal(encoder, **weights):
    """What is said of an encoder for these weights; empty where it will do."""
    try:
        require_words_can_be_replaced(encoder, TRANSFORMATION.changed(weights=weights))
    except TeacherError as fault:
        return str(fault)
    return ""


def test_an_encoder_without_a_head_makes_no_points_by_replacing_words(masked_lm):
    alone = Pretrained(masked_lm.model.base_model, masked_lm.tokenizer)
    assert refusal(alone, **TRANSFORMATION.weights) == (
        "The teacher has no masked-LM head to replace words with, which "
        "params:finetune.agora.transformation.weights.masked_lm 4 asks for. Set it to 0, which leaves swap_words, "
        "delete_words, crop_words, shuffle_spans; or params:finetune.method to plain; or name a masked-LM encoder as "
        "params:finetune.teacher.encoder."
    )


def test_points_of_swapped_words_need_no_head_and_those_of_replaced_ones_have_one(masked_lm):
    alone = Pretrained(masked_lm.model.base_model, masked_lm.tokenizer)
    assert refusal(alone, swap_words=1.0, masked_lm=0.0) == ""
    assert refusal(masked_lm, **TRANSFORMATION.weights) == ""
