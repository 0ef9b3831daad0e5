import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertLMHeadModel,
    BertModel,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DistilBertConfig,
    DistilBertModel,
    FNetConfig,
    FNetModel,
    GPT2Config,
    GPT2LMHeadModel,
    IBertConfig,
    IBertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaModel,
    XmodConfig,
    XmodForMaskedLM,
)

from bort_kedro.datasets.model_folder import PretrainedDataset
from bort_kedro.encoders.families import has_masked_lm_head
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.teachers import TeacherPlace, describe_opened, open_teacher
from bort_kedro.errors import TeacherError
from disturbed_encoders import with_trained_head

SIZES = {
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "pad_token_id": 1,
}
IDS = torch.tensor([[0, 17, 30, 4, 99, 2]])
TEACHERS = {
    "bert": lambda: BertForMaskedLM(BertConfig(**SIZES)),
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**SIZES)),
    "modernbert, padded": lambda: ModernBertForMaskedLM(
        ModernBertConfig(**{**SIZES, "vocab_size": 320}, bos_token_id=0, eos_token_id=2)
    ),
    "ibert, words in a layer of its own": lambda: IBertForMaskedLM(IBertConfig(**SIZES)),
    "deberta-v2, legacy head": lambda: DebertaV2ForMaskedLM(DebertaV2Config(**SIZES)),
    "deberta-v2, published head": lambda: DebertaV2ForMaskedLM(DebertaV2Config(**SIZES, legacy=False)),
}
NAMED = TeacherPlace("params:finetune.teacher.encoder", "params:corpus.sequence_length")
PLACE = f"`{NAMED.teacher}`"


def saved(folder, model, tokenizer=None):
    with_trained_head(model).save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return str(folder)


def refusal(name, sequence_length=16):
    with pytest.raises(TeacherError) as caught:
        open_teacher(name, sequence_length=sequence_length, place=NAMED)
    return str(caught.value)


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_of_any_family_opens_frozen_and_with_its_weights(name, tmp_path, tiny_tokenizer):
    model = TEACHERS[name]().eval()
    teacher = open_teacher(saved(tmp_path, model, tiny_tokenizer), sequence_length=16, place=NAMED)
    assert type(teacher.model) is type(model)
    assert not teacher.model.training
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    assert teacher.tokenizer("The mean")["input_ids"] == tiny_tokenizer("The mean")["input_ids"]
    with torch.no_grad():
        assert torch.equal(teacher.model(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_a_teacher_that_wants_to_be_told_more_than_tokens_is_refused(tmp_path, tiny_tokenizer):
    name = saved(tmp_path, XmodForMaskedLM(XmodConfig(**SIZES)), tiny_tokenizer)
    assert refusal(name) == (
        f"The teacher `{name}`, a `xmod` model, does not predict a hidden token: Input language unknown. Please call "
        "`XmodPreTrainedModel.set_default_language()`. Choose another as " + PLACE + "."
    )


def test_a_teacher_kept_in_half_precision_opens_in_float32(tmp_path, tiny_tokenizer):
    model = TEACHERS["bert"]().to(torch.bfloat16)
    teacher = open_teacher(saved(tmp_path, model, tiny_tokenizer), sequence_length=16, place=NAMED)
    assert {parameter.dtype for parameter in teacher.model.parameters()} == {torch.float32}
    assert len(teacher.fingerprint) == 16


def test_opening_a_teacher_leaves_the_global_generator_as_it_was(tmp_path, tiny_tokenizer):
    name = saved(tmp_path, BertForSequenceClassification(BertConfig(**SIZES)), tiny_tokenizer)
    state = torch.random.get_rng_state()
    refusal(name)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_hub_id_without_a_network_is_one_clear_sentence(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert refusal("somebody/some-encoder") == (
        "The teacher `somebody/some-encoder` cannot be opened: We couldn't connect to 'https://huggingface.co' to load "
        "the files, and couldn't find them in the cached files. Expected a folder with config.json, model.safetensors "
        "and tokenizer.json, or a hub id (with a network, or in the hub's local cache). Change " + PLACE + "."
    )


def test_a_folder_with_pickled_weights_only_is_refused(tmp_path, tiny_tokenizer):
    model = TEACHERS["bert"]()
    name = saved(tmp_path, model, tiny_tokenizer)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    message = refusal(name)
    assert message.startswith(f"The teacher `{name}` cannot be opened: ")
    assert "model.safetensors" in message.split("Expected")[0]
    assert message.endswith(f"Change {PLACE}.")


def test_truncated_weights_are_refused(tmp_path, tiny_tokenizer):
    name = saved(tmp_path, TEACHERS["bert"](), tiny_tokenizer)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert refusal(name).startswith(f"The teacher `{name}` cannot be opened: ")


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2)), "`gpt2` model (GPT2LMHeadModel)"),
        (BertLMHeadModel(BertConfig(**SIZES, is_decoder=True)), "`bert` model (BertLMHeadModel)"),
    ],
)
def test_a_causal_model_is_refused(model, kind, tmp_path, tiny_tokenizer):
    name = saved(tmp_path, model, tiny_tokenizer)
    assert refusal(name) == (
        f"The teacher `{name}` is no masked-LM encoder: it is a {kind}. Allowed are encoders that transformers opens "
        "with AutoModelForMaskedLM, such as BERT, RoBERTa, ModernBERT and DeBERTa-v2. Change " + PLACE + "."
    )


def test_a_classifier_is_refused_because_its_head_would_be_random(tmp_path, tiny_tokenizer):
    name = saved(tmp_path, BertForSequenceClassification(BertConfig(**SIZES)), tiny_tokenizer)
    assert refusal(name) == (
        f"The teacher `{name}` lacks 6 weights of a masked-LM encoder: cls.predictions.bias, "
        "cls.predictions.decoder.bias, cls.predictions.transform.LayerNorm.bias, "
        "cls.predictions.transform.LayerNorm.weight, cls.predictions.transform.dense.bias, "
        "cls.predictions.transform.dense.weight. Its own weights beyond these: bert.pooler.dense.bias, "
        "bert.pooler.dense.weight, classifier.bias, classifier.weight. Choose a checkpoint saved with its masked-LM "
        "head as " + PLACE + "."
    )


@pytest.mark.parametrize("has_pooler", [True, False])
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_an_encoder_without_a_head_opens_where_none_is_needed(kind, has_pooler, tmp_path, tiny_tokenizer):
    config, architecture = {"bert": (BertConfig, BertModel), "roberta": (RobertaConfig, RobertaModel)}[kind]
    model = architecture(config(**SIZES), add_pooling_layer=has_pooler).eval()
    name = saved(tmp_path, model, tiny_tokenizer)
    teacher = open_teacher(name, sequence_length=16, place=NAMED, needs_head=False)
    assert type(teacher.model) is architecture
    assert (teacher.model.pooler is not None) == has_pooler
    with torch.no_grad():
        said, expected = (encoder(input_ids=IDS).last_hidden_state for encoder in (teacher.model, model))
    assert torch.equal(said, expected)
    assert "lacks" in refusal(name)


@pytest.mark.parametrize("has_pooler", [True, False])
def test_an_encoder_without_a_head_is_the_same_each_time_it_comes_back_from_its_folder(
    has_pooler, tmp_path, tiny_tokenizer
):
    whole = Pretrained(BertModel(BertConfig(**SIZES), add_pooling_layer=has_pooler), tiny_tokenizer)
    PretrainedDataset(str(tmp_path)).save(whole)
    again = [PretrainedDataset(str(tmp_path)).load() for _ in range(2)]
    # By which a training knows again whom it learned from.
    assert [each.fingerprint for each in again] == [whole.fingerprint] * 2
    assert [each.model.pooler is not None for each in again] == [has_pooler] * 2


def test_an_encoder_that_lacks_a_part_of_its_head_is_spoiled_and_not_without_one(tmp_path, tiny_tokenizer):
    name = saved(tmp_path, TEACHERS["bert"](), tiny_tokenizer)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["cls.predictions.transform.dense.bias"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(TeacherError) as caught:
        open_teacher(name, sequence_length=16, place=NAMED, needs_head=False)
    assert "lacks 1 weights of a masked-LM encoder: cls.predictions.transform.dense.bias." in str(caught.value)


@pytest.mark.parametrize(
    ("name", "vectors"),
    [
        (
            "bert",
            "cls.predictions.bias, cls.predictions.transform.dense.bias, cls.predictions.transform.LayerNorm.weight, "
            "cls.predictions.transform.LayerNorm.bias",
        ),
        ("roberta", "lm_head.bias, lm_head.dense.bias, lm_head.layer_norm.weight, lm_head.layer_norm.bias"),
        ("modernbert, padded", "head.norm.weight, decoder.bias"),
    ],
)
def test_a_head_that_was_saved_untrained_is_refused_or_left_out(name, vectors, tmp_path, tiny_tokenizer):
    """As in the published Bort's form for transformers, which was made with a head that nobody trained."""
    model = TEACHERS[name]()
    model.half().save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    assert refusal(str(tmp_path)) == (
        f"The teacher `{tmp_path}` has a masked-LM head that was never trained: {vectors} are all still the 0 or 1 "
        "that they begin with, so the words that it predicts are noise. Choose a checkpoint with a trained head as "
        f"{PLACE}."
    )
    opened = open_teacher(str(tmp_path), sequence_length=16, place=NAMED, needs_head=False)
    assert not has_masked_lm_head(opened.model)


def test_an_encoder_of_another_family_is_refused_by_name_where_layers_are_taken_over(tmp_path, tiny_tokenizer):
    name = saved(tmp_path, TEACHERS["modernbert, padded"](), tiny_tokenizer)
    with pytest.raises(TeacherError) as caught:
        open_teacher(name, sequence_length=16, place=NAMED, families=("bert", "roberta"))
    assert str(caught.value) == (
        f"The encoder `{name}` is of the family `modernbert`, whose layers no candidate can take over: they are not "
        "BERT's. Families that can serve here: bert, roberta. Change " + PLACE + "."
    )


def test_a_deberta_whose_configuration_names_the_other_head_is_refused(tmp_path, tiny_tokenizer):
    model = TEACHERS["deberta-v2, published head"]()
    model.config.legacy = True
    message = refusal(saved(tmp_path, model, tiny_tokenizer))
    assert "lacks 6 weights" in message
    assert "Its own weights beyond these: lm_predictions.lm_head.LayerNorm.bias, " in message


def test_a_tokenizer_without_mask_and_padding_token_is_refused(tmp_path, tiny_tokenizer):
    bare = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer.backend_tokenizer)
    name = saved(tmp_path, TEACHERS["bert"](), bare)
    assert refusal(name) == (
        f"The tokenizer of the teacher `{name}` cannot serve masked-LM training: it has no mask token and it has no "
        "padding token. Needed is a fast tokenizer (tokenizer.json) with a mask and a padding token. Choose another "
        "teacher as " + PLACE + "."
    )


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    name = saved(tmp_path, TEACHERS["roberta"]())
    assert refusal(name) == (
        f"The tokenizer of the teacher `{name}` cannot serve masked-LM training: it has no tokens but special ones. "
        "Needed is a fast tokenizer (tokenizer.json) with a mask and a padding token. Choose another teacher as "
        + PLACE
        + "."
    )


def test_more_ids_than_word_embeddings_are_refused(tmp_path, tiny_tokenizer):
    model = BertForMaskedLM(BertConfig(**{**SIZES, "vocab_size": 299}))
    name = saved(tmp_path, model, tiny_tokenizer)
    assert refusal(name) == (
        f"The tokenizer of the teacher `{name}` has 300 ids but the model only 299 word embeddings; they do not belong "
        "together. Choose another teacher as " + PLACE + "."
    )


def test_blocks_longer_than_the_teacher_takes_are_refused(tmp_path, tiny_tokenizer):
    name = saved(tmp_path, TEACHERS["roberta"](), tiny_tokenizer)
    assert open_teacher(name, sequence_length=18, place=NAMED).model.config.max_position_embeddings == 20
    assert refusal(name, sequence_length=19) == (
        f"The teacher `{name}` takes at most 18 tokens, and inputs have up to 19. Set `params:corpus.sequence_length` "
        "to at most 18, or choose another teacher as " + PLACE + "."
    )


def test_what_is_told_of_an_opened_encoder_is_its_shape_and_its_size_without_a_head():
    config = DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=4, hidden_dim=24, max_position_embeddings=10)
    told = describe_opened("someone/small", DistilBertModel(config), NAMED)
    assert (told.name, told.family, str(told.shape)) == ("someone/small", "distilbert", "(2, 4, 16, 24)")
    # Words, places and a layer norm; of each layer attention, feed-forward part and two layer norms.
    layer = 4 * (16 * 16 + 16) + (16 * 24 + 24) + (24 * 16 + 16) + 2 * 2 * 16
    assert told.num_parameters == 16 * (50 + 10) + 2 * 16 + 2 * layer
    bert = BertForMaskedLM(BertConfig(**SIZES))
    assert describe_opened("a", bert, NAMED) == describe_opened("a", bert.bert, NAMED)


def test_of_a_folder_its_name_is_told_and_not_where_it_lies(tmp_path, monkeypatch):
    (tmp_path / "someone" / "small").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    bert = BertModel(BertConfig(**SIZES))
    for typed in (str(tmp_path / "someone" / "small"), "someone/small/", "someone/../someone/small"):
        assert describe_opened(typed, bert, NAMED).name == "small"
    monkeypatch.chdir("someone/small")
    assert describe_opened(".", bert, NAMED).name == "small"
    # A hub id is no folder.
    assert describe_opened("someone/small", bert, NAMED).name == "someone/small"


def test_an_encoder_without_heads_has_no_shape_to_be_told():
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 24}
    with pytest.raises(TeacherError) as caught:
        describe_opened("someone/fnet", FNetModel(FNetConfig(**sizes)), NAMED)
    assert str(caught.value) == (
        "The teacher `someone/fnet`, a `fnet` model, has no num_attention_heads in its configuration, by which its "
        f"size and speed are told. Choose another as {PLACE}."
    )
