"""The temperature in the weights of a classifier: of which family it may be, and what it leaves as it was."""

import copy
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.encoder import SEQUENCES, build_classifier
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.evaluation.calibration import expected_calibration_error
from bort_kedro.finetuning.finetune import conclude, learn_dev_too, outputs_of, student_task, train_plainly
from bort_kedro.finetuning.forms import FORMS
from bort_kedro.finetuning.temperature import calibrate, with_divided_logits
from bort_kedro.finetuning.theta import HyperparameterSet
from bort_kedro.tasks.table import Form
from toy_tasks import SETTINGS, data_of, encoder_of

THETA = (HyperparameterSet(1e-2, 0.01, 0.1, 256, 0),)
SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "pad_token_id": 1,
}
CONFIGS = {
    "Bert": SIZES,
    "Roberta": SIZES,
    "Electra": SIZES | {"embedding_size": 16},
    "DebertaV2": SIZES,
    "ModernBert": SIZES | {"bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2},
    "DistilBert": {"vocab_size": 60, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24, "pad_token_id": 1},
    "MPNet": SIZES,
    "Albert": SIZES | {"embedding_size": 8},
}
IDS = torch.tensor([[0, 17, 30, 4, 5, 2], [0, 25, 4, 2, 1, 1]])
BATCH = {"input_ids": IDS, "attention_mask": (IDS != 1).long()}
WORDS = {"answering": torch.tensor([1, 2, 7])}


@pytest.fixture
def states(tmp_path):
    return TrainingStates(tmp_path / "states", keep=2)


def classifier(family, labels, model_class=SEQUENCES):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        encoder = getattr(transformers, f"{family}Model")(getattr(transformers, f"{family}Config")(**CONFIGS[family]))
    model = build_classifier(encoder, labels=labels, seed=0, dropout=0.1, model_class=model_class).eval()
    for parameter in model.parameters():
        # Biases begin as 0, where a division cannot be seen.
        parameter.data += 0.1
    return model


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("model_class", [SEQUENCES, FORMS[Form.TOKENS].model_class])
# As many labels as hidden units or as units within make other layers look like the last.
@pytest.mark.parametrize("num_labels", [1, 3, 16])
@torch.inference_mode()
def test_logits_of_every_family_are_divided_in_a_copy(family, model_class, num_labels):
    model = classifier(family, [f"label {number}" for number in range(num_labels)], model_class)
    batch = BATCH if model_class == SEQUENCES else BATCH | WORDS
    before = model(**BATCH).logits
    divided = with_divided_logits(model, 2.5, batch)
    torch.testing.assert_close(divided(**BATCH).logits, before / 2.5, rtol=0, atol=1e-6)
    torch.testing.assert_close(model(**BATCH).logits, before, rtol=0, atol=0)


@pytest.fixture(scope="module")
def sharp(tiny_tokenizer, tmp_path_factory):
    """A task of whose dev and test examples three tenths are labelled wrong, and a model that is far too sure."""
    data = data_of(num_train=60, num_dev=80, num_test=60, flipped=0.3)
    states = TrainingStates(tmp_path_factory.mktemp("states"), keep=2)
    task = student_task(encoder_of(tiny_tokenizer), data, THETA, SETTINGS.changed(num_epochs=4), states)
    return task, sharpened(task, train_plainly(task))


def sharpened(task, result):
    """The same with logits ten times as large."""
    for parameter in result.best.model.classifier.parameters():
        parameter.data *= 10
    outputs = outputs_of(Pretrained(result.best.model, task.student.tokenizer), task.encoded, precision="no")
    return replace(result, best=replace(result.best, dev_outputs=outputs["dev"]))


def error(table):
    shares = table[["probability_array", "probability_row"]].to_numpy()
    return expected_calibration_error(shares.max(axis=1), (table["prediction"] == table["label"]).to_numpy())


def split_of(found, split):
    return found.predictions[found.predictions["split"] == split].reset_index(drop=True)


def test_a_model_that_is_too_sure_is_made_less_so_and_answers_as_before(sharp):
    task, result = sharp
    before, after = conclude(task, result), conclude(task, calibrate(task, result))
    assert before.report.calibration == {}
    dev, test = (after.report.calibration[split] for split in ("dev", "test"))
    assert dev.temperature == test.temperature > 1.2
    assert dev.error < dev.error_before - 0.05
    assert (dev.num_questions, test.num_questions) == (80, 60)
    for split in ("dev", "test"):
        sure, mild, told = split_of(before, split), split_of(after, split), after.report.calibration[split]
        assert mild["prediction"].tolist() == sure["prediction"].tolist()
        assert told.error_before == pytest.approx(error(sure), abs=1e-6)
        assert told.error == pytest.approx(error(mild), abs=1e-9)
    # What the model says of dev is what the table has.
    said = outputs_of(after.model, task.encoded, precision="no")
    columns = ["probability_array", "probability_row"]
    assert said["dev"] == pytest.approx(split_of(after, "dev")[columns].to_numpy(), abs=1e-5)
    # The result that it began with is as it was.
    assert conclude(task, result).predictions.equals(before.predictions)


def test_a_training_that_is_found_again_has_the_same_temperature_and_weights(sharp):
    task, result = sharp
    first, again = calibrate(task, result), calibrate(task, sharpened(task, train_plainly(task)))
    assert again.best.seconds == result.best.seconds
    assert first.temperature == again.temperature != 1
    both = zip(first.best.model.parameters(), again.best.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in both)


def test_a_last_training_has_the_temperature_of_the_one_that_had_not_learned_dev(sharp):
    task, result = sharp
    lasting = learn_dev_too(task, result)
    calibrated = calibrate(task, lasting)
    assert calibrated.temperature == calibrate(task, result).temperature
    plain, found = conclude(task, lasting), conclude(task, calibrated)
    assert split_of(found, "dev").equals(split_of(conclude(task, calibrate(task, result)), "dev"))
    shares, divided = (split_of(each, "test")["probability_row"].to_numpy() for each in (plain, found))
    odds, its = (np.log(each / (1 - each)) for each in (shares, divided))
    assert its == pytest.approx(odds / calibrated.temperature, abs=1e-4)


@pytest.mark.parametrize("form", [Form.MULTIPLE_CHOICE, Form.TOKENS])
def test_questions_and_words_are_calibrated(tiny_tokenizer, states, form):
    task = student_task(encoder_of(tiny_tokenizer), data_of(form, num_dev=60), THETA, SETTINGS, states)
    result = train_plainly(task)
    found = calibrate(task, result)
    assert found.temperature != 1
    count = {Form.MULTIPLE_CHOICE: 60, Form.TOKENS: 60 * 7}[form]
    assert conclude(task, found).report.calibration["dev"].num_questions == count
    examples = task.encoded.splits["dev"]
    asked = FORMS[form]
    before, after = (
        asked.answers(each.best.dev_outputs, task.data.labels, examples.target_starts) for each in (result, found)
    )
    assert before == after
    model = conclude(task, found).model
    assert outputs_of(model, task.encoded, precision="no")["dev"] == pytest.approx(found.best.dev_outputs, abs=1e-5)


def test_a_regression_and_few_examples_are_left_alone(tiny_tokenizer, states):
    number = student_task(encoder_of(tiny_tokenizer), data_of(Form.REGRESSION), THETA, SETTINGS, states)
    result = train_plainly(number)
    assert calibrate(number, result) is result
    assert conclude(number, result).report.calibration == {}
    few = student_task(encoder_of(tiny_tokenizer), data_of(num_dev=24), THETA, SETTINGS, states)
    calibration = conclude(few, calibrate(few, train_plainly(few))).report.calibration["test"]
    assert (calibration.temperature, calibration.error) == (1.0, calibration.error_before)


def test_a_model_whose_last_layer_is_not_found_is_left_alone_with_a_warning(sharp, caplog):
    task, result = sharp
    # Normalised logits do not come out divided.
    model = copy.deepcopy(result.best.model)
    model.classifier = nn.Sequential(model.classifier, nn.LayerNorm(2))
    result = replace(result, best=replace(result.best, model=model))
    with caplog.at_level(logging.WARNING):
        found = calibrate(task, result)
    assert found.temperature == 1.0
    assert found.best.model is result.best.model
    assert (found.best.dev_outputs == result.best.dev_outputs).all()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(
        "Task `toy`: the probabilities of its model stay as they are, at temperature 1"
    )
    assert caplog.messages[0].endswith("the layer that makes the logits of the family `bert` was not found.")
