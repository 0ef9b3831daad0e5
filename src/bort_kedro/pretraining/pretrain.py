"""Train one masked-LM encoder of a shape, or go on training a given one, and know what the result depends on."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import torch

from bort_kedro import __version__
from bort_kedro.encoders.encoder import bert_config, build_masked_lm, shape_of
from bort_kedro.encoders.last_layer import can_spare_last_layer
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.frozen import JsonObject
from bort_kedro.pretraining.distillation import Distillation, TeacherCache
from bort_kedro.pretraining.masked_blocks import Batch, MaskedBlocks
from bort_kedro.pretraining.masked_lm import (
    EVALUATION_EPOCH,
    MaskedLmScore,
    PositionMeasure,
    evaluate_masked_lm,
    masked_lm_objective,
)
from bort_kedro.pretraining.settings import PretrainingSettings
from bort_kedro.pretraining.taught_batches import TaughtBatches, as_taught
from bort_kedro.pretraining.teacher_cache import CachedTargets, fill_cache
from bort_kedro.text.batching import BatchPlan, plan_epoch
from bort_kedro.text.tokens import Tokens
from bort_kedro.training.loop import Batches, TrainingResult, train
from bort_kedro.training.memory import memory_shortage_told
from bort_kedro.training.saved_state import States, StateStore
from bort_kedro.training.steps import Loss
from bort_kedro.training.threads import autocast, cpu_threads, resolve_precision
from bort_kedro.training.throughput import ThroughputMeter, peak_flops
from bort_kedro.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transformers import BertConfig, BertForMaskedLM, PreTrainedModel

    from bort_kedro.pretraining.streamed_blocks import StreamedBlocks
    from bort_kedro.training.observer import Row

# Padded tokens of a batch while scoring; changes speed, not results.
EVALUATION_BATCH_TOKENS = 8192
# Batches of the validation split that are looked at while a training runs, at most: half a million padded tokens.
VALIDATION_BATCHES = 64
# Evaluations share one seed, so that every model is asked for the same hidden tokens.
EVALUATION_SEED = 0
# The masks of an evaluation follow the published share, whatever share a training predicts.
EVALUATION_MASKED_SHARE = 0.15


def definite(settings: PretrainingSettings) -> PretrainingSettings:
    """With the precision that `auto` is on this machine: saved states are told apart by it."""
    precision = resolve_precision(settings.optimization.mixed_precision)
    return settings.changed(optimization=settings.optimization.changed(mixed_precision=precision))


def encoder_config(
    shape: BertShape, tokens: Tokens, *, max_positions: int, settings: PretrainingSettings
) -> BertConfig:
    """Of an encoder of a shape for a tokenised corpus."""
    return bert_config(
        shape,
        vocabulary_size=tokens.vocabulary.size,
        max_positions=max_positions,
        pad_token_id=tokens.vocabulary.pad_id,
        dropout=settings.dropout,
        initialization=settings.initialization,
    )


def new_encoder(
    shape: BertShape, tokens: Tokens, *, max_positions: int, settings: PretrainingSettings
) -> BertForMaskedLM:
    """An untrained one."""
    config = encoder_config(shape, tokens, max_positions=max_positions, settings=settings)
    return build_masked_lm(config, seed=settings.optimization.seed, initialization=settings.initialization)


def pretraining_identity(
    config: BertConfig,
    tokens: Tokens,
    settings: PretrainingSettings,
    *,
    start: str,
    distillation: Distillation | None = None,
    stream: str | None = None,
) -> JsonObject:
    """All that the trained weights depend on; a change of any part trains anew.

    ``start`` names the initial weights: ``random``, or the fingerprint of the encoder trained further; ``stream`` the
    text that takes the place of the train split. The number of processes is no part of it: a training may go on with
    another number, and ends equal but for rounding and the draws of dropout.
    """
    return {
        "shape": shape_of(config).to_row(),
        "max_positions": config.max_position_embeddings,
        "start": start,
        "tokens": tokens.fingerprint,
        "vocabulary": tokens.vocabulary.fingerprint,
        "stream": stream,
        "settings": settings.identity(),
        "distillation": distillation.identity() if distillation else None,
        "versions": {"bort_kedro": __version__, "torch": torch.__version__},
    }


def pretrain(
    model: BertForMaskedLM,
    tokens: Tokens,
    settings: PretrainingSettings,
    *,
    states: States | None,
    name: str,
    start: str = "random",
    distillation: Distillation | None = None,
    stream: StreamedBlocks | None = None,
    stop_at: int | None = None,
    description: str = "",
    on_row: Callable[[Row], None] = lambda row: None,
    measures_speed: bool = False,
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
        stream: Batches of endless text, `streamed_blocks.StreamedBlocks`, in the place of the train split.
        stop_at: Steps after which to stop early, see `loop.train`. Not part of the training's identity, so a
            later call goes on from there.
        description: For the progress bar; empty for silence.
        on_row: Told each row of the history while it runs.
        measures_speed: Whether rows have it.

    Raises:
        FailedTrainingError: If the training diverges, or the device has too little memory.
    """
    if distillation is not None:
        settings = settings.changed(num_reconstructed=0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = settings.dropout
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    identity = pretraining_identity(
        model.config,
        tokens,
        settings,
        start=start,
        distillation=distillation,
        stream=stream.fingerprint if stream is not None else None,
    )
    objective: Loss = distillation.loss if distillation else masked_lm_objective
    kept = states.of(name, identity) if states else None
    num_parts = settings.optimization.gradient_accumulation_steps
    shortage = memory_shortage_told(
        description or name,
        f"the device's memory is too small for a step of {settings.batch_tokens} tokens in {num_parts} part(s)",
        "Raise gradient_accumulation_steps or set gradient_checkpointing to true in the parameters of this stage, then "
        "run the same command again: the training goes on from its last state.",
    )
    with cpu_threads(settings.num_threads), shortage, distillation.readied(model) if distillation else nullcontext():
        try:
            return train(
                model,
                objective,
                _batches(tokens, settings, distillation, stream, kept, stop_at, description),
                settings.optimization,
                states=kept,
                stop_at=stop_at,
                description=description,
                meter_for=_meter_for(model, settings, distillation) if measures_speed else None,
                on_row=on_row,
                compiles=settings.torch_compile,
                validation=_validation(tokens, settings, distillation),
            )
        finally:
            if settings.gradient_checkpointing:
                model.gradient_checkpointing_disable()


def _batches(
    tokens: Tokens,
    settings: PretrainingSettings,
    distillation: Distillation | None,
    stream: StreamedBlocks | None,
    kept: StateStore | None,
    stop_at: int | None,
    description: str,
) -> Batches:
    """Where a training's batches come from: a stream, or the train split, with what a cached teacher said of it."""
    num_steps, batch_tokens = settings.optimization.num_steps, settings.batch_tokens
    if stream is not None:
        stream = replace(stream, num_reconstructed=settings.num_reconstructed)
        return TaughtBatches(stream, distillation.settings, num_steps) if distillation else stream
    data = MaskedBlocks(
        tokens.splits["train"],
        tokens.vocabulary,
        settings.optimization.seed,
        settings.masked_share,
        whole_words=settings.whole_word_masking,
        word_starts=tokens.word_starts,
        num_reconstructed=settings.num_reconstructed,
    )
    if distillation is None:
        return data.training_batches(batch_tokens=batch_tokens)
    taught, cache = distillation.settings, distillation.cache
    if cache is None or has_reached(kept, stop_at or num_steps):
        return TaughtBatches(data.training_batches(batch_tokens=batch_tokens), taught, num_steps)
    plan = BatchPlan(data.blocks.lengths, batch_tokens=batch_tokens, seed=data.seed)
    # Of all steps, and of those at which the logits teach.
    seen, needed = (plan.at(steps - 1)[0] + 1 for steps in (num_steps, taught.logits.steps_taught(num_steps)))
    data = replace(data, mask_epochs=min(seen, cache.num_epochs or seen))
    answered = replace(data, mask_epochs=min(needed, cache.num_epochs or needed))
    targets = cached_targets(answered, tokens, settings, distillation, cache, description=description)
    return TaughtBatches(
        data.training_batches(batch_tokens=batch_tokens),
        taught,
        num_steps,
        cached=answered.training_batches(batch_tokens=batch_tokens, targets=targets),
    )


def _validation(tokens: Tokens, settings: PretrainingSettings, distillation: Distillation | None) -> Validation | None:
    """Of the true tokens, under masks that are always the same; where none is predicted, of what is taught."""
    if settings.validate_every_steps is None:
        return None
    data = evaluation_blocks(tokens, "validation")
    plan = plan_epoch(data.blocks.lengths, batch_tokens=EVALUATION_BATCH_TOKENS, seed=0, epoch=0)[:VALIDATION_BATCHES]
    taught = distillation.settings if distillation else None
    objective: Loss = masked_lm_objective
    if distillation and not distillation.settings.predicts:
        objective = distillation.loss

    def batch_at(number: int) -> Batch:
        batch = data.batch(plan[number], epoch=EVALUATION_EPOCH)
        if taught is None or taught.predicts:
            return batch
        # What is taught to the end, so that all looks ask for the same.
        num_steps = settings.optimization.num_steps
        return as_taught(batch, taught, taught.dropped_at(num_steps - 1, num_steps))

    return Validation(settings.validate_every_steps, len(plan), batch_at, objective)


def has_reached(kept: StateStore | None, step: int) -> bool:
    """Whether a training stands there already: what a teacher said, if it was deleted since, need not be said again."""
    saved = kept.latest() if kept else None
    return saved is not None and saved.step == step


def cached_targets(
    data: MaskedBlocks,
    tokens: Tokens,
    settings: PretrainingSettings,
    distillation: Distillation,
    cache: TeacherCache,
    *,
    description: str,
) -> CachedTargets:
    """What the teacher says of every predicted position, computed now as far as it is not on the disk yet."""
    precision = settings.optimization.mixed_precision
    identity = {
        "teacher": distillation.teacher.fingerprint,
        "vocabulary": tokens.vocabulary.fingerprint,
        "tokens": tokens.fingerprint,
        "masks": {
            "seed": data.seed,
            "share": data.masked_share,
            "whole_words": data.whole_words,
        },
        "temperature": distillation.settings.logits.temperature,
        "top_k": cache.top_k,
        "precision": precision,
        "versions": {"bort_kedro": __version__, "torch": torch.__version__},
    }
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def teacher_logits(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        moved = {name: value.to(device) for name, value in batch.items()}
        with autocast(device, precision):
            return distillation.teacher_logits(moved)

    return fill_cache(
        cache.store.of(identity),
        data,
        teacher_logits,
        num_epochs=cast(int, data.mask_epochs),
        temperature=distillation.settings.logits.temperature,
        top_k=cache.top_k,
        vocabulary_size=tokens.vocabulary.size,
        batch_tokens=EVALUATION_BATCH_TOKENS,
        description="running the teacher over the corpus" if description else "",
    )


def _meter_for(
    model: BertForMaskedLM, settings: PretrainingSettings, distillation: Distillation | None
) -> Callable[[str, int], ThroughputMeter]:
    """Makes the meter of speed once the loop knows its device."""
    can_spare = can_spare_last_layer(model)

    def teacher_weights(batch: Batch) -> float:
        return distillation.weights_passed(batch, settings.masked_share) if distillation else 0.0

    def spares_last_layer(batch: Batch) -> bool:
        reads = distillation is not None and distillation.asked(batch) - {"logits"}
        return can_spare and not reads and "document_ids" not in batch

    def meter(device: str, num_devices: int) -> ThroughputMeter:
        peak = peak_flops(device, settings.optimization.mixed_precision, torch.get_num_threads())
        shape, size = shape_of(model.config), model.config.vocab_size
        return ThroughputMeter(shape, size, peak, num_devices, teacher_weights, spares_last_layer)

    return meter


def evaluation_blocks(tokens: Tokens, split: str) -> MaskedBlocks:
    """A held-out split under the masks that every model is scored on."""
    return MaskedBlocks(tokens.splits[split], tokens.vocabulary, EVALUATION_SEED, EVALUATION_MASKED_SHARE)


def score(
    model: PreTrainedModel,
    tokens: Tokens,
    *,
    split: str,
    num_threads: int,
    precision: str = "no",
    description: str = "",
    logits_of: Callable[[dict[str, torch.Tensor]], torch.Tensor] | None = None,
    others: Mapping[str, PositionMeasure] = MappingProxyType({}),
) -> MaskedLmScore:
    """Masked-LM quality on a held-out split.

    Args:
        model: Any masked-LM encoder.
        tokens: Whose split is scored.
        split: ``validation`` or ``test``.
        num_threads: CPU threads.
        precision: That of its training.
        description: Names the progress bar, empty for silence.
        logits_of: See `masked_lm.evaluate_masked_lm`.
        others: See there.
    """
    with cpu_threads(num_threads), autocast(model.device, precision):
        return evaluate_masked_lm(
            model,
            evaluation_blocks(tokens, split),
            batch_tokens=EVALUATION_BATCH_TOKENS,
            description=description,
            logits_of=logits_of,
            others=others,
        )
