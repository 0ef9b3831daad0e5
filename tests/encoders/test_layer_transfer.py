import numpy as np
import pytest
import torch

from bort_kedro.encoders.layer_transfer import (
    NARROWINGS,
    HiddenBasis,
    first_dimensions,
    largest_ones,
    main_directions,
    nearest_product,
)


def drawn(*sizes, seed=0):
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed))


def test_the_nearest_product_is_the_truncated_singular_value_decomposition():
    left, right = drawn(6, 9, seed=1), drawn(6, 11, seed=2)
    new_left, new_right = nearest_product(left, right, 2)
    assert (new_left.shape, new_right.shape) == ((2, 9), (2, 11))
    product = (left.double().T @ right.double()).numpy()
    turn, values, other_turn = np.linalg.svd(product)
    best = turn[:, :2] * values[:2] @ other_turn[:2]
    np.testing.assert_allclose((new_left.T @ new_right).numpy(), best, atol=1e-5)
    error = np.linalg.norm(product - (new_left.T @ new_right).double().numpy())
    np.testing.assert_allclose(error, np.sqrt((values[2:] ** 2).sum()), rtol=1e-6)


def test_the_nearest_product_is_nearer_than_a_thousand_others_of_its_rank():
    left, right = drawn(3, 4, seed=1), drawn(3, 5, seed=2)
    new_left, new_right = nearest_product(left, right, 1)
    product = left.T @ right
    error = (product - new_left.T @ new_right).norm()
    others = drawn(1000, 4, 1, seed=3) @ drawn(1000, 1, 5, seed=4)
    scales = (others * product).sum(dim=(1, 2)) / others.square().sum(dim=(1, 2))
    assert ((product - scales[:, None, None] * others).norm(dim=(1, 2)) > error).all()


def test_the_nearest_product_with_room_enough_is_the_given_one_itself():
    left, right = drawn(3, 4), drawn(3, 5)
    same_left, same_right = nearest_product(left, right, 3)
    assert same_left is left
    assert same_right is right


def test_a_product_of_lower_rank_than_allowed_comes_back_whole():
    left, right = drawn(6, 2, seed=1), drawn(6, 5, seed=2)
    new_left, new_right = nearest_product(left, right, 4)
    assert len(new_left) == len(new_right) == 2
    torch.testing.assert_close(new_left.T @ new_right, left.T @ right)


def test_main_directions_span_the_top_right_singular_vectors_of_words_and_positions():
    words, positions = drawn(40, 6, seed=1) * torch.tensor([3.0, 0.1, 2.0, 0.1, 0.1, 0.1]), drawn(5, 6, seed=2)
    columns = main_directions(words, positions, 3).columns.numpy()
    rows = np.concatenate([words.double().numpy() / 40**0.5, positions.double().numpy() / 5**0.5])
    _, _, directions = np.linalg.svd(rows, full_matrices=False)
    np.testing.assert_allclose(columns.T @ columns, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(columns @ columns.T, directions[:3].T @ directions[:3], atol=1e-10)


def test_main_directions_keep_a_plane_that_only_positions_use():
    words, positions = torch.zeros(40, 4), torch.zeros(3, 4)
    words[:, :2] = drawn(40, 2, seed=1)
    words[:, 2] = 0.001 * drawn(40, seed=2)
    positions[:, 3] = torch.tensor([1.0, -1.0, 1.0])
    columns = main_directions(words, positions, 3).columns
    torch.testing.assert_close(columns.abs(), torch.eye(4).double()[:, [0, 1, 3]], atol=1e-3, rtol=0)


def test_main_directions_are_turned_as_near_to_dimensions_of_the_teacher_as_their_span_allows():
    words, positions = drawn(40, 6, seed=1), drawn(5, 6, seed=2)
    columns = main_directions(words, positions, 3).columns
    nearest = columns.norm(dim=1).topk(3).indices.sort().values
    distance = (columns[nearest] - torch.eye(3)).norm()
    turns = torch.linalg.qr(drawn(1000, 3, 3, seed=3).double()).Q
    assert ((columns[nearest] @ turns - torch.eye(3)).norm(dim=(1, 2)) >= distance).all()


def test_main_directions_of_a_width_that_is_kept_are_its_own_dimensions():
    basis = main_directions(drawn(40, 6, seed=1), drawn(5, 6, seed=2), 6)
    torch.testing.assert_close(basis.columns, torch.eye(6).double(), atol=1e-12, rtol=0)


def test_first_dimensions_cut_rows_gains_and_biases():
    basis, norm = first_dimensions(drawn(7, 5), drawn(4, 5), 3), torch.nn.LayerNorm(5)
    norm.weight.data, norm.bias.data = drawn(5, seed=1), drawn(5, seed=2)
    rows = drawn(4, 5, seed=3)
    assert torch.equal(basis.project(rows), rows[:, :3])
    gain, bias = basis.layer_norm(norm)
    assert torch.equal(gain, norm.weight[:3])
    assert torch.equal(bias, norm.bias[:3])


def test_a_layer_norm_keeps_the_diagonal_of_its_gain_in_the_basis():
    basis = HiddenBasis(torch.tensor([[0.6, 0.0], [0.8, 0.0], [0.0, 1.0]]))
    norm = torch.nn.LayerNorm(3)
    norm.weight.data, norm.bias.data = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([1.0, 1.0, -1.0])
    gain, bias = basis.layer_norm(norm)
    # 0.36 * 1 + 0.64 * 2 and 5; the bias is 0.6 + 0.8 and -1.
    torch.testing.assert_close(gain, torch.tensor([1.64, 5.0]))
    torch.testing.assert_close(bias, torch.tensor([1.4, -1.0]))


def test_the_largest_are_kept_in_their_order():
    assert largest_ones(torch.tensor([1.0, 5.0, 2.0, 9.0, 0.5]), 3).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("narrowing", "teacher_size", "student_size", "scale"),
    [("svd", 16, 4, 0.5), ("svd", 4, 16, 2.0), ("truncation", 16, 4, 1.0), ("truncation", 4, 16, 2.0)],
)
def test_queries_make_up_for_the_division_by_another_head_size(narrowing, teacher_size, student_size, scale):
    assert NARROWINGS[narrowing].score_scale(teacher_size, student_size) == scale
