"""The folders that the project writes open in ``transformers.pipeline``, offline, and answer as the project does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from kedro.io.core import Version
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, pipeline

from bort_kedro.datasets.model_folder import PretrainedDataset
from bort_kedro.encoders.encoder import build_classifier
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.finetuning.objectives import answers_of, predict
from bort_kedro.reporting.model_card import FOLDER, task_card
from bort_kedro.tasks.table import Form
from bort_kedro.tasks.tags import as_iob2
from bort_kedro.text.tokenizer import tokenizer_fingerprint
from model_card_data import NOTHING_STATED, ORIGIN, SIZE, TAGGED
from toy_tasks import MAX_TOKENS, data_of, encoder_of
from toy_training import train_classifier, train_masked_lm


def saved(folder, pretrained):
    dataset = PretrainedDataset(str(folder / "model"), version=Version(None, None))
    dataset.save(pretrained)
    return Path(dataset._get_load_path())


@pytest.fixture(scope="module")
def classifier(tiny_tokenizer, tmp_path_factory):
    """A folder with a classifier that knows the words of rows from those of arrays."""
    return saved(tmp_path_factory.mktemp("classifier"), train_classifier(tiny_tokenizer))


def test_text_classification_gives_the_labels_of_the_task(classifier):
    classify = pipeline("text-classification", model=str(classifier))
    answers = classify(["the mean of array values", "the mean of table values"])
    assert [answer["label"] for answer in answers] == ["array", "row"]
    assert all(answer["score"] > 0.9 for answer in answers)


def test_text_classification_answers_every_example_as_the_project_does(classifier):
    loaded = PretrainedDataset(str(classifier)).load()
    data = data_of()
    encoded = data.encoded(loaded, max_tokens=MAX_TOKENS)
    test = encoded.splits["test"]
    outputs = predict(loaded.model, Form.CLASSIFICATION, test, batch_tokens=512)
    texts = [unit.rows[0][0] for unit in data.units["test"]]
    answers = pipeline("text-classification", model=str(classifier))(texts)
    assert [answer["label"] for answer in answers] == answers_of(
        Form.CLASSIFICATION, data.labels, outputs, test.target_starts
    )
    assert [answer["score"] for answer in answers] == pytest.approx(outputs.max(axis=-1).tolist(), abs=1e-5)


def test_the_code_of_a_card_tags_words_as_the_project_does(tiny_tokenizer, tmp_path):
    data = data_of(Form.TOKENS)
    encoder, kind = encoder_of(tiny_tokenizer).model, "AutoModelForTokenClassification"
    model = build_classifier(encoder, labels=list(data.labels), seed=0, dropout=0.0, model_class=kind).eval()
    torch.nn.init.normal_(model.classifier.weight, std=20.0, generator=torch.Generator().manual_seed(1))
    pretrained = Pretrained(model, tiny_tokenizer)
    code = task_card(TAGGED, SIZE, ORIGIN, NOTHING_STATED).split("```python\n")[1].split("```")[0]
    code = code.replace(FOLDER, str(saved(tmp_path, pretrained)))
    test = data.encoded(pretrained, max_tokens=MAX_TOKENS).splits["test"]
    outputs = predict(model, Form.TOKENS, test, batch_tokens=512)
    said = answers_of(Form.TOKENS, data.labels, outputs, test.target_starts)
    for text, tags in zip(data.tables["test"]["text"].head(5), said, strict=False):
        found = {}
        exec(code.replace("The words of a text .", text), found)  # noqa: S102 - the card's own code
        assert [word for word, _ in found["tags"]] == text.split()
        assert as_iob2(tag for _, tag in found["tags"]) == tags.split()


def test_a_text_that_is_too_long_is_cut_to_the_positions_of_the_model(classifier):
    classify = pipeline("text-classification", model=str(classifier))
    assert classify.tokenizer.model_max_length == MAX_TOKENS
    assert classify("table " * 500, truncation=True)[0]["label"] == "row"


def test_fill_mask_gives_the_hidden_word_back(tiny_tokenizer, tmp_path):
    sentence, hidden = "The mean of the array is computed.", "The mean of the array<mask> computed."
    folder = saved(tmp_path, train_masked_lm(tiny_tokenizer, sentence))
    best = pipeline("fill-mask", model=str(folder))(hidden)[0]
    assert best["token_str"].strip() == "is"
    assert best["sequence"] == sentence


def with_types(tokenizer):
    """As BERT's own tokenizers: the second text of a pair is of another type, and no length is named."""
    typed = PreTrainedTokenizerFast(
        tokenizer_object=type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str()),
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **tokenizer.special_tokens_map,
    )
    typed.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return typed


def test_pairs_are_answered_where_the_tokenizer_knows_types_and_the_model_does_not(tiny_tokenizer, tmp_path):
    typed = with_types(tiny_tokenizer)
    assert typed("a", "b")["token_type_ids"][-1] == 1
    encoder = encoder_of(tiny_tokenizer)
    model = build_classifier(encoder.model, labels=["no", "yes"], seed=0, dropout=0.0).eval()
    assert model.config.type_vocab_size == 1
    folder = saved(tmp_path, Pretrained(model, typed))
    ids = torch.tensor([typed("a row", "an axis")["input_ids"]])
    with torch.inference_mode():
        shares = model(input_ids=ids).logits.softmax(-1)[0]
    answer = pipeline("text-classification", model=str(folder))({"text": "a row", "text_pair": "an axis"})
    assert answer["label"] == ["no", "yes"][int(shares.argmax())]
    assert answer["score"] == pytest.approx(float(shares.max()), abs=1e-6)


def test_the_tokenizer_that_was_saved_is_left_as_it_was(tiny_tokenizer, tmp_path):
    typed = with_types(tiny_tokenizer)
    before = list(typed.model_input_names), typed.model_max_length
    folder = saved(tmp_path, Pretrained(encoder_of(tiny_tokenizer).model, typed))
    assert (typed.model_input_names, typed.model_max_length) == before
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings["model_input_names"] == ["input_ids", "attention_mask"]
    assert settings["model_max_length"] == MAX_TOKENS
    assert tokenizer_fingerprint(PretrainedDataset(str(folder)).load().tokenizer) == tokenizer_fingerprint(typed)
