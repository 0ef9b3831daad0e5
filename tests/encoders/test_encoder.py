import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    RobertaConfig,
)

from bort_kedro.encoders.encoder import (
    bert_config,
    build_classifier,
    build_masked_lm,
    shape_of,
)
from bort_kedro.encoders.shapes import BertShape

IDS = torch.tensor([[0, 17, 30, 4, 99, 2], [0, 250, 4, 2, 1, 1]])
ATTENTION = (IDS != 1).long()


@pytest.fixture
def config(tiny_shape):
    return bert_config(tiny_shape, vocabulary_size=300, max_positions=16)


@pytest.fixture
def model(config):
    return build_masked_lm(config, seed=5).eval()


def logits_of(model):
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=ATTENTION).logits


def test_configuration_describes_the_shape_and_the_published_choices(config, tiny_shape):
    assert shape_of(config) == tiny_shape
    assert (config.vocab_size, config.max_position_embeddings, config.type_vocab_size) == (300, 16, 1)
    assert config.layer_norm_eps == 1e-5
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.1, 0.1)
    assert (config.bos_token_id, config.pad_token_id, config.eos_token_id) == (0, 1, 2)


def test_dropout_of_zero_reaches_hidden_units_and_attention(tiny_shape):
    config = bert_config(tiny_shape, vocabulary_size=300, max_positions=16, dropout=0.0)
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.0, 0.0)


def test_same_seed_gives_the_same_weights_and_another_seed_others(config):
    first, same, other = (build_masked_lm(config, seed=seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[name], same[name]) for name in first)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(first[name], other[name])


def test_building_a_model_leaves_the_global_generator_as_it_was(config, model):
    torch.manual_seed(99)
    expected = torch.rand(4)
    torch.manual_seed(99)
    build_masked_lm(config, seed=5)
    build_classifier(model, labels=["no", "yes"], seed=5, dropout=0.1)
    assert torch.equal(torch.rand(4), expected)


def test_the_global_generator_does_not_reach_the_weights(config, model):
    torch.manual_seed(1234)
    again = build_masked_lm(config, seed=5)
    assert torch.equal(again.bert.embeddings.word_embeddings.weight, model.bert.embeddings.word_embeddings.weight)


def test_decoder_is_tied_to_the_word_embeddings(model):
    words = model.bert.embeddings.word_embeddings.weight
    assert model.cls.predictions.decoder.weight is words
    assert sum(parameter is words for parameter in model.parameters()) == 1
    with torch.no_grad():
        words[7] += 1.0
    assert torch.equal(model.cls.predictions.decoder.weight[7], words[7])


def test_token_types_are_one_row_of_zeros_that_is_not_trained(model):
    row = model.bert.embeddings.token_type_embeddings.weight
    assert torch.equal(row, torch.zeros(1, 16))
    assert not row.requires_grad
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == [
        "bert.embeddings.token_type_embeddings.weight"
    ]


def test_a_model_has_no_pooler_before_it_classifies(model):
    assert model.bert.pooler is None


def test_padding_changes_no_logit_of_the_tokens_before_it(model):
    model.double()
    with torch.no_grad():
        short = model(input_ids=IDS[1:, :4], attention_mask=ATTENTION[1:, :4]).logits
    torch.testing.assert_close(logits_of(model)[1, :4], short[0])


def test_a_saved_folder_opens_with_auto_classes_and_gives_the_same_logits(model, tmp_path):
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["model.safetensors"]
    assert not list(tmp_path.glob("*.bin"))
    opened = AutoModelForMaskedLM.from_pretrained(tmp_path, local_files_only=True).eval()
    assert torch.equal(logits_of(opened), logits_of(model))
    assert opened.cls.predictions.decoder.weight is opened.bert.embeddings.word_embeddings.weight
    bare = AutoModel.from_pretrained(tmp_path, local_files_only=True).eval()
    with torch.no_grad():
        states = bare(input_ids=IDS, attention_mask=ATTENTION).last_hidden_state
        assert torch.equal(model.cls(states), logits_of(model))
    assert shape_of(opened.config) == BertShape(2, 2, 16, 24)


def test_a_classifier_copies_every_weight_of_the_encoder(model):
    classifier = build_classifier(model, labels=["numpy", "scipy", "pandas"], seed=1, dropout=0.3)
    copied = classifier.bert.state_dict()
    encoder = model.bert.state_dict()
    assert copied.keys() - encoder.keys() == {"pooler.dense.weight", "pooler.dense.bias"}
    assert all(torch.equal(copied[name], value) for name, value in encoder.items())
    with torch.no_grad():
        classifier.bert.embeddings.word_embeddings.weight.zero_()
    assert model.bert.embeddings.word_embeddings.weight.abs().sum() > 0


def test_a_classifier_knows_its_labels_and_its_dropout_and_leaves_the_encoders(model):
    classifier = build_classifier(model, labels=["numpy", "scipy", "pandas"], seed=1, dropout=0.3)
    assert classifier.config.id2label == {0: "numpy", 1: "scipy", 2: "pandas"}
    assert classifier.config.label2id == {"numpy": 0, "scipy": 1, "pandas": 2}
    assert (classifier.config.hidden_dropout_prob, classifier.dropout.p) == (0.3, 0.3)
    assert model.config.hidden_dropout_prob == 0.1
    assert logits_of(classifier.eval()).shape == (2, 3)


def test_a_classifier_is_dense_tanh_dense_over_the_first_token(model):
    classifier = build_classifier(model, labels=["no", "yes"], seed=1, dropout=0.3).eval()
    with torch.no_grad():
        first = model.bert(input_ids=IDS, attention_mask=ATTENTION).last_hidden_state[:, 0]
        pooled = torch.tanh(classifier.bert.pooler.dense(first))
        expected = classifier.classifier(pooled)
    torch.testing.assert_close(logits_of(classifier), expected)


def test_the_head_of_a_classifier_follows_its_seed(model):
    first, same, other = (
        build_classifier(model, labels=["no", "yes"], seed=seed, dropout=0.1).classifier.weight for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_saved_classifier_opens_and_gives_the_same_logits(model, tmp_path):
    classifier = build_classifier(model, labels=["no", "yes"], seed=1, dropout=0.3).eval()
    classifier.save_pretrained(tmp_path)
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path, local_files_only=True).eval()
    assert torch.equal(logits_of(opened), logits_of(classifier))
    assert opened.config.id2label == {0: "no", 1: "yes"}


SIZES = {
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 16,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
DEBERTA = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}
FAMILIES = {
    "bert with one type": BertConfig(**SIZES, type_vocab_size=1),
    "bert with two types": BertConfig(**SIZES, type_vocab_size=2),
    "roberta": RobertaConfig(**SIZES, type_vocab_size=1),
    "modernbert": ModernBertConfig(**SIZES, cls_token_id=0, sep_token_id=2, local_attention=4),
    "deberta-v2": DebertaV2Config(**SIZES, **DEBERTA),
}
LABELS = ["entailment", "neutral", "contradiction"]
TYPES = "embeddings.token_type_embeddings.weight"


@pytest.fixture(params=FAMILIES)
def teacher(request):
    """A masked-LM encoder of each family, frozen as teachers are, with no weight at 0 or 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        encoder = AutoModelForMaskedLM.from_config(FAMILIES[request.param])
        for parameter in encoder.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return encoder.eval().requires_grad_(False)


def classified(model):
    return model(input_ids=IDS, attention_mask=ATTENTION).logits


def test_a_classifier_of_any_family_copies_every_weight_of_its_encoder(teacher):
    classifier = build_classifier(teacher, labels=LABELS, seed=1, dropout=0.3)
    copied, given = (dict(model.base_model.named_parameters()) for model in (classifier, teacher))
    # BERT's classifiers have a pooler, which masked-LM encoders have not.
    assert {name.split(".")[0] for name in copied.keys() - given.keys()} <= {"pooler"}
    assert all(torch.equal(copied[name], value) for name, value in given.items())
    assert not {value.data_ptr() for value in copied.values()} & {value.data_ptr() for value in given.values()}


def test_a_classifier_of_any_family_sees_a_text_as_its_encoder_does(teacher):
    classifier = build_classifier(teacher, labels=LABELS, seed=1, dropout=0.3).eval()
    with torch.no_grad():
        states = [model.base_model(input_ids=IDS, attention_mask=ATTENTION)[0] for model in (classifier, teacher)]
        logits = classified(classifier)
    assert torch.equal(*states)
    assert logits.shape == (2, 3)
    assert logits.isfinite().all()


def test_a_classifier_of_any_family_knows_its_labels(teacher):
    config = build_classifier(teacher, labels=LABELS, seed=1, dropout=0.3).config
    assert config.id2label == {0: "entailment", 1: "neutral", 2: "contradiction"}
    assert config.label2id == {"entailment": 0, "neutral": 1, "contradiction": 2}
    assert (config.num_labels, config.problem_type) == (3, "single_label_classification")
    assert config.model_type == teacher.config.model_type


def test_a_single_label_of_any_family_is_a_head_of_one_value(teacher):
    model = build_classifier(teacher, labels=["score"], seed=1, dropout=0.0).eval()
    with torch.no_grad():
        assert classified(model).shape == (2, 1)
    assert (model.config.id2label, model.config.problem_type) == ({0: "score"}, "regression")


def test_dropout_is_set_all_over_a_classifier_of_any_family(teacher):
    dropouts = {name: value for name, value in teacher.config.to_dict().items() if "dropout" in name}
    model = build_classifier(teacher, labels=LABELS, seed=1, dropout=0.3)
    assert {name: getattr(model.config, name) for name in dropouts} == dict.fromkeys(dropouts, 0.3)
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.3}
    assert {name: getattr(teacher.config, name) for name in dropouts} == dropouts


def test_without_dropout_a_classifier_of_any_family_answers_alike_while_it_trains(teacher):
    with torch.no_grad():
        for dropout, is_same in ((0.0, True), (0.3, False)):
            model = build_classifier(teacher, labels=LABELS, seed=1, dropout=dropout)
            assert torch.equal(classified(model.eval()), classified(model.train())) == is_same


def test_weights_of_a_frozen_teacher_move_again_and_the_teachers_stay(teacher):
    model = build_classifier(teacher, labels=LABELS, seed=1, dropout=0.0).train()
    torch.nn.functional.cross_entropy(classified(model), torch.tensor([0, 2])).backward()
    still = {name for name, value in model.base_model.named_parameters() if not value.requires_grad}
    has_one_type = getattr(teacher.config, "type_vocab_size", 0) == 1
    assert still == ({TYPES} if has_one_type else set())
    moved = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    unmoved = {name for name, _ in model.named_parameters()} - moved
    assert {name.removeprefix(f"{model.base_model_prefix}.") for name in unmoved} == still
    assert not any(value.requires_grad for value in teacher.parameters())


def test_the_one_token_type_of_a_teacher_is_kept_as_it_was_pretrained():
    encoder = AutoModelForMaskedLM.from_config(FAMILIES["roberta"])
    torch.nn.init.constant_(encoder.roberta.embeddings.token_type_embeddings.weight, 0.25)
    types = build_classifier(encoder, labels=LABELS, seed=1, dropout=0.0).roberta.embeddings.token_type_embeddings
    assert torch.equal(types.weight, torch.full((1, 16), 0.25))
    assert not types.weight.requires_grad


def test_the_head_of_any_family_follows_its_seed_and_not_the_global_generator(teacher):
    def head(seed):
        model = build_classifier(teacher, labels=LABELS, seed=seed, dropout=0.1)
        return {name: value for name, value in model.state_dict().items() if name.startswith("classifier")}

    torch.manual_seed(99)
    expected = torch.rand(4)
    torch.manual_seed(99)
    first, same, other = head(1), head(1), head(2)
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(first[name], same[name]) for name in first)
    # RoBERTa's head has a dense layer of its own; biases start at 0.
    assert all(not torch.equal(value, other[name]) for name, value in first.items() if value.ndim > 1)
