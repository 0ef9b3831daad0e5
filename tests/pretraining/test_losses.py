import math

import pytest
import torch

from bort_kedro.pretraining.losses import distillation_loss, masked_accuracy, masked_lm_loss, soft_cross_entropy

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
