import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from bort_kedro.core.shapes import BertShape
from bort_kedro.models.encoder import (
    bert_config,
    build_classifier,
    build_masked_lm,
    shape_of,
)

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
    with torch.no_grad():
        short = model(input_ids=IDS[1:, :4], attention_mask=ATTENTION[1:, :4]).logits
    torch.testing.assert_close(logits_of(model)[1, :4], short[0], atol=1e-5, rtol=1e-5)


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
