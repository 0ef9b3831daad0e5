"""Exports that are held against PyTorch on real inputs before they are handed over.

fp32 must say what PyTorch says, within a tolerance; int8 must score as well, within an allowed drop. What does not is
left out of the folder.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from bort_kedro.encoders.families import longest_sequence
from bort_kedro.encoders.pretrained import Pretrained, standalone_tokenizer
from bort_kedro.errors import ConfigurationError
from bort_kedro.exports.folder import (
    BATCH_TOKENS,
    ExportedTask,
    RuntimeModel,
    require_outputs,
    require_tokenizer,
    write_companions,
    write_manifest,
    write_pytorch,
)
from bort_kedro.exports.formats import PYTORCH
from bort_kedro.exports.report import ExportReport, FormatReport
from bort_kedro.exports.runtimes import RUNTIMES, convert, input_names, open_session
from bort_kedro.finetuning.encoding import TaskEncoder
from bort_kedro.finetuning.objectives import logits_of, predict
from bort_kedro.latency.measure import measure_latency
from bort_kedro.tasks.table import Form
from bort_kedro.tasks.units import Unit
from bort_kedro.text.tokenizer import tokenizer_fingerprint
from bort_kedro.training.threads import cpu_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from bort_kedro.exports.runtimes import Inputs, Session
    from bort_kedro.exports.settings import ExportSettings
    from bort_kedro.finetuning.data import EncodedTask, TaskData
    from bort_kedro.latency.conditions import Latency

LOGGER = logging.getLogger(__name__)
# Formats that compute as PyTorch does, so that differences are rounding.
EXACT = frozenset({"onnx"})
SPLIT = "test"


class Said(NamedTuple):
    """What a format says of the test split: the largest difference of a logit from PyTorch's, and its score."""

    max_difference: float
    score: float


def export_task(
    model: Pretrained, data: TaskData, texts: Sequence[str], *, max_tokens: int, settings: ExportSettings, folder: Path
) -> ExportReport:
    """Write a fine-tuned model, on the CPU, for each runtime into an empty folder, and leave out what is refused.

    Each is verified on the task's test split; texts of the corpus are for calibration.

    Raises:
        ConfigurationError: If the model takes only shorter inputs.
        ModelFolderError: If model, tokenizer and task do not belong together.
    """
    meaning = _meaning(model, data, max_tokens)
    _require_length(model, settings, data.task.name)
    write_pytorch(model, folder / PYTORCH)
    with cpu_threads(settings.num_threads):
        # QQP has half a million examples that are not scored.
        scored = replace(data, tables={SPLIT: data.tables[SPLIT]})
        encoded = scored.encoded(model, max_tokens=max_tokens)
        calibration = calibration_inputs(model, data, texts, max_tokens=max_tokens, settings=settings)
        sessions = {}
        for name in settings.formats:
            convert(name, model.model, calibration, folder / name)
            write_companions(model, folder / name)
            sessions[name] = open_session(name, folder / name, num_threads=settings.num_threads)
        said = _compare(model, encoded, sessions, settings)
        times = _time(model, sessions, settings)
    formats = {name: _report(name, said, times, settings, folder) for name in said}
    kept = _without_refused(formats, data.task.name, folder)
    write_manifest(folder, meaning, kept)
    return ExportReport(
        metric=data.task.metrics[0],
        num_examples=encoded.splits[SPLIT].num_units,
        num_checked=min(settings.num_checked, encoded.splits[SPLIT].num_units),
        num_calibration=len(calibration),
        refuses_drops=settings.refuse,
        has_pairs=has_pairs(data),
        batch_size=settings.batch_size,
        sequence_length=settings.sequence_length,
        num_threads=settings.num_threads,
        timed_rounds=settings.timed_rounds,
        formats=formats,
    )


def calibration_inputs(
    model: Pretrained, data: TaskData, texts: Sequence[str], *, max_tokens: int, settings: ExportSettings
) -> list[Inputs]:
    """Texts of the corpus as the task's inputs are: one at a time, or in pairs where the task's examples are pairs.

    Returns:
        Of each text that is drawn (1, L), L its own length.
    """
    generator = np.random.default_rng(settings.seed)
    drawn = generator.permutation(len(texts))[: settings.num_calibration]
    seconds = np.roll(drawn, 1) if has_pairs(data) else [None] * len(drawn)
    units = [
        Unit(((texts[first], None if second is None else texts[second]),))
        for first, second in zip(drawn, seconds, strict=True)
    ]
    encoder = TaskEncoder(model, data.task, data.labels, max_tokens=max_tokens)
    examples = encoder(units)
    names = input_names(model.model)
    batches = (examples.batch([place]) for place in range(examples.num_units))
    return [{name: batch[name].numpy() for name in names} for batch in batches]


def has_pairs(data: TaskData) -> bool:
    """Whether an example of a task is two texts."""
    return any(pair is not None for units in data.units.values() for unit in units for _, pair in unit.rows)


def _meaning(model: Pretrained, data: TaskData, max_tokens: int) -> ExportedTask:
    task = data.task
    meaning = ExportedTask(
        task=task.name,
        form=task.form,
        labels=data.labels,
        truncation=task.truncation,
        max_tokens=max_tokens,
        tokenizer=tokenizer_fingerprint(standalone_tokenizer(model)),
        has_pairs=has_pairs(data),
    )
    require_outputs(model.model.config.num_labels, meaning, f"`{task.name}.finetuned_model`")
    require_tokenizer(model, f"`{task.name}.finetuned_model`")
    return meaning


def _require_length(model: Pretrained, settings: ExportSettings, task: str) -> None:
    longest = longest_sequence(model.model.config)
    if longest is not None and settings.sequence_length > longest:
        raise ConfigurationError(
            f"The exports of task `{task}` are to be timed on {settings.sequence_length} tokens, but the model has "
            f"{longest} positions. Set params:evaluate.export.sequence_length to at most {longest}."
        )


def _compare(
    model: Pretrained, encoded: EncodedTask, sessions: dict[str, Session], settings: ExportSettings
) -> dict[str, Said]:
    """What each format says of the test split, beside what PyTorch says, which comes first."""
    form, examples = Form(encoded.task.form), encoded.splits[SPLIT]
    count = min(settings.num_checked, examples.num_units)
    checked = np.random.default_rng(settings.seed).permutation(examples.num_units)[:count].tolist()

    def logits(network: nn.Module) -> NDArray[np.float64]:
        with torch.inference_mode():
            said = [logits_of(network, examples.batch(checked[place : place + 8])) for place in range(0, count, 8)]
        return torch.cat(said).double().numpy()

    def score(network: nn.Module) -> float:
        return float(encoded.score(SPLIT, predict(network, form, examples, batch_tokens=BATCH_TOKENS)))

    before, expected = score(model.model), logits(model.model)
    networks: dict[str, nn.Module] = {PYTORCH: model.model}
    networks |= {name: RuntimeModel(session, model.model.config) for name, session in sessions.items()}
    return {
        name: Said(
            max_difference=float(np.abs(logits(network) - expected).max()),
            score=before if name == PYTORCH else score(network),
        )
        for name, network in networks.items()
    }


def _time(model: Pretrained, sessions: dict[str, Session], settings: ExportSettings) -> dict[str, Latency]:
    """All formats in turns, on ids that stand for text without padding."""
    size = (settings.batch_size, settings.sequence_length)
    ids = np.random.default_rng(settings.seed).integers(model.model.config.vocab_size, size=size)
    values = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    inputs = {name: values[name] for name in input_names(model.model)}

    def pytorch(**arrays: NDArray[np.int64]) -> object:
        return model.model(**{name: torch.from_numpy(array) for name, array in arrays.items()})

    models: dict[str, Callable[..., object]] = {PYTORCH: pytorch, **sessions}
    return measure_latency(
        models,
        inputs,
        warmup_rounds=settings.warmup_rounds,
        timed_rounds=settings.timed_rounds,
        num_threads=settings.num_threads,
        description="timing exports",
    )


def _report(
    name: str, said: dict[str, Said], times: dict[str, Latency], settings: ExportSettings, folder: Path
) -> FormatReport:
    before, after = said[PYTORCH].score, said[name].score
    weights = ("model.safetensors",) if name == PYTORCH else RUNTIMES[name].files
    report = FormatReport(
        title="PyTorch fp32" if name == PYTORCH else RUNTIMES[name].title,
        max_difference=said[name].max_difference,
        tolerance=settings.tolerance if name in EXACT else None,
        score_before=before,
        score_after=after,
        drop=before - after,
        allowed_drop=settings.allowed_drop,
        bytes=sum((folder / name / file).stat().st_size for file in weights),
        median_ms=times[name].median_ms,
        lower_quartile_ms=times[name].lower_quartile_ms,
        upper_quartile_ms=times[name].upper_quartile_ms,
        speedup=times[PYTORCH].median_ms / times[name].median_ms,
        is_refused=False,
    )
    holds = report.is_exact and (report.is_good or not settings.refuse)
    return report.model_copy(update={"is_refused": name != PYTORCH and not holds})


def _without_refused(formats: dict[str, FormatReport], task: str, folder: Path) -> list[str]:
    """Names of the formats that stay; the folders of others are removed, and the log says why."""
    for name, row in formats.items():
        if row.is_exact:
            reason = (
                f"its score falls from {row.score_before:.4f} to {row.score_after:.4f}, allowed is a drop of "
                f"{row.allowed_drop:g}"
            )
        else:
            reason = f"its logits differ by {row.max_difference:.2g} from PyTorch's, allowed are {row.tolerance:.2g}"
        if row.is_refused:
            shutil.rmtree(folder / name)
            LOGGER.warning("Task `%s`: the export to %s is refused: %s.", task, row.title, reason)
        elif name != PYTORCH and not row.is_good:
            LOGGER.warning(
                "Task `%s`: the export to %s is kept (params:evaluate.export.refuse), but %s.", task, row.title, reason
            )
    return [name for name, row in formats.items() if not row.is_refused]
