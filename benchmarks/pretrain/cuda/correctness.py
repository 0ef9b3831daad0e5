"""Whether a device computes what the CPU's tests demand: overflows in fp16, resumed trainings, the head, padding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmarks.page import Figure
from benchmarks.pretrain.cuda.bench import Bench
from benchmarks.pretrain.cuda.findings import Found
from benchmarks.pretrain.cuda.memory import KeptState
from benchmarks.pretrain.material import Setting, encoder, random_tokens, settings_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bort_kedro.pretraining.masked_blocks import MaskedBlocks
    from bort_kedro.training.settings import OptimizationSettings

NUM_STEPS = 8
# Steps, from 0, whose gradient is made infinite.
OVERFLOWS = (0, 5)
LEARNING_RATE = 1e-2
# Of the norm of a difference by that of what is right; bf16 has eight bits of mantissa.
TOLERANCES = {"no": 1e-4, "bf16": 2e-2}
# How far a resumed training may be from the uninterrupted one, in differences of two uninterrupted ones: kernels that
# add in no fixed order make some, and generators that were not put back make thousands.
TIMES_REPEATED = 10.0


def overflows_are_skipped(bench: Bench) -> Found:
    """fp16 skips the steps whose gradient is infinite and no others; AdamW and BertAdam count those taken alone.

    One weight with a gradient of 1 is trained: AdamW then moves it by the learning rate at each step that is taken,
    and by another length if its t counts more or fewer of them. BertAdam's way follows from its formula.
    """
    faults = {name: _one_weight_fault(is_corrected) for name, is_corrected in (("AdamW", True), ("BertAdam", False))}
    skipped, losses = _encoder_with_overflows(bench.sizes.checked)
    expected = [step + 1 for step in OVERFLOWS]
    # Others may be skipped while the scale of the loss is found; the last one was taken.
    goes_on = set(expected) <= set(skipped) and NUM_STEPS not in skipped and all(map(math.isfinite, losses))
    figures = [
        *(Figure(f"fp16, {name}: weight off its formula", off, "", 1e-5, off <= 1e-5) for name, off in faults.items()),
        Figure("fp16, encoder: steps skipped", float(len(skipped)), "steps", float(len(expected)), goes_on),
    ]
    return Found(
        f"of {NUM_STEPS} steps, {_steps(expected)} made to overflow: an encoder skipped {_steps(skipped)}, its loss "
        f"went from {losses[0]:.3f} to {losses[-1]:.3f}; one weight ended "
        + " and ".join(f"{off:.1e} off {name}'s formula" for name, off in faults.items()),
        figures,
    )


def _steps(numbers: list[int]) -> str:
    return f"step {', '.join(map(str, numbers))}" if numbers else "none"


def _half(setting: Setting, **changes: Any) -> OptimizationSettings:
    fixed = {"num_steps": NUM_STEPS, "warmup_share": 0.25, "weight_decay": 0.0, "max_gradient_norm": 10.0}
    return settings_of(setting, **fixed, mixed_precision="fp16", **changes).optimization


def _one_weight_fault(is_corrected: bool) -> float:
    import torch

    from bort_kedro.training.loop import train
    from bort_kedro.training.optimizer import ADAM_BETA1

    settings = _half(Setting(), learning_rate=LEARNING_RATE, bias_correction=is_corrected)
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)

    def loss(net: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        weight = net.weight.sum()
        return {"loss": _infinite_slope(weight) if batch["overflows"] else weight}

    train(model, loss, lambda step: {"overflows": torch.tensor(step in OVERFLOWS)}, settings, description="")
    # 2 steps up and the peak, then down to 0: the schedule knows all steps.
    rates = [LEARNING_RATE * factor for factor in (1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6)]
    weight, first, second = 1.0, 0.0, 0.0
    for step, rate in enumerate(rates):
        if step not in OVERFLOWS:
            first, second = ADAM_BETA1 * first + 1 - ADAM_BETA1, settings.adam_beta2 * (second - 1) + 1
            move = 1.0 if is_corrected else first / (second**0.5 + settings.adam_epsilon)
            weight -= rate * move
    return abs(model.weight.item() - weight)


def _infinite_slope(value: Tensor) -> Tensor:
    """0 with a gradient that is infinite."""
    return (value - value.detach()).sqrt()


def _encoder_with_overflows(setting: Setting) -> tuple[list[int], list[float]]:
    """Steps, from 1, that were skipped, and the losses of all."""
    import torch

    from bort_kedro.pretraining.masked_lm import masked_lm_objective
    from bort_kedro.training.loop import train

    batch_at = _blocks(setting).training_batches(batch_tokens=setting.step_tokens)

    def loss(net: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        found = masked_lm_objective(net, batch)
        if batch["overflows"]:
            found["loss"] = found["loss"] + _infinite_slope(next(net.parameters()).sum())
        return found

    def marked(step: int) -> dict[str, Tensor]:
        return {**batch_at(step), "overflows": torch.tensor(step in OVERFLOWS)}

    rows = train(encoder(setting.shape, setting), loss, marked, _half(setting), description="")
    skipped = [row["step"] for row in rows.history if not math.isfinite(row["gradient_norm"])]
    return skipped, [row["loss"] for row in rows.history]


def _blocks(setting: Setting) -> MaskedBlocks:
    from bort_kedro.pretraining.masked_blocks import MaskedBlocks

    tokens = random_tokens(setting, num_blocks=NUM_STEPS * setting.batch_size)
    return MaskedBlocks(tokens.splits["train"], tokens.vocabulary, 0, setting.masked_share)


def resumed_equals_uninterrupted(bench: Bench) -> Found:
    """A training that stopped in the middle, its state kept, ends with the weights of one that never did."""
    from bort_kedro.pretraining.masked_lm import masked_lm_objective
    from bort_kedro.training.loop import train

    setting, precision = bench.sizes.checked, bench.sizes.precision
    batch_at = _blocks(setting).training_batches(batch_tokens=setting.step_tokens)
    settings = settings_of(setting, num_steps=NUM_STEPS, mixed_precision=precision).optimization

    def weights(*stops: int) -> dict[str, Tensor]:
        kept = KeptState()
        for stop in stops:
            model = encoder(setting.shape, setting)
            train(model, masked_lm_objective, batch_at, settings, states=kept, stop_at=stop, description="")
        return {name: value.detach().float().cpu() for name, value in model.named_parameters()}

    whole, repeated, resumed = weights(NUM_STEPS), weights(NUM_STEPS), weights(NUM_STEPS // 2, NUM_STEPS)
    apart, noise = _largest_difference(resumed, whole), _largest_difference(repeated, whole)
    equal = "all weights equal" if apart == 0 else f"the largest difference of a weight is {apart:.1e}"
    figures = [
        Figure("resumed: largest difference of a weight", apart, "", met=apart <= TIMES_REPEATED * noise),
        Figure("repeated: largest difference of a weight", noise, ""),
    ]
    return Found(
        f"stopped after {NUM_STEPS // 2} of {NUM_STEPS} steps: {equal}; of two uninterrupted {noise:.1e}", figures
    )


def _largest_difference(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    return max(float((left[name] - right[name]).abs().max()) for name in right)


def chunked_head_equals_whole(bench: Bench) -> Found:
    """Loss and gradients of the head in chunks, with its whole tiles on CUDA, against those of the whole table."""
    import torch

    from bort_kedro.pretraining.chunked_head import chunked_head_loss
    from bort_kedro.pretraining.losses import masked_lm_loss
    from bort_kedro.training.threads import autocast

    sizes, device = bench.sizes, torch.device(bench.device.kind)
    torch.manual_seed(0)
    hidden = max(shape.hidden_size for shape in sizes.shapes.values())
    decoder = torch.nn.Linear(hidden, sizes.vocabulary_size).to(device)
    states = torch.randn(sizes.head_positions, hidden, device=device, requires_grad=True)
    targets = torch.randint(sizes.vocabulary_size, (sizes.head_positions,), device=device)
    inputs = [states, decoder.weight, decoder.bias]

    def parts(of_chunks: bool) -> list[Tensor]:
        if of_chunks:
            loss = chunked_head_loss(states, decoder, targets).loss
        else:
            loss = masked_lm_loss(decoder(states), targets)
        return [loss.detach(), *torch.autograd.grad(loss, inputs)]

    apart = {}
    for precision in ("no", sizes.precision):
        with autocast(device, precision):
            apart[precision] = max(map(_relative, parts(of_chunks=True), parts(of_chunks=False)))
    return _within("chunked head", apart, f"{sizes.head_positions:,} positions, loss and gradients")


def padding_changes_nothing(bench: Bench) -> Found:
    """Hidden states of texts of several lengths in one padded batch, against those of each by itself."""
    import torch

    from bort_kedro.training.threads import autocast

    setting, device = bench.sizes.checked, torch.device(bench.device.kind)
    model = encoder(setting.shape, setting).base_model.to(device).eval()
    blocks = random_tokens(setting, num_blocks=4).splits["train"]
    rows = torch.tensor([blocks[number].tolist() for number in range(4)], device=device)
    lengths = [max(2, setting.sequence_length * part // 4) for part in (1, 2, 3, 4)]
    mask = torch.arange(setting.sequence_length, device=device) < torch.tensor(lengths, device=device)[:, None]
    padded = torch.where(mask, rows, torch.full_like(rows, model.config.pad_token_id))
    apart = {}
    for precision in ("no", bench.sizes.precision):
        with torch.inference_mode(), autocast(device, precision):
            states = model(input_ids=padded, attention_mask=mask.long()).last_hidden_state
            alone = [
                model(input_ids=row[None, :length]).last_hidden_state[0]
                for row, length in zip(rows, lengths, strict=True)
            ]
        apart[precision] = max(
            _relative(state[:length], own) for state, length, own in zip(states, lengths, alone, strict=True)
        )
    return _within("padding", apart, f"rows of {', '.join(map(str, lengths))} tokens")


def _relative(found: Tensor, right: Tensor) -> float:
    """Norm of the difference by the norm of what is right."""
    return float((found.float() - right.float()).norm() / right.float().norm())


def _within(name: str, apart: dict[str, float], of_what: str) -> Found:
    figures = []
    for precision, off in apart.items():
        allowed = TOLERANCES[precision]
        figures.append(Figure(f"{name}: relative difference in {_title(precision)}", off, "", allowed, off <= allowed))
    said = ", ".join(f"{off:.1e} in {_title(precision)}" for precision, off in apart.items())
    return Found(f"{of_what}: largest relative difference {said}", figures)


def _title(precision: str) -> str:
    return "fp32" if precision == "no" else precision
