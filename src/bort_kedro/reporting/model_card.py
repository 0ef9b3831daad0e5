"""Model cards in the hub's format: YAML for machines, then Markdown for people, all of it from a run's own data.

Format: https://huggingface.co/docs/hub/model-cards. What was not measured or stated is said to be so; energy and CO2
are not computed from hours, since neither the power drawn nor the mix of its sources is known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.reporting.markdown import bullets, large, number, table
from bort_kedro.reporting.model_card_sections import (
    NAME_PREFIX,
    cost_section,
    encoder_limits,
    encoder_scores,
    encoder_use,
    export_section,
    task_limits,
    task_scores,
    task_use,
    text_section,
)
from bort_kedro.reporting.settings import CardSettings
from bort_kedro.tasks.description import Form, Task

Row = Mapping[str, Any]
# The hub's names of our metrics, where they differ: https://huggingface.co/metrics.
HUB_METRICS = {
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "macro_f1": "f1",
    "f1_answers": "f1",
    "f1_tokens": "f1",
}
AGORA = (
    "Agora trains again on new texts, made of those that were answered wrong on dev by changing words, and labelled by "
    "the larger teacher."
)
SOURCES = (
    "The search for the shape, the distillation and Agora follow de Wynter and Perry 2020, "
    "[arXiv 2010.10499](https://arxiv.org/abs/2010.10499), and the papers it builds on."
)
# How the source of a test split begins that is no half of dev.
HELD_OUT = tuple(f"{whose} test" for whose in ("official", "built-in", "user's"))
TAGS = ["bert", "bort", "optimal-subarchitecture", "knowledge-distillation"]


@dataclass(frozen=True)
class ModelSize:
    """What is read off a model.

    Args:
        num_parameters: Scalars, head included; of tied ones one counts.
        vocabulary_size: Rows of the table of words.
        max_tokens: Longest input that the model was trained for.
    """

    num_parameters: int
    vocabulary_size: int
    max_tokens: int


@dataclass(frozen=True)
class Origin:
    """What all cards of a run tell of: `corpus_manifest`, `search_report`, `pretraining_metrics`, and the machine.

    Args:
        corpus: The text.
        search: The choice of the shape.
        pretraining: Scores and seconds.
        device: Of `device.describe_device`, of the machine that evaluates.
    """

    corpus: Row
    search: Row
    pretraining: Row
    device: Row

    @property
    def shape(self) -> BertShape:
        """The chosen one."""
        return BertShape.from_row(self.search["selected"])

    def trainings(self) -> list[tuple[str, float]]:
        """What was run for the encoder, with seconds."""
        teacher = self.pretraining["teacher"]["seconds"]
        return [
            ("search for the shape", self.search["seconds"]),
            # One that was opened rather than trained took none.
            *([("teacher of the pretraining", teacher)] if teacher else []),
            ("pretraining under the teacher", self.pretraining["student"]["seconds"]),
        ]


@dataclass(frozen=True)
class TaskResults:
    """What is known of one fine-tuned task, by the names of its data in the catalog.

    Args:
        task: Its row of the table.
        has_pairs: Whether an example is two texts.
        metrics: Scores.
        finetuning: `finetuning_report`.
        examples: `examples_report`.
        teacher: `teacher_report`; None where it had none.
        exports: `export_report`; None where nothing was exported.
    """

    task: Task
    has_pairs: bool
    metrics: Row
    finetuning: Row
    examples: Row
    teacher: Row | None = None
    exports: Row | None = None


def task_card(results: TaskResults, size: ModelSize, origin: Origin, settings: CardSettings) -> str:
    """The card of a fine-tuned model.

    Returns:
        The text of a ``README.md``, which `huggingface_hub.ModelCard` reads.
    """
    task = results.task
    is_choice, is_agora = task.form == Form.MULTIPLE_CHOICE, results.finetuning["method"] == "agora"
    metadata = _metadata(
        settings,
        name=f"{NAME_PREFIX}-{task.name}",
        # The hub's pipeline of text classification cannot answer it.
        pipeline_tag=None if is_choice else "text-classification",
        tags=[*TAGS, *(["agora"] if is_agora else []), task.name],
        base_model=settings.encoder_repository,
        datasets=[task.hub[0]] if task.hub[0] else None,
        scores=_task_evaluations(results),
    )
    labels = ", ".join(f"`{label}`" for label in results.finetuning["labels"])
    asked = {
        Form.CLASSIFICATION: f"classification into {labels}",
        Form.REGRESSION: "a number for each example",
        Form.MULTIPLE_CHOICE: "the best of a question's options",
    }[task.form]
    trainings = [
        *origin.trainings(),
        *([("teacher of the task", results.teacher["seconds"])] if results.teacher else []),
        (f"fine-tuning, {results.finetuning['num_trials']} trainings", results.finetuning["seconds"]),
    ]
    sections = {
        "How to use": task_use(task, has_pairs=results.has_pairs, max_tokens=size.max_tokens),
        "Scores": task_scores(task, results.metrics, results.examples),
        "Training data": f"{text_section(origin.corpus)}\n\n{_examples_sentence(task, results.examples)}",
        "Size": _size_section(size, results.exports),
        "What it cost": cost_section(trainings, origin.device),
        "Limits": bullets([*task_limits(task, size.max_tokens), *_unstated(settings)]),
        "Sources": SOURCES,
    }
    lead = (
        f"A BERT encoder of the shape {origin.shape} (layers, heads, hidden size, intermediate size), chosen among "
        f"{origin.search['num_candidates']} shapes, pretrained under a larger teacher and fine-tuned "
        f"{'by Agora' if is_agora else 'plainly'} on {task.title} ({task.benchmark}): {asked}."
        + (f"\n\n{AGORA}" if is_agora else "")
    )
    return _card(metadata, f"{NAME_PREFIX}-{task.name}", lead, sections)


def encoder_card(size: ModelSize, mask_token: str, origin: Origin, settings: CardSettings) -> str:
    """The card of the pretrained encoder.

    Args:
        size: Read off the encoder.
        mask_token: What stands for a hidden word.
        origin: Of the run.
        settings: From the parameters.

    Returns:
        As `task_card`.
    """
    student = origin.pretraining["student"]
    common = {"task_type": "fill-mask", "dataset_type": "corpus", "dataset_name": "the corpus of the run"}
    error = number(student["accuracy_standard_error"], 4)
    scores = [
        common
        | {
            "dataset_split": "test",
            "metric_type": "accuracy",
            "metric_value": round(student["accuracy"], 4),
            "metric_name": f"Masked accuracy (standard error {error})",
        },
        common
        | {
            "dataset_split": "test",
            "metric_type": "perplexity",
            "metric_value": round(student["perplexity"], 2),
            "metric_name": "Perplexity of the hidden tokens",
        },
    ]
    name = f"{NAME_PREFIX}-encoder"
    metadata = _metadata(settings, name=name, pipeline_tag="fill-mask", tags=TAGS, scores=scores)
    sections = {
        "How to use": encoder_use(mask_token),
        "Scores": encoder_scores(origin.pretraining),
        "Training data": text_section(origin.corpus),
        "Size": _size_section(size, None),
        "What it cost": cost_section(origin.trainings(), origin.device),
        "Limits": bullets([*encoder_limits(origin.pretraining, size.max_tokens), *_unstated(settings)]),
        "Sources": SOURCES,
    }
    lead = (
        f"A BERT encoder of the shape {origin.shape} (layers, heads, hidden size, intermediate size), chosen among "
        f"{origin.search['num_candidates']} shapes and pretrained under a larger teacher. It is meant to be fine-tuned."
    )
    return _card(metadata, name, lead, sections)


def _metadata(settings: CardSettings, *, name: str, scores: Sequence[Row], **others: Any) -> str:
    """The YAML block's inside, as the hub's own library writes it."""
    from huggingface_hub import EvalResult, ModelCardData

    data = ModelCardData(
        language=list(settings.language) or None,
        license=settings.license,
        library_name="transformers",
        model_name=name,
        metrics=list(dict.fromkeys(score["metric_type"] for score in scores)) or None,
        eval_results=[EvalResult(**score) for score in scores] or None,
        **others,
    )
    return str(data.to_yaml())


def _card(metadata: str, name: str, lead: str, sections: Mapping[str, str]) -> str:
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"---\n{metadata}\n---\n\n# {name}\n\n{lead}\n\n{body}\n"


def _task_evaluations(results: TaskResults) -> list[dict[str, Any]]:
    """The scores on the test split as the hub wants them; the interval, which it has no place for, is in the name."""
    task, scores = results.task, results.metrics.get("test")
    if scores is None:
        return []
    source = results.examples["test"]["source"]
    is_official = "user's" not in source
    common = {
        "task_type": "multiple-choice" if task.form == Form.MULTIPLE_CHOICE else "text-classification",
        "dataset_type": task.hub[0] if task.hub[0] and is_official else task.benchmark,
        "dataset_name": f"{task.title} ({source})",
        "dataset_config": task.hub[1] if task.hub[1] and is_official else None,
        "dataset_split": "test" if source.startswith(HELD_OUT) else "validation",
    }
    found = []
    for metric in task.metrics:
        if f"metric_{metric}" not in scores:
            continue
        is_first = metric == results.metrics["metric"]
        found.append(
            common
            | {
                "metric_type": HUB_METRICS.get(metric, metric),
                "metric_value": round(scores[f"metric_{metric}"], 4),
                "metric_name": _metric_name(metric, scores if is_first else {}),
            }
        )
    return found


def _metric_name(metric: str, scores: Row) -> str:
    title = metric.replace("_", " ").capitalize()
    if "interval" in scores:
        interval = scores["interval"]
        return f"{title} ({interval['level']:.0%} interval {interval['low']:.4f} to {interval['high']:.4f})"
    if scores.get("standard_error") is not None:
        return f"{title} (standard error {scores['standard_error']:.4f})"
    return title


def _size_section(size: ModelSize, exports: Row | None) -> str:
    rows = [
        ["parameters", f"{size.num_parameters:,} ({large(size.num_parameters)})"],
        ["weights in fp32, MB", number(4 * size.num_parameters / 1e6, 1)],
        ["tokens of the vocabulary", f"{size.vocabulary_size:,}"],
        ["longest input, tokens", f"{size.max_tokens:,}"],
    ]
    sizes = table(["What", "How much"], rows)
    return f"{sizes}\n\n{export_section(exports)}" if exports else sizes


def _examples_sentence(task: Task, examples: Row) -> str:
    counts = [
        f"{split} {examples[split]['num_units']:,} ({examples[split]['source']})"
        for split in ("train", "dev", "test")
        if split in examples
    ]
    return f"Examples of {task.title}: {', '.join(counts)}."


def _unstated(settings: CardSettings) -> list[str]:
    """What whoever made the model has not said."""
    return [
        *([] if settings.language else ["The language of the texts is not stated."]),
        *([] if settings.license else ["The licence is not stated. Texts and tasks have licences of their own."]),
    ]
