import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from bort_kedro.pretraining.losses import distillation_loss
from bort_kedro.pretraining.teacher_targets import (
    LEAST_MASS,
    TeacherTargets,
    bucketed_divergence,
    bytes_per_position,
    divergence_error,
    pack_targets,
    top_targets,
    unpack_targets,
)
from rounding import rounding

# Of a divergence over 40 ids: two sums over them, times a squared temperature of at most 4.
ROUNDED = rounding(torch.float32, width=40, depth=2, scale=4)


@pytest.fixture
def pair():
    """Student and teacher logits, 6 positions of 40 ids."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(6, 40, generator=generator), 2 * torch.randn(6, 40, generator=generator)


def bucketed(student, teacher, *, temperature=2.0, top_k):
    targets = top_targets(teacher, temperature=temperature, top_k=top_k)
    return bucketed_divergence(student, targets, temperature=temperature)


def naive(student, teacher, *, temperature, top_k):
    """From the definition, in float64: sum the probabilities of each bucket, then the divergence of the buckets."""
    p, q = (torch.softmax(logits.double() / temperature, dim=-1) for logits in (teacher, student))
    ids = p.topk(top_k, dim=-1).indices
    is_top = torch.zeros_like(p, dtype=torch.bool).scatter_(-1, ids, True)
    p, q = (torch.cat([x.gather(-1, ids), (x * ~is_top).sum(-1, keepdim=True)], dim=-1) for x in (p, q))
    return (p * (p.log() - q.log())).sum(-1).mean() * temperature**2


def test_top_targets_of_four_ids_are_the_two_likeliest_and_the_rest():
    # At temperature 2 the probabilities are 0.4, 0.1, 0.3, 0.2.
    logits = 2 * torch.tensor([[0.4, 0.1, 0.3, 0.2]]).log() + 5
    targets = top_targets(logits, temperature=2.0, top_k=2)
    assert targets.ids.tolist() == [[0, 2]]
    assert targets.ids.dtype == torch.int64
    torch.testing.assert_close(targets.log_probabilities.exp(), torch.tensor([[0.4, 0.3]]))
    torch.testing.assert_close(targets.log_tail.exp(), torch.tensor([0.3]))


def test_divergence_of_four_ids_equals_the_hand_value():
    teacher = 2 * torch.tensor([[0.4, 0.1, 0.3, 0.2]]).log()
    student = 2 * torch.tensor([[0.2, 0.4, 0.3, 0.1]]).log()
    # Buckets {0}, {2}, {1, 3}: teacher 0.4, 0.3, 0.3; student 0.2, 0.3, 0.5. Times 2 squared.
    by_hand = 4 * (0.4 * math.log(2) + 0.3 * math.log(0.3 / 0.5))
    assert float(bucketed(student, teacher, top_k=2)) == pytest.approx(by_hand, rel=1e-5)


def test_tail_is_minus_infinity_where_every_id_is_kept(pair):
    assert top_targets(pair[1], temperature=2.0, top_k=40).log_tail.tolist() == [-math.inf] * 6


def test_a_tail_far_below_float32_resolution_of_one_is_exact():
    logits = torch.tensor([[0.0, -1.0, -40.0, -41.0]])
    expected = math.log(math.exp(-40) + math.exp(-41)) - math.log(1 + math.exp(-1))
    assert float(top_targets(logits, temperature=1.0, top_k=2).log_tail) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_keeping_every_id_equals_the_full_distillation_loss(pair, temperature):
    full = distillation_loss(*pair, temperature=temperature)
    assert float(bucketed(*pair, temperature=temperature, top_k=40)) == pytest.approx(float(full), abs=ROUNDED)


@pytest.mark.parametrize("top_k", [1, 5, 40])
def test_a_perfect_copy_gives_zero(pair, top_k):
    assert float(bucketed(pair[1] + 3.0, pair[1], top_k=top_k)) == pytest.approx(0.0, abs=ROUNDED)


def test_divergence_rises_with_k_up_to_the_full_one(pair):
    values = [float(bucketed(*pair, top_k=k)) for k in range(1, 41)]
    assert all(low <= high + ROUNDED for low, high in pairwise(values))
    assert values[0] > 0
    assert values[20] < values[39] <= float(distillation_loss(*pair, temperature=2.0)) + ROUNDED


@pytest.mark.parametrize("top_k", [1, 7, 39, 40])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_value_and_gradient_equal_those_of_the_naive_formula(pair, top_k, temperature):
    student, teacher = pair
    ours, theirs = student.clone().requires_grad_(), student.clone().double().requires_grad_()
    value = bucketed(ours, teacher, temperature=temperature, top_k=top_k)
    if top_k == 40:
        expected = distillation_loss(theirs, teacher, temperature=temperature)
    else:
        expected = naive(theirs, teacher, temperature=temperature, top_k=top_k)
    (3.0 * value).backward()
    (3.0 * expected).backward()
    assert value.item() == pytest.approx(expected.item(), abs=ROUNDED)
    torch.testing.assert_close(ours.grad.double(), theirs.grad.double(), atol=ROUNDED, rtol=0)


def test_gradient_is_that_of_the_value_for_targets_of_any_mass(pair):
    ids, p_top, p_tail = (
        torch.tensor([[3, 1], [0, 2]]),
        torch.tensor([[0.3, 0.1], [0.5, 0.2]]),
        torch.tensor([0.2, 0.9]),
    )
    ours, theirs = pair[0][:2].clone().requires_grad_(), pair[0][:2].double().clone().requires_grad_()
    bucketed_divergence(ours, TeacherTargets(ids, p_top.log(), p_tail.log()), temperature=1.0).backward()
    q = torch.softmax(theirs, dim=-1)
    q_top = q.gather(-1, ids)
    value = (p_top * (p_top / q_top).log()).sum(-1) + p_tail * (p_tail / (1 - q_top.sum(-1))).log()
    value.mean().backward()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=1e-6, rtol=1e-5)


def test_a_student_with_all_its_mass_on_the_top_has_a_finite_loss_and_is_drawn_back_to_the_tail():
    teacher = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().unsqueeze(0)
    student = torch.tensor([[0.0, 0.0, -60.0, -60.0]], requires_grad=True)
    loss = bucketed(student, teacher, temperature=1.0, top_k=2)
    loss.backward()
    assert loss.item() == pytest.approx(
        0.4 * math.log(0.8) + 0.3 * math.log(0.6) + 0.3 * (math.log(0.3) + 60.0), rel=1e-5
    )
    # q - p for the top; the tail's missing mass 0.3 is split as the student splits it.
    torch.testing.assert_close(student.grad, torch.tensor([[0.1, 0.2, -0.15, -0.15]]))


def test_a_student_whose_tail_underflows_counts_it_as_the_least_mass():
    teacher = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().unsqueeze(0)
    student = torch.tensor([[0.0, 0.0, -1e4, -1e4]], requires_grad=True)
    loss = bucketed(student, teacher, temperature=1.0, top_k=2)
    (2.0**24 * loss).backward()  # as an fp16 training scales it
    floored = 0.3 * (math.log(0.3) - math.log(LEAST_MASS / 2))
    assert loss.item() == pytest.approx(0.4 * math.log(0.8) + 0.3 * math.log(0.6) + floored, rel=1e-5)
    assert student.grad.isfinite().all()


def test_a_teacher_that_excludes_ids_gives_a_finite_loss():
    teacher = torch.tensor([[0.0, 1.0, -torch.inf, -torch.inf]])
    student = torch.zeros(1, 4)
    p = 1 / (1 + math.e)
    # For each k the excluded ids add nothing; in the tail they only take mass from the student.
    expected = p * math.log(p / 0.25) + (1 - p) * math.log((1 - p) / 0.25)
    for top_k in (2, 3, 4):
        assert float(bucketed(student, teacher, temperature=1.0, top_k=top_k)) == pytest.approx(expected, rel=1e-5)


def test_no_gradient_reaches_the_teacher_and_half_precision_comes_back_as_it_was(pair):
    student, teacher = pair[0].bfloat16().requires_grad_(), pair[1].clone().requires_grad_()
    bucketed(student, teacher, top_k=5).backward()
    assert student.grad.dtype == torch.bfloat16
    assert teacher.grad is None


def test_inputs_are_left_as_they_were(pair):
    student, teacher = pair[0].clone(), pair[1].clone()
    bucketed(student, teacher, temperature=1.0, top_k=5)
    assert torch.equal(student, pair[0])
    assert torch.equal(teacher, pair[1])


@pytest.mark.parametrize("top_k", [1, 8, 40])
def test_stored_targets_sum_to_one_and_are_near_the_true_ones(pair, top_k):
    targets = top_targets(pair[1], temperature=2.0, top_k=top_k)
    found = unpack_targets(*pack_targets(targets, vocabulary_size=40))
    assert torch.equal(found.ids, targets.ids)
    torch.testing.assert_close(found.log_tail, targets.log_tail, atol=0, rtol=0)
    torch.testing.assert_close(found.log_probabilities.exp().sum(-1) + found.log_tail.exp(), torch.ones(6))
    # float16 has 11 bits: differences below 8 are off by 2**-9 at most, the likeliest by far less.
    torch.testing.assert_close(found.log_probabilities, targets.log_probabilities, atol=2**-9 + ROUNDED, rtol=0)
    torch.testing.assert_close(found.log_probabilities[:, 0], targets.log_probabilities[:, 0], atol=5e-4, rtol=0)


@pytest.mark.parametrize(("vocabulary_size", "dtype"), [(65536, np.uint16), (65537, np.uint32)])
def test_ids_take_two_bytes_where_the_vocabulary_allows(vocabulary_size, dtype):
    last = vocabulary_size - 1
    targets = TeacherTargets(torch.tensor([[last, 0]]), torch.tensor([[-1.0, -2.0]]), torch.tensor([-0.7]))
    packed = pack_targets(targets, vocabulary_size=vocabulary_size)
    assert packed[0].dtype == dtype
    assert unpack_targets(*packed).ids.tolist() == [[last, 0]]
    assert sum(part.nbytes for part in packed) == bytes_per_position(2, vocabulary_size)


def test_bytes_of_a_position_equal_hand_values():
    assert bytes_per_position(64, 50265) == 64 * 2 + 64 * 2 + 4 == 260
    assert bytes_per_position(64, 250002) == 64 * 4 + 64 * 2 + 4 == 388


def test_divergence_error_is_nothing_for_every_id_and_negative_otherwise(pair):
    full, kept = divergence_error(*pair, temperature=2.0, top_k=40)
    assert full == pytest.approx(float(distillation_loss(*pair, temperature=2.0)))
    assert kept == pytest.approx(full, abs=2e-3)
    assert divergence_error(*pair, temperature=2.0, top_k=10) == (
        full,
        pytest.approx(float(bucketed(*pair, top_k=10)), abs=2e-3),
    )


def test_divergence_error_keeps_ids_beyond_two_bytes():
    teacher = torch.zeros(1, 2**16 + 1)
    teacher[0, -1] = 20.0
    full, kept = divergence_error(torch.zeros_like(teacher), teacher, temperature=1.0, top_k=1)
    assert kept == pytest.approx(full, rel=1e-3)


def test_arguments_out_of_range_are_refused(pair):
    student, teacher = pair
    targets = top_targets(teacher, temperature=2.0, top_k=3)
    with pytest.raises(ValueError, match=r"^top_k is 41, allowed are 1 to 40, the size of the vocabulary$"):
        top_targets(teacher, temperature=2.0, top_k=41)
    for call in (
        lambda: top_targets(teacher, temperature=0.0, top_k=3),
        lambda: bucketed_divergence(student, targets, temperature=0.0),
    ):
        with pytest.raises(ValueError, match=r"^temperature is 0.0, allowed are values above 0$"):
            call()
    message = r"^student logits are of 5 positions and teacher targets of 6: were both made from one batch\?$"
    with pytest.raises(ValueError, match=message):
        bucketed_divergence(student[:5], targets, temperature=2.0)
    none = TeacherTargets(targets.ids[:0], targets.log_probabilities[:0], targets.log_tail[:0])
    with pytest.raises(ValueError, match=r"^no predicted position: the mean over none is not defined$"):
        bucketed_divergence(student[:0], none, temperature=2.0)
