import pytest
import torch

from bort_kedro.training.optimizer import ADAM_BETA1, build_optimizer, clip_weights, set_step
from bort_kedro.training.settings import OptimizationSettings

SETTINGS = OptimizationSettings(
    num_steps=20,
    learning_rate=1e-2,
    warmup_share=0.2,
    weight_decay=0.1,
    adam_beta2=0.9,
    adam_epsilon=1e-3,
    max_gradient_norm=1.0,
    seed=0,
    mixed_precision="no",
    checkpoint_every_steps=10,
    schedule="linear",
    bias_correction=True,
    gradient_accumulation_steps=1,
)


def gradients(step, parameters):
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=generator) for p in parameters]


def trained(settings):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = build_optimizer(model, settings)
    rates = []
    for step in range(settings.num_steps):
        rates.append(set_step(optimizer, settings, step))
        for parameter, gradient in zip(model.parameters(), gradients(step, model.parameters()), strict=True):
            parameter.grad = gradient
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()], rates


def by_the_formula(settings):
    """BertAdam as published: p -= lr * (m / (sqrt(v) + eps) + decay * p), moments uncorrected; or AdamW."""
    torch.manual_seed(0)
    weights = [parameter.detach().clone() for parameter in torch.nn.Linear(3, 2).parameters()]
    first, second = ([torch.zeros_like(p) for p in weights] for _ in range(2))
    for step in range(settings.num_steps):
        peak, warm = settings.learning_rate, int(settings.warmup_share * settings.num_steps)
        left = (settings.num_steps - step) / (settings.num_steps - warm)
        rate = peak * ((step + 1) / (warm + 1) if step < warm else left)
        for index, gradient in enumerate(gradients(step, weights)):
            first[index] = ADAM_BETA1 * first[index] + (1 - ADAM_BETA1) * gradient
            second[index] = settings.adam_beta2 * second[index] + (1 - settings.adam_beta2) * gradient**2
            c1, c2 = (
                (1 - beta ** (step + 1)) if settings.bias_correction else 1
                for beta in (ADAM_BETA1, settings.adam_beta2)
            )
            update = (first[index] / c1) / ((second[index] / c2).sqrt() + settings.adam_epsilon)
            decay = settings.weight_decay if weights[index].ndim > 1 else 0.0
            weights[index] = weights[index] - rate * (update + decay * weights[index])
    return weights


@pytest.mark.parametrize("bias_correction", [True, False], ids=["AdamW", "BertAdam"])
def test_twenty_steps_equal_those_of_the_written_formula(bias_correction):
    settings = SETTINGS.changed(bias_correction=bias_correction)
    found, _ = trained(settings)
    for left, right in zip(found, by_the_formula(settings), strict=True):
        torch.testing.assert_close(left, right, atol=1e-6, rtol=1e-5)


def test_plain_descent_follows_the_gradient_alone():
    settings = SETTINGS.changed(optimizer="sgd")
    found, rates = trained(settings)
    assert rates == trained(SETTINGS)[1]
    torch.manual_seed(0)
    weights = [parameter.detach().clone() for parameter in torch.nn.Linear(3, 2).parameters()]
    for step, rate in enumerate(rates):
        for weight, gradient, decay in zip(weights, gradients(step, weights), (0.1, 0.0), strict=True):
            weight.sub_(rate * (gradient + decay * weight))
    for left, right in zip(found, weights, strict=True):
        torch.testing.assert_close(left, right, atol=1e-6, rtol=1e-5)


def test_weights_are_clipped_to_the_largest_that_is_allowed_and_left_alone_without_one():
    model = torch.nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-2.0, 0.25, 0.75]]))
        model.bias.fill_(1.5)
    clip_weights(model, SETTINGS)
    assert model.weight.tolist() == [[-2.0, 0.25, 0.75]]
    clip_weights(model, SETTINGS.changed(max_weight=0.5))
    assert (model.weight.tolist(), model.bias.tolist()) == ([[-0.5, 0.25, 0.5]], [0.5])


@pytest.mark.parametrize("precision", ["fp16", "auto"])
def test_steps_that_fp16_skips_cannot_be_told_without_moments(precision):
    with pytest.raises(ValueError, match=f"mixed_precision is {precision} with optimizer sgd; allowed are no and bf16"):
        SETTINGS.changed(optimizer="sgd", mixed_precision=precision)


def test_the_two_differ_where_the_moments_are_young():
    corrected, _ = trained(SETTINGS)
    published, _ = trained(SETTINGS.changed(bias_correction=False))
    assert float((corrected[0] - published[0]).abs().max()) > 1e-3


def test_the_learning_rate_told_is_the_scheduled_one_with_and_without_bias_correction():
    _, corrected = trained(SETTINGS)
    _, published = trained(SETTINGS.changed(bias_correction=False))
    assert corrected == published
    assert corrected[:5] == pytest.approx([2e-3, 4e-3, 6e-3, 8e-3, 1e-2])
    assert corrected[-1] == pytest.approx(1e-2 / 16)


def test_steps_that_were_skipped_leave_the_published_update_as_it_is():
    """fp16 skips the first two steps: AdamW's own count begins at the third, the schedule does not wait."""
    settings = SETTINGS.changed(bias_correction=False, weight_decay=0.0)
    parameter = torch.nn.Parameter(torch.zeros(1, 1))
    model = torch.nn.Module()
    model.weight = parameter
    optimizer = build_optimizer(model, settings)
    parameter.grad = torch.ones(1, 1)
    rate = set_step(optimizer, settings, 2, num_skipped=2)
    optimizer.step()
    assert rate == pytest.approx(6e-3)
    assert parameter.item() == pytest.approx(-rate * 0.1 / (0.1**0.5 + 1e-3), rel=1e-5)
