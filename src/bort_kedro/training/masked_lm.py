"""Masked-LM training and evaluation of one encoder on token blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from bort_kedro.core.baselines import CountBaselines
from bort_kedro.core.batching import BatchPlan, plan_epoch
from bort_kedro.core.losses import bort_pretraining_loss, masked_accuracy, masked_lm_loss
from bort_kedro.core.masking import IGNORED, mask_block
from bort_kedro.core.statistics import clustered_standard_error
from bort_kedro.core.tokens import TokenBlocks, Vocabulary
from bort_kedro.models.encoder import predicted_logits
from bort_kedro.progress import track

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class MaskedBlocks:
    """Blocks of one split, masked afresh each epoch from (seed, epoch, block)."""

    blocks: TokenBlocks
    vocabulary: Vocabulary
    seed: int
    masked_share: float

    def batch(self, indices: Sequence[int], *, epoch: int) -> Batch:
        """``input_ids``, ``attention_mask`` and ``labels``, each (B, L); L is the longest block of the batch."""
        is_ordinary = self.vocabulary.is_ordinary
        masked = [
            mask_block(
                self.blocks[index],
                seed=self.seed,
                epoch=epoch,
                block=int(index),
                mask_id=self.vocabulary.mask_id,
                is_ordinary=is_ordinary,
                share=self.masked_share,
            )
            for index in indices
        ]
        length = max(len(inputs) for inputs, _ in masked)
        input_ids = np.full((len(masked), length), self.vocabulary.pad_id, dtype=np.int64)
        attention_mask = np.zeros((len(masked), length), dtype=np.int64)
        labels = np.full((len(masked), length), IGNORED, dtype=np.int64)
        for row, (inputs, targets) in enumerate(masked):
            input_ids[row, : len(inputs)] = inputs
            attention_mask[row, : len(inputs)] = 1
            labels[row, : len(inputs)] = targets
        return {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(attention_mask),
            "labels": torch.from_numpy(labels),
        }

    def training_batches(self, *, batch_tokens: int) -> Callable[[int], Batch]:
        """The batch of a step, as a pure function of the step."""
        plan = BatchPlan(self.blocks.lengths, batch_tokens=batch_tokens, seed=self.seed)

        def batch_at(step: int) -> Batch:
            epoch, indices = plan.at(step)
            return self.batch(indices.tolist(), epoch=epoch)

        return batch_at


def masked_lm_objective(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Cross-entropy of the predicted positions, with the accuracy beside it."""
    is_predicted = batch["labels"] != IGNORED
    logits = predicted_logits(model, batch["input_ids"], batch["attention_mask"], is_predicted)
    targets = batch["labels"][is_predicted]
    return {"loss": masked_lm_loss(logits, targets), "masked_accuracy": masked_accuracy(logits, targets)}


def distillation_objective(
    teacher: BertForMaskedLM, *, temperature: float, masked_lm_weight: float, distillation_weight: float
) -> Callable[[nn.Module, Batch], dict[str, Tensor]]:
    """The pretraining loss of Bort under a live teacher, both heads on the predicted positions only."""
    teacher.eval()

    def objective(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        is_predicted = batch["labels"] != IGNORED
        inputs = batch["input_ids"], batch["attention_mask"], is_predicted
        with torch.inference_mode():
            teacher_logits = predicted_logits(teacher.to(batch["labels"].device), *inputs)
        logits = predicted_logits(model, *inputs)
        targets = batch["labels"][is_predicted]
        loss = bort_pretraining_loss(
            logits,
            teacher_logits.clone(),
            targets,
            temperature=temperature,
            masked_lm_weight=masked_lm_weight,
            distillation_weight=distillation_weight,
        )
        return {
            "loss": loss,
            "masked_lm_loss": masked_lm_loss(logits.detach(), targets),
            "masked_accuracy": masked_accuracy(logits, targets),
        }

    return objective


@dataclass(frozen=True)
class MaskedLmScore:
    """Quality on fixed masks of a held-out split.

    Args:
        accuracy: Share of predicted positions whose token comes first.
        accuracy_standard_error: Of that share, blocks taken as the independent unit.
        loss: Mean cross-entropy, in nats; its exponential is the masked perplexity.
        loss_standard_error: Of that mean, blocks taken as the independent unit.
        num_predicted: Positions scored.
        is_correct: (N,) per position, in a fixed order, for paired comparisons.
        block_of: (N,) the block each position lies in.
    """

    accuracy: float
    accuracy_standard_error: float
    loss: float
    loss_standard_error: float
    num_predicted: int
    is_correct: np.ndarray
    block_of: np.ndarray

    def errors(self) -> dict[str, float]:
        """What the search takes as the error: the share predicted wrongly, and the loss, with standard errors."""
        return {
            "error": 1.0 - self.accuracy,
            "error_standard_error": self.accuracy_standard_error,
            "loss": self.loss,
            "loss_standard_error": self.loss_standard_error,
        }


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
    model: BertForMaskedLM, data: MaskedBlocks, *, batch_tokens: int, description: str = ""
) -> MaskedLmScore:
    """Score a model on every block of a split, each masked once, the same way for every model.

    Args:
        model: Left in evaluation mode.
        data: The split and its masks.
        batch_tokens: Padded tokens of a pass; decides speed and the order of the positions, not the score.
        description: For the progress bar; empty for silence.
    """
    device = next(model.parameters()).device
    model.eval()
    correct, losses, block_of = [], [], []
    for indices, batch in evaluation_batches(data, batch_tokens=batch_tokens, description=description):
        inputs = {name: value.to(device) for name, value in batch.items()}
        is_predicted = inputs["labels"] != IGNORED
        targets = inputs["labels"][is_predicted]
        with torch.inference_mode():
            logits = predicted_logits(model, inputs["input_ids"], inputs["attention_mask"], is_predicted).float()
            losses.append(torch.nn.functional.cross_entropy(logits, targets, reduction="none").cpu().numpy())
        correct.append((logits.argmax(-1) == targets).cpu().numpy())
        block_of.append(np.repeat(indices, is_predicted.sum(dim=1).cpu().numpy()))
    is_correct, blocks, loss = np.concatenate(correct), np.concatenate(block_of), np.concatenate(losses)
    return MaskedLmScore(
        accuracy=float(is_correct.mean()),
        accuracy_standard_error=clustered_standard_error(is_correct, blocks),
        loss=float(loss.mean()),
        loss_standard_error=clustered_standard_error(loss, blocks),
        num_predicted=len(is_correct),
        is_correct=is_correct,
        block_of=blocks,
    )


def score_baselines(data: MaskedBlocks, baselines: CountBaselines, *, batch_tokens: int) -> dict[str, np.ndarray]:
    """Whether each baseline is right at each position, in the order of `evaluate_masked_lm`: (N,) by name."""
    correct: dict[str, list[np.ndarray]] = {"unigram": [], "bigram": []}
    for _, batch in evaluation_batches(data, batch_tokens=batch_tokens):
        input_ids, labels = batch["input_ids"].numpy(), batch["labels"].numpy()
        targets = labels[labels != IGNORED]
        for name, predicted in zip(correct, baselines.predict(input_ids, labels), strict=True):
            correct[name].append(predicted == targets)
    return {name: np.concatenate(parts) for name, parts in correct.items()}
