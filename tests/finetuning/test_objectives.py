"""Losses, answers and mistakes of each form of task against torch, scikit-learn and values worked out by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from bort_kedro.encoders.encoder import bert_config, build_classifier, build_masked_lm
from bort_kedro.finetuning.encoding import EncodedExamples
from bort_kedro.finetuning.forms import NO_OPTION, by_question
from bort_kedro.finetuning.objectives import (
    answers_of,
    balanced_weights,
    logits_of,
    mistakes_of,
    objective_of,
    predict,
)
from bort_kedro.tasks.table import RIGHT, WRONG, Form

LABELS = ["no", "maybe", "yes"]


class Fixed(torch.nn.Module):
    """Says the same whatever it is given."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return SimpleNamespace(logits=self.logits)


def batch_of(targets, option_rows=None):
    targets = torch.tensor(targets)
    count = len(targets)
    return {
        "input_ids": torch.zeros(count, 1, dtype=torch.long),
        "attention_mask": torch.ones(count, 1, dtype=torch.long),
        "targets": targets,
        "option_rows": torch.arange(count)[:, None] if option_rows is None else torch.tensor(option_rows),
    }


def examples_of(targets, starts=None, lengths=None):
    """Encoded examples with these targets; the ids are drawn, and as many as ``lengths`` says."""
    targets = np.array(targets, dtype=np.float32)
    lengths = [3] * len(targets) if lengths is None else lengths
    generator = np.random.default_rng(0)
    ids = [np.array([0, *generator.integers(5, 60, length - 2), 2]) for length in lengths]
    bounds = np.arange(len(targets) + 1) if starts is None else np.array(starts)
    return EncodedExamples(ids, None, targets, bounds, 1, 0)


def one_hot(labels, count):
    return np.eye(count, dtype=np.float32)[list(labels)]


def drawn_logits(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2)).mul(3).tolist()


def gradients(form, logits, batch, **options):
    model = Fixed(logits)
    parts = objective_of(form, **options)(model, batch)
    parts["loss"].backward()
    return parts, model.logits.grad


def test_cross_entropy_of_two_rows_equals_hand_value():
    logits = torch.log(torch.tensor([[0.75, 0.25], [0.5, 0.5]])).tolist()
    parts = objective_of(Form.CLASSIFICATION)(Fixed(logits), batch_of([[1.0, 0.0], [0.0, 1.0]]))
    assert parts["loss"].item() == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)
    # The tie of the second row goes to the first label.
    assert parts["accuracy"].item() == 0.5


@pytest.mark.parametrize("class_weights", [None, [0.5, 2.0, 1.25]], ids=["plain", "weighted"])
def test_cross_entropy_of_labels_and_its_gradient_equal_those_of_torch(class_weights):
    logits, labels = drawn_logits(6, 3), torch.tensor([0, 2, 1, 1, 0, 2])
    batch = batch_of(one_hot(labels.tolist(), 3).tolist())
    parts, gradient = gradients(Form.CLASSIFICATION, logits, batch, class_weights=class_weights)
    wanted = torch.tensor(logits, requires_grad=True)
    weight = None if class_weights is None else torch.tensor(class_weights)
    loss = torch.nn.functional.cross_entropy(wanted, labels, weight=weight)
    loss.backward()
    torch.testing.assert_close(parts["loss"], loss)
    torch.testing.assert_close(gradient, wanted.grad)
    assert parts["accuracy"].item() == pytest.approx((wanted.argmax(-1) == labels).float().mean().item())


def test_cross_entropy_of_soft_targets_equals_hand_value():
    shares = [[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]])).tolist()
    parts = objective_of(Form.CLASSIFICATION)(Fixed(logits), batch_of(shares))
    first = 0.7 * math.log(0.5) + 0.2 * math.log(0.3) + 0.1 * math.log(0.2)
    second = 0.25 * math.log(0.1) + 0.25 * math.log(0.6) + 0.5 * math.log(0.3)
    assert parts["loss"].item() == pytest.approx(-(first + second) / 2)
    # The likeliest label of the first row only is the one wanted most.
    assert parts["accuracy"].item() == 0.5


def test_soft_targets_are_those_of_torch_and_give_a_loss_of_their_own_entropy_where_they_are_met():
    shares = torch.tensor(drawn_logits(5, 4)).softmax(-1)
    logits = drawn_logits(5, 4)
    parts = objective_of(Form.CLASSIFICATION)(Fixed(logits), batch_of(shares.tolist()))
    torch.testing.assert_close(parts["loss"], torch.nn.functional.cross_entropy(torch.tensor(logits), shares))
    met, gradient = gradients(Form.CLASSIFICATION, shares.log().tolist(), batch_of(shares.tolist()))
    torch.testing.assert_close(met["loss"], torch.distributions.Categorical(shares).entropy().mean())
    torch.testing.assert_close(gradient, torch.zeros(5, 4), atol=1e-6, rtol=0)


def test_a_weighted_soft_target_counts_by_the_weights_of_its_shares():
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.2, 0.8]])).tolist()
    loss = objective_of(Form.CLASSIFICATION, [1.0, 3.0])
    parts = loss(Fixed(logits), batch_of([[1.0, 0.0], [0.5, 0.5]]))
    # Counted shares: 1 and 0; 0.5 and 1.5.
    expected = -(math.log(0.5) + 0.5 * math.log(0.2) + 1.5 * math.log(0.8)) / 3
    assert parts["loss"].item() == pytest.approx(expected)


def test_error_of_a_regression_is_the_mean_square():
    parts, gradient = gradients(Form.REGRESSION, [[1.0], [2.5], [-1.0]], batch_of([[2.0], [2.0], [1.0]]))
    assert set(parts) == {"loss"}
    assert parts["loss"].item() == pytest.approx((1 + 0.25 + 4) / 3)
    torch.testing.assert_close(gradient, torch.tensor([[-2.0], [1.0], [-4.0]]) / 3)


# Two questions in five rows, the first with two options and the second with three.
TWO_AND_THREE = [[0, 1, NO_OPTION], [2, 3, 4]]
SCORES = [[1.0], [3.0], [0.5], [-0.5], [2.0]]


def test_options_of_a_question_share_one_softmax():
    batch = batch_of([[1.0], [0.0], [0.0], [0.0], [1.0]], TWO_AND_THREE)
    parts, gradient = gradients(Form.MULTIPLE_CHOICE, SCORES, batch)
    first, second = np.exp([1.0, 3.0]), np.exp([0.5, -0.5, 2.0])
    first, second = first / first.sum(), second / second.sum()
    assert parts["loss"].item() == pytest.approx(-(math.log(first[0]) + math.log(second[2])) / 2)
    assert parts["accuracy"].item() == 0.5
    # Softmax less target, over two questions.
    expected = np.array([first[0] - 1, first[1], second[0], second[1], second[2] - 1]) / 2
    np.testing.assert_allclose(gradient[:, 0].numpy(), expected, rtol=1e-5)


def test_questions_of_as_many_options_have_the_loss_of_transformers_multiple_choice():
    logits, right = drawn_logits(12, 1), torch.tensor([3, 0, 2])
    option_rows = torch.arange(12).view(3, 4)
    targets = torch.nn.functional.one_hot(right, 4).float().view(12, 1)
    parts, gradient = gradients(Form.MULTIPLE_CHOICE, logits, batch_of(targets.tolist(), option_rows.tolist()))
    # BertForMultipleChoice: logits.view(-1, num_choices) into CrossEntropyLoss.
    wanted = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.CrossEntropyLoss()(wanted.view(-1, 4), right)
    loss.backward()
    torch.testing.assert_close(parts["loss"], loss)
    torch.testing.assert_close(gradient, wanted.grad)


def test_either_of_two_right_options_is_right():
    targets = [[0.0], [1.0], [0.5], [0.0], [0.5]]
    parts, gradient = gradients(Form.MULTIPLE_CHOICE, SCORES, batch_of(targets, TWO_AND_THREE))
    first, second = torch.tensor([1.0, 3.0]).log_softmax(0), torch.tensor([0.5, -0.5, 2.0]).log_softmax(0)
    assert parts["loss"].item() == pytest.approx(-float(first[1] + (second[0] + second[2]) / 2) / 2)
    assert parts["accuracy"].item() == 1.0
    assert gradient.isfinite().all()


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_gradients_stay_finite_where_questions_are_of_unequal_length_and_scores_far_apart(scale):
    rows = [[0, NO_OPTION, NO_OPTION, NO_OPTION], [1, 2, NO_OPTION, NO_OPTION], [3, 4, 5, 6]]
    logits = (torch.tensor(drawn_logits(7, 1)) * scale).tolist()
    batch = batch_of([[1.0], [0.0], [1.0], [0.0], [1.0], [0.0], [0.0]], rows)
    parts, gradient = gradients(Form.MULTIPLE_CHOICE, logits, batch)
    assert parts["loss"].isfinite()
    assert gradient.isfinite().all()
    # A question with one option leaves nothing to learn.
    assert gradient[0].item() == 0.0


def test_values_are_gathered_by_question():
    gathered = by_question(torch.tensor(SCORES), torch.tensor(TWO_AND_THREE), fill=-9.0)
    assert gathered.tolist() == [[1.0, 3.0, -9.0], [0.5, -0.5, 2.0]]


def test_logits_are_in_single_precision_and_types_are_passed_on():
    seen = {}

    class Half(Fixed):
        def forward(self, **inputs):
            seen.update(inputs)
            return SimpleNamespace(logits=self.logits.half())

    batch = batch_of([[1.0]]) | {"token_type_ids": torch.ones(1, 1, dtype=torch.long)}
    assert logits_of(Half([[1.5]]), batch).dtype == torch.float32
    assert set(seen) == {"input_ids", "attention_mask", "token_type_ids"}


@pytest.fixture
def classifier(tiny_shape):
    encoder = build_masked_lm(bert_config(tiny_shape, vocabulary_size=60, max_positions=32), seed=0)

    def build(num_labels):
        model = build_classifier(encoder, labels=[str(index) for index in range(num_labels)], seed=0, dropout=0.3)
        # With published sizes of weights all answers would be nearly the same.
        torch.nn.init.normal_(model.classifier.weight, std=2.0, generator=torch.Generator().manual_seed(1))
        return model

    return build


def direct(model, ids):
    with torch.no_grad():
        return model.eval()(input_ids=torch.from_numpy(ids)[None]).logits[0].double().numpy()


LENGTHS = [4, 9, 3, 20, 7, 7, 30, 5]


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_predicted_probabilities_are_those_of_each_row_alone(classifier, batch_tokens):
    model, examples = classifier(3), examples_of(np.zeros((8, 3)), lengths=LENGTHS)
    outputs = predict(model, Form.CLASSIFICATION, examples, batch_tokens=batch_tokens)
    exponentials = np.exp([direct(model, ids) for ids in examples.input_ids])
    np.testing.assert_allclose(outputs, exponentials / exponentials.sum(1, keepdims=True), atol=1e-5)
    assert (outputs.shape, outputs.dtype) == ((8, 3), np.float64)
    assert np.ptp(outputs, axis=0).max() > 0.05


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_predicted_values_are_those_of_each_row_alone(classifier, batch_tokens):
    model, examples = classifier(1), examples_of(np.zeros((8, 1)), lengths=LENGTHS)
    outputs = predict(model, Form.REGRESSION, examples, batch_tokens=batch_tokens)
    np.testing.assert_allclose(outputs, [direct(model, ids) for ids in examples.input_ids], atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_predicted_options_are_shares_of_their_question(classifier, batch_tokens):
    model, starts = classifier(1), [0, 2, 5, 6, 8]
    examples = examples_of(np.zeros((8, 1)), starts=starts, lengths=LENGTHS)
    outputs = predict(model, Form.MULTIPLE_CHOICE, examples, batch_tokens=batch_tokens)
    scores = np.exp([direct(model, ids)[0] for ids in examples.input_ids])
    for start, stop in [(0, 2), (2, 5), (5, 6), (6, 8)]:
        expected = scores[start:stop] / scores[start:stop].sum()
        np.testing.assert_allclose(outputs[start:stop, 0], expected, atol=1e-5)
    assert outputs[5, 0] == 1.0


def test_prediction_has_no_dropout_and_leaves_the_model_without(classifier):
    model, examples = classifier(3).train(), examples_of(np.zeros((8, 3)), lengths=LENGTHS)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = predict(model, Form.CLASSIFICATION, examples, batch_tokens=60)
    assert not model.training
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(first, predict(model, Form.CLASSIFICATION, examples, batch_tokens=60))


def test_nothing_is_predicted_of_nothing(classifier):
    examples = EncodedExamples([], None, np.zeros((0, 3), dtype=np.float32), np.array([0]), 1, 0)
    assert predict(classifier(3), Form.CLASSIFICATION, examples, batch_tokens=60).shape == (0, 3)


STARTS = np.array([0, 2, 5])


def test_answers_are_the_likeliest_labels():
    outputs = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2]])
    answers = answers_of(Form.CLASSIFICATION, LABELS, outputs, np.arange(5))
    assert answers == ["maybe", "no", "yes", "no"]


def test_answers_of_a_regression_are_numbers_of_six_digits():
    outputs = np.array([[2.0], [1 / 3], [-0.00001234567], [123456.7]])
    assert answers_of(Form.REGRESSION, (), outputs, np.arange(5)) == ["2", "0.333333", "-1.23457e-05", "123457"]


def test_one_option_of_each_question_is_answered_to_be_right():
    outputs = np.array([[0.4], [0.6], [0.3], [0.3], [0.4]])
    answers = answers_of(Form.MULTIPLE_CHOICE, (WRONG, RIGHT), outputs, STARTS)
    assert answers == [WRONG, RIGHT, WRONG, WRONG, RIGHT]


def test_the_first_of_equal_options_is_answered():
    answers = answers_of(Form.MULTIPLE_CHOICE, (WRONG, RIGHT), np.full((5, 1), 0.5), STARTS)
    assert answers == [RIGHT, WRONG, RIGHT, WRONG, WRONG]


def test_mistakes_of_a_classification_are_the_rows_of_another_label():
    outputs = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    assert mistakes_of(Form.CLASSIFICATION, outputs, examples_of(one_hot([1, 1, 2, 0], 3))) == [1, 3]
    assert mistakes_of(Form.CLASSIFICATION, outputs, examples_of(one_hot([1, 0, 2, 2], 3))) == []


def test_mistakes_of_multiple_choice_are_questions():
    outputs = np.array([[0.4], [0.6], [0.3], [0.3], [0.4], [0.9], [0.1]])
    targets, starts = [[1.0], [0.0], [0.5], [0.0], [0.5], [1.0], [0.0]], [0, 2, 5, 7]
    # Of the second question either option with a share is right.
    assert mistakes_of(Form.MULTIPLE_CHOICE, outputs, examples_of(targets, starts=starts)) == [0]


def test_mistakes_of_a_regression_are_further_off_than_half_the_standard_deviation():
    examples = examples_of([[1.0], [3.0], [1.0], [3.0]])
    # The standard deviation is 1.
    outputs = np.array([[1.5], [3.51], [0.4], [3.0]])
    assert mistakes_of(Form.REGRESSION, outputs, examples) == [1, 2]


def test_mistakes_agree_with_answers():
    generator = np.random.default_rng(4)
    labels, outputs = generator.integers(0, 3, 50), generator.random((50, 3))
    answers = answers_of(Form.CLASSIFICATION, LABELS, outputs, np.arange(51))
    wrong = [place for place, answer in enumerate(answers) if answer != LABELS[labels[place]]]
    assert mistakes_of(Form.CLASSIFICATION, outputs, examples_of(one_hot(labels, 3))) == wrong


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.random.default_rng(0).choice(4, 200, p=[0.6, 0.25, 0.1, 0.05])
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    assert balanced_weights(examples_of(one_hot(labels, 4))) == pytest.approx(expected.tolist())


def test_balanced_weights_are_one_on_average_over_the_rows_and_count_soft_targets():
    shares = np.array([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25], [0.75, 0.25]])
    # 3 and 1 of 4 shares.
    assert balanced_weights(examples_of(shares)) == pytest.approx([4 / 6, 4 / 2])
    assert np.dot(balanced_weights(examples_of(shares)), shares.sum(0)) == pytest.approx(4.0)


def test_a_label_that_never_occurs_has_no_weight():
    assert balanced_weights(examples_of(one_hot([0, 0, 2], 3))) == pytest.approx([3 / 6, 0.0, 3 / 3])
