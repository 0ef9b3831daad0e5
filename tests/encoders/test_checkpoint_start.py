import logging

import pytest
import torch
from tokenizers import normalizers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.student_start import from_checkpoint
from bort_kedro.errors import ModelFolderError
from bort_kedro.text.tokenizer import tokenizer_fingerprint
from disturbed_encoders import ATTENTION, IDS, PAD_ID, SHAPE, SIZES, disturbed

PLACE = "params:pretrain_distill.student_start"


def published(**changes):
    return disturbed(BertForMaskedLM(BertConfig(**SIZES | changes)))


def student():
    config = bert_config(SHAPE, vocabulary_size=300, max_positions=12, pad_token_id=PAD_ID)
    return build_masked_lm(config, seed=9).double().eval()


def logits_of(model):
    """Of the tokens; what stands at padding counts nowhere."""
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=ATTENTION)[0][ATTENTION.bool()]


def refusal(name, tokenizer):
    with pytest.raises(ModelFolderError) as caught:
        from_checkpoint(student(), tokenizer, name)
    return str(caught.value)


def checkpoint(folder, model, tokenizer=None):
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("num_token_types", [1, 2])
@pytest.mark.parametrize("with_pooler", [False, True])
def test_a_student_from_a_checkpoint_gives_its_logits(num_token_types, with_pooler, tmp_path, tiny_tokenizer):
    config = BertConfig(**SIZES | {"max_position_embeddings": 16}, type_vocab_size=num_token_types)
    original = disturbed((BertForPreTraining if with_pooler else BertForMaskedLM)(config))
    model = student()
    from_checkpoint(model, tiny_tokenizer, checkpoint(tmp_path, original, tiny_tokenizer))
    torch.testing.assert_close(logits_of(model), logits_of(original))
    token_types = model.bert.embeddings.token_type_embeddings.weight
    assert torch.equal(token_types, torch.zeros(1, 32).double())
    assert not token_types.requires_grad
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_a_checkpoint_without_a_head_leaves_the_students_as_drawn_and_says_so(tmp_path, tiny_tokenizer, caplog):
    bare = disturbed(BertModel(published().config))
    model, state = student(), torch.random.get_rng_state()
    with caplog.at_level(logging.WARNING, logger="bort_kedro"):
        from_checkpoint(model, tiny_tokenizer, checkpoint(tmp_path, bare))
    name = str(tmp_path)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("bort_kedro")] == [
        f"`{name}` has no masked-LM head; the student's head starts as drawn."
    ]
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        hidden = bare(input_ids=IDS, attention_mask=ATTENTION).last_hidden_state
        own = model.bert(input_ids=IDS, attention_mask=ATTENTION).last_hidden_state
    torch.testing.assert_close(own, hidden)
    head, drawn = model.cls.predictions, student().cls.predictions
    assert torch.equal(head.transform.dense.weight, drawn.transform.dense.weight)
    assert torch.equal(head.bias, drawn.bias)


def test_a_checkpoint_of_another_shape_is_refused_with_every_axis(tmp_path, tiny_tokenizer):
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 24}
    name = checkpoint(tmp_path, published(**sizes, vocab_size=299, max_position_embeddings=11))
    assert refusal(name, tiny_tokenizer) == (
        f"The checkpoint `{name}` does not fit the student: num_hidden_layers 2 (student 3), num_attention_heads 2 "
        "(student 4), hidden_size 16 (student 32), intermediate_size 24 (student 40), vocab_size 299 (student 300), "
        f"max_position_embeddings 11 (student 12). Choose another as `checkpoint` under {PLACE}, or change the shape "
        "(params:search.space), the vocabulary or the positions (params:corpus) to the checkpoint's."
    )


def test_a_checkpoint_of_another_family_is_refused(tmp_path, tiny_tokenizer):
    name = checkpoint(tmp_path, disturbed(RobertaForMaskedLM(RobertaConfig(**SIZES))))
    message = refusal(name, tiny_tokenizer)
    assert message.startswith(f"The checkpoint `{name}` does not fit the student: model_type roberta (student bert). ")


def test_a_checkpoint_of_another_tokenizer_is_refused(tmp_path, tiny_tokenizer):
    tiny_tokenizer.save_pretrained(tmp_path)
    other = AutoTokenizer.from_pretrained(tmp_path)
    other.backend_tokenizer.normalizer = normalizers.Lowercase()
    name = checkpoint(tmp_path, published(), other)
    own = tokenizer_fingerprint(tiny_tokenizer)
    assert refusal(name, tiny_tokenizer) == (
        f"The checkpoint `{name}` was trained with another tokenizer ({tokenizer_fingerprint(other)}) than the corpus "
        f"({own}), so its word embeddings belong to other tokens. Name the checkpoint's tokenizer as `pretrained` "
        f"under params:corpus.tokenizer, or choose another checkpoint under {PLACE}."
    )


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path, tiny_tokenizer):
    message = refusal(str(tmp_path), tiny_tokenizer)
    assert message.startswith(f"The checkpoint `{tmp_path}` cannot be opened: ")
    assert message.endswith(
        "Expected a folder with config.json and model.safetensors, or a hub id (with a network, or in the hub's local "
        f"cache). Change `checkpoint` under {PLACE}."
    )


def test_a_checkpoint_that_lacks_a_layer_is_refused(tmp_path, tiny_tokenizer):
    shallow = published(num_hidden_layers=2)
    shallow.config.num_hidden_layers = 3
    name = checkpoint(tmp_path, shallow)
    assert refusal(name, tiny_tokenizer) == (
        f"The checkpoint `{name}` lacks 16 weights of its encoder, such as "
        "bert.encoder.layer.2.attention.output.LayerNorm.bias. Choose another as `checkpoint` under " + PLACE + "."
    )
