import math

import pytest
import torch
from torch.nn.functional import kl_div

from bort_kedro.text.vocabulary_map import VocabularyMap, between

TEACHER = ["<s>", "<unk>", "the", "mean", "array", "axis", "sum"]
STUDENT = ["<unk>", "the", "<s>", "sum"]


def example():
    return between(STUDENT, TEACHER, "<unk>")


def random_logits(seed, rows=6, columns=7, scale=4.0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * scale


def pushed_forward(probabilities, vocabulary_map):
    """Id by id, from the definition."""
    student_of = {teacher_id: number for number, teacher_id in enumerate(vocabulary_map.kept.tolist())}
    result = torch.zeros(len(probabilities), len(student_of), dtype=probabilities.dtype)
    for teacher_id in range(vocabulary_map.num_teacher_ids):
        result[:, student_of.get(teacher_id, vocabulary_map.rest_id)] += probabilities[:, teacher_id]
    return result


def divergence(first, second):
    return kl_div(second.log(), first, reduction="none").sum(dim=-1)


def test_tokens_are_matched_by_their_text():
    vocabulary_map = example()
    assert vocabulary_map.kept.tolist() == [1, 2, 0, 6]
    assert vocabulary_map.dropped.tolist() == [3, 4, 5]
    assert (vocabulary_map.num_teacher_ids, vocabulary_map.rest_id) == (7, 0)
    assert not vocabulary_map.is_identity


def test_student_ids_of_any_shape_become_those_of_the_teacher():
    assert example().to_teacher_ids(torch.tensor([[0, 1], [3, 2]])).tolist() == [[1, 2], [6, 0]]


def test_four_ids_equal_the_values_by_hand():
    # Odds of 1, 2, 3, 4; ids 1 and 3 fall on id 0: 1 + 2 + 4 = 7, and id 2 keeps 3.
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).log()
    vocabulary_map = VocabularyMap(torch.tensor([2, 0]), num_teacher_ids=4, rest_id=1)
    mapped = vocabulary_map.to_student_logits(logits)
    torch.testing.assert_close(mapped, torch.tensor([[math.log(3), math.log(7)]]))
    torch.testing.assert_close(vocabulary_map.rest_mass(logits), torch.tensor([6 / 10]))


@pytest.mark.parametrize("padding", [0, 3])
def test_probabilities_equal_the_sum_over_the_ids_that_fall_together(padding):
    logits = random_logits(0, columns=len(TEACHER) + padding)
    mapped = example().to_student_logits(logits).softmax(dim=-1)
    expected = pushed_forward(logits[:, : len(TEACHER)].softmax(dim=-1), example())
    torch.testing.assert_close(mapped, expected)
    torch.testing.assert_close(mapped.sum(dim=-1), torch.ones(len(logits)))


def test_a_student_that_learns_the_softened_map_believes_in_the_rest_as_much_as_the_teacher_does():
    """Softening first would pile the tails of all dropped ids onto one, and unsoftened use would square them."""
    logits = torch.zeros(1, 4000)
    logits[0, 5] = 8.0
    vocabulary_map = VocabularyMap(torch.arange(1000), num_teacher_ids=4000, rest_id=3)
    softened = (vocabulary_map.to_student_logits(logits) / 2).softmax(dim=-1)
    learned = (2 * softened.log()).softmax(dim=-1)
    # 3000 dropped ids and the unknown token's own, of odds 1 each, beside 3998 others and one of odds exp(8).
    assert learned[0, 3].item() == pytest.approx(3001 / (3999 + math.exp(8)), rel=1e-4)


def test_rest_mass_is_what_the_unknown_token_gains():
    logits = random_logits(1, columns=9)
    probabilities = logits[:, :7].softmax(dim=-1)
    torch.testing.assert_close(example().rest_mass(logits), probabilities[:, [3, 4, 5]].sum(dim=-1))
    mapped = example().to_student_logits(logits).softmax(dim=-1)
    torch.testing.assert_close(mapped[:, 0] - probabilities[:, 1], example().rest_mass(logits))


@pytest.mark.parametrize("seed", range(20))
def test_no_divergence_grows_on_the_way_to_the_student(seed):
    first, second = random_logits(seed).double(), random_logits(seed + 100).double()
    before = divergence(first.softmax(dim=-1), second.softmax(dim=-1))
    mapped = [example().to_student_logits(logits).softmax(dim=-1) for logits in (first, second)]
    after = divergence(*mapped)
    assert (after <= before + 1e-6).all()
    assert (after >= -1e-6).all()
    assert (after < before - 1e-3).any()


def test_dropped_ids_with_huge_and_with_no_odds_stay_finite():
    vocabulary_map = VocabularyMap(torch.tensor([0, 1]), num_teacher_ids=4, rest_id=1)
    logits = torch.tensor([[0.0, -1e4, 1e4, -1e4], [0.0, 1.0, -math.inf, -math.inf]])
    mapped = vocabulary_map.to_student_logits(logits)
    torch.testing.assert_close(mapped, torch.tensor([[0.0, 1e4], [0.0, 1.0]]))
    torch.testing.assert_close(vocabulary_map.rest_mass(logits), torch.tensor([1.0, 0.0]))


def test_a_map_that_changes_nothing_returns_the_very_input():
    vocabulary_map = between(TEACHER, TEACHER, None)
    assert vocabulary_map.is_identity
    logits, ids = random_logits(2), torch.tensor([[3, 1]])
    assert vocabulary_map.to_student_logits(logits) is logits
    assert vocabulary_map.to_teacher_ids(ids) is ids
    assert vocabulary_map.rest_mass(logits).tolist() == [0.0] * len(logits)


def test_a_map_that_changes_nothing_cuts_padded_columns_off():
    logits = random_logits(3, columns=10)
    mapped = between(TEACHER, TEACHER, "<unk>").to_student_logits(logits)
    assert torch.equal(mapped, logits[:, :7])


def test_another_order_of_the_same_tokens_needs_no_unknown_token():
    vocabulary_map = between(["b", "c", "a"], ["a", "b", "c"], None)
    assert not vocabulary_map.is_identity
    mapped = vocabulary_map.to_student_logits(torch.tensor([[1.0, 2.0, 3.0]]))
    assert mapped.tolist() == [[2.0, 3.0, 1.0]]
    assert vocabulary_map.rest_mass(torch.zeros(2, 3)).tolist() == [0.0, 0.0]


def test_teacher_logits_are_left_as_they_were_and_results_are_float32():
    logits = random_logits(4).bfloat16()
    before = logits.clone()
    assert example().to_student_logits(logits).dtype == torch.float32
    assert between(TEACHER, TEACHER, None).to_student_logits(logits).dtype == torch.float32
    assert example().rest_mass(logits).dtype == torch.float32
    assert torch.equal(logits, before)


def test_a_map_on_another_device_is_the_same_map():
    moved, logits = example().to("cpu"), random_logits(5)
    assert (moved.kept.device.type, moved.num_teacher_ids, moved.rest_id) == ("cpu", 7, 0)
    assert torch.equal(moved.to_student_logits(logits), example().to_student_logits(logits))


def test_a_token_that_the_teacher_lacks_is_named():
    with pytest.raises(ValueError, match="lacks") as caught:
        between(["<unk>", "the", "médian", "x1", "x2", "x3", "x4", "x5"], TEACHER, "<unk>")
    assert str(caught.value) == (
        "the teacher lacks 6 of the student's 8 tokens, such as 'médian', 'x1', 'x2', 'x3', 'x4'"
    )


@pytest.mark.parametrize("unknown", [None, "<other>"])
def test_dropping_ids_without_an_unknown_token_is_refused(unknown):
    with pytest.raises(ValueError, match="dropped") as caught:
        between(STUDENT, TEACHER, unknown)
    assert str(caught.value) == (
        "3 of the teacher's 7 ids are dropped and rest_id is None: it must be one of the student's ids, that of its "
        "unknown token"
    )


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (torch.tensor([0.0]), "kept is torch.float32 of shape (1,), allowed is int64 of shape (V_student,)"),
        (torch.tensor([0, 4]), "kept has ids from 0 to 4, allowed are 0 to 3"),
        (torch.tensor([1, 1, 2]), "kept names 1 teacher id(s) more than once"),
    ],
)
def test_ids_that_make_no_map_are_refused(kept, message):
    with pytest.raises(ValueError, match="kept") as caught:
        VocabularyMap(kept, num_teacher_ids=4, rest_id=0)
    assert str(caught.value) == message


def test_logits_with_too_few_columns_are_refused():
    for call in (example().rest_mass, example().to_student_logits):
        with pytest.raises(ValueError, match="columns") as caught:
            call(torch.zeros(2, 6))
        assert str(caught.value) == (
            "teacher logits have shape (2, 6), at least 7 columns are needed, one for each id of the "
            "teacher's tokenizer"
        )
