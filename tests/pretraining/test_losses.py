import math

import pytest
import torch

from bort_kedro.pretraining.losses import (
    distillation_loss,
    hidden_states_error,
    masked_accuracy,
    masked_lm_loss,
    relations_divergence,
    soft_cross_entropy,
)

# Logits of the distributions (3/4, 1/4) and (1/2, 1/2).
TEACHER = torch.tensor([[3.0, 1.0]]).log()
STUDENT = torch.zeros(1, 2)
# KL((3/4, 1/4) || (1/2, 1/2)).
DIVERGENCE_AT_ONE = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(11)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
def test_distillation_loss_is_zero_when_the_student_copies_the_teacher(generator, temperature):
    logits = torch.randn(5, 11, generator=generator)
    # A constant added to every logit leaves the distribution as it is.
    loss = distillation_loss(logits + 3.0, logits, temperature=temperature)
    torch.testing.assert_close(loss, torch.tensor(0.0), atol=1e-5, rtol=0)


def test_distillation_loss_equals_hand_value_for_two_words():
    loss = distillation_loss(STUDENT, TEACHER, temperature=1.0)
    assert loss.item() == pytest.approx(DIVERGENCE_AT_ONE, abs=1e-6)


def test_distillation_loss_at_temperature_two_equals_hand_value():
    # Half the logits: odds of 3 to 1 become the square root of 3 to 1.
    first = math.sqrt(3) / (1 + math.sqrt(3))
    expected = 4 * (first * math.log(2 * first) + (1 - first) * math.log(2 * (1 - first)))
    assert distillation_loss(STUDENT, TEACHER, temperature=2.0).item() == pytest.approx(expected, abs=1e-6)


def test_distillation_loss_is_the_mean_over_positions_not_over_the_vocabulary():
    # The second position agrees, so the mean is half the first's.
    student, teacher = torch.cat([STUDENT, STUDENT]), torch.cat([TEACHER, STUDENT])
    loss = distillation_loss(student, teacher, temperature=1.0)
    assert loss.item() == pytest.approx(DIVERGENCE_AT_ONE / 2, abs=1e-6)


def test_distillation_loss_sends_gradients_to_the_student_alone():
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    distillation_loss(student, teacher, temperature=1.0).backward()
    # The gradient of KL by the student's logits is its distribution less the teacher's.
    torch.testing.assert_close(student.grad, torch.tensor([[-0.25, 0.25]]))
    assert teacher.grad is None


def test_logits_of_two_vocabularies_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match="shape") as caught:
        distillation_loss(torch.zeros(2, 5), torch.zeros(2, 6), temperature=1.0)
    assert str(caught.value) == (
        "student logits (2, 5) and teacher logits (2, 6) must have the same shape (N, V): do both use one tokenizer?"
    )


def test_distillation_over_no_position_is_refused():
    with pytest.raises(ValueError, match=r"^no predicted position: the mean over none is not defined$"):
        distillation_loss(torch.zeros(0, 5), torch.zeros(0, 5), temperature=1.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_of_zero_or_below_is_refused_with_its_value(temperature):
    with pytest.raises(ValueError, match=f"^temperature is {temperature}, allowed are values above 0$"):
        distillation_loss(STUDENT, TEACHER, temperature=temperature)


def test_masked_lm_loss_equals_hand_value_in_nats():
    loss = masked_lm_loss(torch.cat([TEACHER, STUDENT]), torch.tensor([1, 0]))
    assert loss.item() == pytest.approx((math.log(4) + math.log(2)) / 2, abs=1e-6)


def test_masked_accuracy_counts_the_share_of_largest_logits():
    logits = torch.tensor([[1.0, 2.0, 0.0], [5.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    assert masked_accuracy(logits, torch.tensor([1, 1, 2])).item() == pytest.approx(2 / 3)


def test_masked_accuracy_looks_for_the_largest_logit_of_each_position():
    assert masked_accuracy(torch.tensor([[1.0, 2.0, 0.0], [5.0, 2.0, 0.0]]), torch.tensor([1, 0])).item() == 1.0


def test_losses_of_half_precision_logits_are_summed_in_single_precision():
    logits = torch.cat([TEACHER, STUDENT]).to(torch.bfloat16)
    assert masked_lm_loss(logits, torch.tensor([1, 0])).dtype == torch.float32
    assert distillation_loss(logits, logits, temperature=2.0).dtype == torch.float32


def test_soft_cross_entropy_equals_hand_values_for_two_words_and_the_entropy_for_a_copy():
    # -(3/4 ln 1/2 + 1/4 ln 1/2) against the even student, and -(3/4 ln 3/4 + 1/4 ln 1/4) of the teacher with itself.
    values = soft_cross_entropy(torch.cat([STUDENT, TEACHER]), torch.cat([TEACHER, TEACHER]))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    torch.testing.assert_close(values, torch.tensor([math.log(2), entropy]))
    assert values[0].item() - values[1].item() == pytest.approx(DIVERGENCE_AT_ONE, abs=1e-6)


def test_relations_of_two_tokens_equal_hand_values():
    """The teacher relates both tokens evenly; scores of the student are divided by the root of 4, its head's width."""
    even = torch.zeros(1, 2, 2)
    queries = torch.tensor([[[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]])  # scores (2, 0) and (0, 0)
    values = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]]])  # scores (1/2, 0) and (0, 2)
    found = relations_divergence(
        (queries, torch.zeros(1, 2, 4), values), (even, even, even), torch.ones(1, 2), num_heads=1
    )

    def from_even(score):
        """KL((1/2, 1/2) || softmax(score, 0))."""
        share = math.exp(score) / (math.exp(score) + 1)
        return -0.5 * math.log(2 * share) - 0.5 * math.log(2 * (1 - share))

    # Three kinds, two tokens.
    expected = (from_even(2) + from_even(0) + from_even(0.5) + from_even(2)) / 6
    assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def layers(generator):
    """Queries, keys and values of a student of width 8 and of a teacher of width 12, for 2 rows of 5 tokens."""
    return tuple(tuple(torch.randn(2, 5, width, generator=generator) for _ in range(3)) for width in (8, 12))


ALL_TOKENS = torch.ones(2, 5, dtype=torch.int64)


def test_equal_relations_have_no_divergence_and_others_some(layers):
    student, teacher = layers
    for rows in layers:
        assert relations_divergence(rows, rows, ALL_TOKENS, num_heads=2).item() == pytest.approx(0, abs=1e-6)
    assert relations_divergence(student, teacher, ALL_TOKENS, num_heads=2).item() > 0.1
    moved = (student[0], student[1], student[2] + 0.1 * torch.eye(5, 8))
    assert relations_divergence(moved, student, ALL_TOKENS, num_heads=2).item() > 1e-4


def test_turning_the_heads_of_the_teacher_within_themselves_changes_nothing(layers, generator):
    student, teacher = layers
    turns = [torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q for _ in range(4)]
    turned = tuple(rows @ torch.block_diag(*turns) for rows in teacher)
    plain = relations_divergence(student, teacher, ALL_TOKENS, num_heads=4).item()
    assert relations_divergence(student, turned, ALL_TOKENS, num_heads=4).item() == pytest.approx(plain, rel=1e-5)
    mixed = tuple(rows.roll(1, dims=-1) for rows in teacher)
    assert relations_divergence(student, mixed, ALL_TOKENS, num_heads=4).item() != pytest.approx(plain, rel=1e-2)


def test_padding_and_other_documents_do_not_count(layers):
    student, teacher = layers
    first, second = (tuple(tuple(rows[[row]] for rows in side) for side in layers) for row in (0, 1))
    short = tuple(tuple(rows[:, :3] for rows in side) for side in second)
    joined = [
        tuple(torch.cat(rows, dim=1) for rows in zip(*sides, strict=True)) for sides in zip(first, short, strict=True)
    ]
    alone = [
        relations_divergence(*sides, torch.ones(1, length), num_heads=2).item()
        for sides, length in ((first, 5), (short, 3))
    ]
    mean = (5 * alone[0] + 3 * alone[1]) / 8
    padded = torch.tensor([[1] * 5, [1] * 3 + [0] * 2])
    assert relations_divergence(student, teacher, padded, num_heads=2).item() == pytest.approx(mean, rel=1e-5)
    documents = torch.tensor([[1] * 5 + [2] * 3])
    assert relations_divergence(*joined, documents, num_heads=2).item() == pytest.approx(mean, rel=1e-5)


def test_relations_send_finite_gradients_to_tokens_of_the_student_alone(layers):
    student, teacher = (tuple(rows.clone().requires_grad_() for rows in side) for side in layers)
    relations_divergence(student, teacher, torch.tensor([[1] * 5, [0] * 5]), num_heads=2).backward()
    for rows in student:
        assert rows.grad[0].abs().sum() > 0
        assert rows.grad[1].abs().sum() == 0
        assert torch.isfinite(rows.grad).all()
    assert all(rows.grad is None for rows in teacher)


def test_relation_heads_that_divide_no_width_are_refused_with_those_that_do(layers):
    with pytest.raises(ValueError, match="num_heads") as caught:
        relations_divergence(*layers, ALL_TOKENS, num_heads=8)
    assert str(caught.value) == (
        "relations.num_heads is 8, which does not divide each of the widths [8, 12]; allowed are 1, 2, 4"
    )


def test_the_error_of_hidden_states_is_in_units_of_their_variance():
    teacher = torch.tensor([[[1.0, 0.0], [3.0, 4.0], [9.0, 9.0]]])
    tokens = torch.tensor([[1, 1, 0]])
    mean = torch.tensor([2.0, 2.0]).expand(1, 3, 2)
    # Squared distances from the mean: 1 + 4 for each of both tokens.
    student = teacher + torch.tensor([1.0, 0.0])
    assert hidden_states_error(teacher, teacher, tokens).item() == 0
    assert hidden_states_error(mean, teacher, tokens).item() == 1
    assert hidden_states_error(student, teacher, tokens).item() == pytest.approx(2 / 10)
    assert hidden_states_error(7 * student, 7 * teacher, tokens).item() == pytest.approx(2 / 10)
