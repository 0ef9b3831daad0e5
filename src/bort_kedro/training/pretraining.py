"""Train one masked-LM encoder of a shape, or go on training a given one, and know what the result depends on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from bort_kedro import __version__
from bort_kedro.core.shapes import BertShape
from bort_kedro.core.tokens import Tokens
from bort_kedro.models.encoder import bert_config, build_masked_lm, shape_of
from bort_kedro.training.loop import Loss, OptimizationSettings, TrainingResult, train
from bort_kedro.training.masked_lm import (
    MaskedBlocks,
    MaskedLmScore,
    distillation_objective,
    evaluate_masked_lm,
    masked_lm_objective,
)
from bort_kedro.training.threads import cpu_threads

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

    from bort_kedro.models.pretrained import Pretrained

# Padded tokens of a batch while scoring; changes speed, not results.
EVALUATION_BATCH_TOKENS = 8192
# Evaluations share one seed, so that every model is asked for the same hidden tokens.
EVALUATION_SEED = 0
# The masks of an evaluation follow the published share, whatever share a training predicts.
EVALUATION_MASKED_SHARE = 0.15


@dataclass(frozen=True)
class PretrainingSettings:
    """How one encoder is pretrained. Units and meaning stand in `params.MaskedLmParams`."""

    optimization: OptimizationSettings
    batch_tokens: int
    masked_share: float
    dropout: float
    initialization: str
    num_threads: int

    @classmethod
    def from_mapping(cls, values: dict[str, Any], **optimization: Any) -> PretrainingSettings:
        """From dumped parameters; keywords override fields of ``optimization``."""
        settings = OptimizationSettings(**{**values["optimization"], **optimization})
        return cls(**{**values, "optimization": settings})


@dataclass(frozen=True)
class Distillation:
    """A teacher and how much it counts."""

    teacher: Pretrained
    temperature: float
    masked_lm_weight: float
    distillation_weight: float

    def identity(self) -> dict[str, Any]:
        """What a student's training depends on."""
        return {**vars(self), "teacher": self.teacher.fingerprint}


def new_encoder(
    shape: BertShape, tokens: Tokens, *, max_positions: int, settings: PretrainingSettings
) -> BertForMaskedLM:
    """An untrained encoder of a shape for a tokenised corpus."""
    config = bert_config(
        shape,
        vocabulary_size=tokens.vocabulary.size,
        max_positions=max_positions,
        pad_token_id=tokens.vocabulary.pad_id,
        dropout=settings.dropout,
        initialization=settings.initialization,
    )
    return build_masked_lm(config, seed=settings.optimization.seed, initialization=settings.initialization)


def pretraining_identity(
    model: BertForMaskedLM,
    tokens: Tokens,
    settings: PretrainingSettings,
    *,
    start: str,
    distillation: Distillation | None = None,
) -> dict[str, Any]:
    """All that the trained weights depend on; a change of any part trains anew.

    ``start`` names the initial weights: ``random``, or the fingerprint of the encoder trained further.
    """
    config = model.config
    return {
        "shape": shape_of(config).to_row(),
        "max_positions": config.max_position_embeddings,
        "start": start,
        "tokens": tokens.fingerprint,
        "settings": {
            **asdict(settings),
            "optimization": {
                name: value for name, value in asdict(settings.optimization).items() if name != "checkpoint_every_steps"
            },
        },
        "distillation": distillation.identity() if distillation else None,
        "versions": {"bort_kedro": __version__, "torch": torch.__version__},
    }


def pretrain(
    model: BertForMaskedLM,
    tokens: Tokens,
    settings: PretrainingSettings,
    *,
    states: Any | None,
    name: str,
    start: str = "random",
    distillation: Distillation | None = None,
    stop_at: int | None = None,
    description: str = "",
) -> TrainingResult:
    """Train a masked-LM encoder in place, resuming where an earlier run of the same settings stopped.

    Args:
        model: Changed in place.
        tokens: The ``train`` split is used.
        settings: As in the parameters.
        states: Handle with ``of(name, identity)``, such as `datasets.training_states.TrainingStates`; None keeps none.
        name: Of the training, for people.
        start: What the initial weights are (see `pretraining_identity`).
        distillation: The teacher; None trains on the true tokens alone.
        stop_at: Steps after which to stop early, see `loop.train`. Not part of the training's identity, so a
            later call goes on from there.
        description: For the progress bar; empty for silence.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = settings.dropout
    identity = pretraining_identity(model, tokens, settings, start=start, distillation=distillation)
    data = MaskedBlocks(tokens.splits["train"], tokens.vocabulary, settings.optimization.seed, settings.masked_share)
    objective: Loss = masked_lm_objective
    if distillation is not None:
        objective = distillation_objective(
            distillation.teacher.model,
            temperature=distillation.temperature,
            masked_lm_weight=distillation.masked_lm_weight,
            distillation_weight=distillation.distillation_weight,
        )
    with cpu_threads(settings.num_threads):
        return train(
            model,
            objective,
            data.training_batches(batch_tokens=settings.batch_tokens),
            settings.optimization,
            states=states.of(name, identity) if states else None,
            stop_at=stop_at,
            description=description,
        )


def evaluation_blocks(tokens: Tokens, split: str) -> MaskedBlocks:
    """A held-out split under the masks that every model is scored on."""
    return MaskedBlocks(tokens.splits[split], tokens.vocabulary, EVALUATION_SEED, EVALUATION_MASKED_SHARE)


def score(
    model: BertForMaskedLM, tokens: Tokens, *, split: str, num_threads: int, description: str = ""
) -> MaskedLmScore:
    """Masked-LM quality on a held-out split; ``description`` names the progress bar, empty for silence."""
    with cpu_threads(num_threads):
        return evaluate_masked_lm(
            model,
            evaluation_blocks(tokens, split),
            batch_tokens=EVALUATION_BATCH_TOKENS,
            description=description,
        )
