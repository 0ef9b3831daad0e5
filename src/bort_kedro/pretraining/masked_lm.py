"""Masked-LM training and evaluation of one encoder on token blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bort_kedro.encoders.families import logits_of, predicted_logits, predicted_states, undecoded
from bort_kedro.pretraining.baselines import CountBaselines
from bort_kedro.pretraining.chunked_head import chunked_head_loss, is_chunked
from bort_kedro.pretraining.losses import masked_accuracy, masked_lm_loss, soft_cross_entropy
from bort_kedro.pretraining.masked_blocks import Batch, MaskedBlocks
from bort_kedro.progress import track
from bort_kedro.statistics import clustered_standard_error
from bort_kedro.text.batching import plan_epoch

if TYPE_CHECKING:
    from transformers import BertForMaskedLM, PreTrainedModel


def batch_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Logits at the predicted positions of a batch, (N, V), in the precision of the pass."""
    return predicted_logits(model, **_asked(batch))


def batch_undecoded(model: PreTrainedModel, batch: Batch) -> Tensor:
    """(N, H) that `batch_logits` are made of, see `encoders.families.undecoded`."""
    return undecoded(model, predicted_states(model, **_asked(batch)))


def _asked(batch: Batch) -> dict[str, Any]:
    """What `predicted_logits` and `predicted_states` are told of a batch."""
    names = ("input_ids", "attention_mask", "predicted", "document_ids")
    return {name: batch.get(name) for name in names} | {"queries": (batch["query_slots"], batch["query_positions"])}


def student_logits(model: nn.Module, batch: Batch) -> Tensor:
    """`batch_logits` in float32, as losses take them."""
    return batch_logits(model, batch).float()


def masked_lm_objective(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Cross-entropy of the predicted positions, with the accuracy beside it, and of the tokens that are reconstructed.

    Of these the head is shown the last state of their row's first token and the embedding of their position, as the
    decoder of a denoising autoencoder is shown a text through one vector (Wang et al. 2021, TSDAE, arXiv 2104.06979).
    What a classifier reads has to say something of the whole text then. Our extension, docs/decisions/0027.

    Args:
        model: A `BertForMaskedLM`.
        batch: On its device.

    Returns:
        The mean over both is the ``loss``.
    """
    student, targets = cast("BertForMaskedLM", model), batch["targets"]
    places = batch.get("reconstructed")
    if places is None:
        loss, accuracy = _told(student, predicted_states(student, **_asked(batch)), targets)
        return {"loss": loss, "masked_accuracy": accuracy}
    num_rows, length = batch["input_ids"].shape
    firsts = torch.arange(num_rows, device=places.device) * length
    asked = _asked(batch) | {"predicted": torch.cat([batch["predicted"], firsts])}
    states, of_first = predicted_states(student, **asked).split([len(targets), num_rows])
    rows, columns = places.div(length, rounding_mode="floor"), places.remainder(length)
    summed_up = of_first.index_select(0, rows) + student.base_model.embeddings.position_embeddings(columns)
    loss, accuracy = _told(student, states, targets)
    # Of joined documents a part of a step may have none; a mean over nothing is no number.
    reconstruction_loss = of_first.sum() * 0.0
    if len(places):
        reconstruction_loss, _ = _told(student, summed_up, batch["reconstructed_targets"])
    share = len(places) / (len(targets) + len(places))
    return {
        "loss": (1 - share) * loss + share * reconstruction_loss,
        "masked_accuracy": accuracy,
        "reconstruction_loss": reconstruction_loss,
    }


def _told(student: BertForMaskedLM, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of what the head makes of states (N, H), with the true ids (N,), and the accuracy."""
    if is_chunked(targets.device, len(targets), student.config.vocab_size):
        head = chunked_head_loss(undecoded(student, states), student.cls.predictions.decoder, targets)
        return head.loss, head.accuracy
    logits = logits_of(student, states).float()
    return masked_lm_loss(logits, targets), masked_accuracy(logits, targets)


@dataclass(frozen=True)
class MaskedLmScore:
    """Quality on fixed masks of a held-out split.

    Args:
        accuracy: Share of predicted positions whose token comes first.
        accuracy_standard_error: Of that share, blocks taken as the independent unit.
        loss: Mean cross-entropy, in nats; its exponential is the masked perplexity.
        loss_standard_error: Of that mean, blocks taken as the independent unit.
        others: Means of what else was measured, each with its standard error as ``<name>_standard_error``.
        num_predicted: Positions scored.
        is_correct: (N,) per position, in a fixed order, for paired comparisons.
        block_of: (N,) the block each position lies in.
    """

    accuracy: float
    accuracy_standard_error: float
    loss: float
    loss_standard_error: float
    others: dict[str, float]
    num_predicted: int
    is_correct: np.ndarray
    block_of: np.ndarray

    def errors(self) -> dict[str, float]:
        """What a search may take as the error: share predicted wrongly, loss and others, with standard errors."""
        return {
            "error": 1.0 - self.accuracy,
            "error_standard_error": self.accuracy_standard_error,
            "loss": self.loss,
            "loss_standard_error": self.loss_standard_error,
            **self.others,
        }


# What may be measured at the predicted positions: from the logits (N, V) of the scored model and the batch to (N,).
PositionMeasure = Callable[[Tensor, Batch], Tensor]


def divergence_from(reference: Callable[[Batch], Tensor]) -> PositionMeasure:
    """`soft_cross_entropy` with what another encoder says at the same positions, its logits (N, V) for a batch."""

    def measure(logits: Tensor, batch: Batch) -> Tensor:
        return soft_cross_entropy(logits, reference(batch))

    return measure


# Masks of an evaluation never meet those of a training: they come from an epoch that no training reaches.
EVALUATION_EPOCH = 2**31 - 1


def evaluation_batches(
    data: MaskedBlocks, *, batch_tokens: int, description: str = ""
) -> Iterator[tuple[np.ndarray, Batch]]:
    """``(block indices, batch)`` over a whole split, each block masked once, in a fixed order."""
    batches = plan_epoch(data.blocks.lengths, batch_tokens=batch_tokens, seed=0, epoch=0)
    for indices in track(batches, description, total=len(batches)):
        yield indices, data.batch(indices.tolist(), epoch=EVALUATION_EPOCH)


def evaluate_masked_lm(
    model: PreTrainedModel,
    data: MaskedBlocks,
    *,
    batch_tokens: int,
    description: str = "",
    logits_of: Callable[[Batch], Tensor] | None = None,
    others: Mapping[str, PositionMeasure] = MappingProxyType({}),
) -> MaskedLmScore:
    """Score a model on every block of a split, each masked once, the same way for every model.

    Args:
        model: Left in evaluation mode.
        data: The split and its masks.
        batch_tokens: Padded tokens of a pass; decides speed and the order of the positions, not the score.
        description: For the progress bar; empty for silence.
        logits_of: The model's logits (N, V) for a batch on its device, where they are not simply its own: those of a
            teacher with another vocabulary.
        others: What is measured beside accuracy and loss, by name.
    """
    measures = {"loss": _losses, **others}
    values: dict[str, list[np.ndarray]] = {name: [] for name in measures}
    device = next(model.parameters()).device
    model.eval()
    correct, block_of = [], []
    for indices, batch in evaluation_batches(data, batch_tokens=batch_tokens, description=description):
        inputs = {name: value.to(device) for name, value in batch.items()}
        with torch.inference_mode():
            logits = logits_of(inputs) if logits_of else student_logits(model, inputs)
            for name, measure in measures.items():
                values[name].append(measure(logits, inputs).cpu().numpy())
        correct.append((logits.argmax(-1) == inputs["targets"]).cpu().numpy())
        block_of.append(indices[(batch["predicted"] // batch["input_ids"].shape[1]).numpy()])
    is_correct, blocks = np.concatenate(correct), np.concatenate(block_of)
    found = {name: np.concatenate(parts) for name, parts in values.items()}
    means = {name: float(value.mean()) for name, value in found.items()}
    noise = {f"{name}_standard_error": clustered_standard_error(value, blocks) for name, value in found.items()}
    return MaskedLmScore(
        accuracy=float(is_correct.mean()),
        accuracy_standard_error=clustered_standard_error(is_correct, blocks),
        loss=means.pop("loss"),
        loss_standard_error=noise.pop("loss_standard_error"),
        others=means | noise,
        num_predicted=len(is_correct),
        is_correct=is_correct,
        block_of=blocks,
    )


def _losses(logits: Tensor, batch: Batch) -> Tensor:
    return cross_entropy(logits, batch["targets"], reduction="none")


def score_baselines(data: MaskedBlocks, baselines: CountBaselines, *, batch_tokens: int) -> dict[str, np.ndarray]:
    """Whether each baseline is right at each position, in the order of `evaluate_masked_lm`: (N,) by name."""
    correct: dict[str, list[np.ndarray]] = {"unigram": [], "bigram": []}
    for _, batch in evaluation_batches(data, batch_tokens=batch_tokens):
        said = baselines.predict(batch["input_ids"].numpy(), batch["predicted"].numpy())
        for name, ids in zip(correct, said, strict=True):
            correct[name].append(ids == batch["targets"].numpy())
    return {name: np.concatenate(parts) for name, parts in correct.items()}
