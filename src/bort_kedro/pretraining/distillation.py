"""The pretraining loss of Bort under a teacher, live or cached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bort_kedro.frozen import JsonObject
from bort_kedro.pretraining.losses import distillation_loss, masked_accuracy, masked_lm_loss
from bort_kedro.pretraining.masked_blocks import Batch
from bort_kedro.pretraining.masked_lm import batch_logits, student_logits
from bort_kedro.pretraining.teacher_targets import TeacherTargets, bucketed_divergence
from bort_kedro.text.vocabulary_map import VocabularyMap

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.pretraining.settings import DistillationSettings, TeacherCacheSettings
    from bort_kedro.pretraining.teacher_targets import TargetStores
    from bort_kedro.training.steps import Loss


@dataclass(frozen=True)
class TeacherCache:
    """What is kept of a teacher, and where; see `settings.TeacherCacheSettings`."""

    top_k: int
    num_epochs: int | None
    store: TargetStores


def cache_of(settings: TeacherCacheSettings, store: TargetStores) -> TeacherCache | None:
    """None where the teacher is run live."""
    return TeacherCache(settings.top_k, settings.num_epochs, store) if settings.top_k else None


@dataclass(frozen=True)
class Distillation:
    """A teacher, and what is made of what it says.

    Args:
        teacher: Any masked-LM encoder with its tokenizer.
        vocabulary_map: From its ids to the student's.
        settings: How much it counts.
        cache: What to keep of the teacher instead of running it beside the student; None runs it.
    """

    teacher: Pretrained
    vocabulary_map: VocabularyMap
    settings: DistillationSettings
    cache: TeacherCache | None = None
    _maps: dict[torch.device, VocabularyMap] = field(default_factory=dict, repr=False, compare=False)

    def identity(self) -> JsonObject:
        """What a student's training depends on."""
        return {
            "teacher": self.teacher.fingerprint,
            **self.settings.model_dump(),
            "cache": {"top_k": self.cache.top_k, "num_epochs": self.cache.num_epochs} if self.cache else None,
        }

    def teacher_logits(self, batch: Batch) -> Tensor:
        """The teacher's logits in the student's vocabulary, (N, V) float32; softened they are what it teaches."""
        vocabulary_map = self._moved_to(batch["input_ids"].device)
        with torch.no_grad():
            logits = whole_teacher_logits(self.teacher.model, vocabulary_map, batch)
            return vocabulary_map.to_student_logits(logits.float())

    def _moved_to(self, device: torch.device) -> VocabularyMap:
        """The map on a device; it and the teacher are moved there once."""
        if device not in self._maps:
            self.teacher.model.to(device).eval()
            self._maps[device] = self.vocabulary_map.to(device)
        return self._maps[device]

    def objective(self) -> Loss:
        """The loss of a batch; with a cache the batch brings what the teacher said."""
        divergence = self._cached_divergence if self.cache else self._live_divergence

        def objective(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            logits = student_logits(model, batch)
            masked_lm, kl = masked_lm_loss(logits, batch["targets"]), divergence(logits, batch)
            return {
                "loss": self.settings.masked_lm_weight * masked_lm + self.settings.logits.weight * kl,
                "masked_lm_loss": masked_lm,
                "divergence": kl,
                "masked_accuracy": masked_accuracy(logits, batch["targets"]),
            }

        return objective

    def _live_divergence(self, logits: Tensor, batch: Batch) -> Tensor:
        return distillation_loss(logits, self.teacher_logits(batch), temperature=self.settings.logits.temperature)

    def _cached_divergence(self, logits: Tensor, batch: Batch) -> Tensor:
        targets = TeacherTargets(batch["teacher_ids"], batch["teacher_log_probabilities"], batch["teacher_log_tail"])
        return bucketed_divergence(logits, targets, temperature=self.settings.logits.temperature)


def whole_teacher_logits(model: PreTrainedModel, vocabulary_map: VocabularyMap, batch: Batch) -> Tensor:
    """A teacher's logits in its own vocabulary, (N, V_teacher), for a batch in the student's; all on one device."""
    return batch_logits(model, {**batch, "input_ids": vocabulary_map.to_teacher_ids(batch["input_ids"])})
