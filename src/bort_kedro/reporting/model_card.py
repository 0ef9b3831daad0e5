"""Model cards in the hub's format: YAML for machines, then Markdown for people, all of it from a run's own data.

Format: https://huggingface.co/docs/hub/model-cards. What was not measured or stated is said to be so; energy and CO2
are not computed from hours, since neither the power drawn nor the mix of its sources is known here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bort_kedro.agora.teacher_bar import RECORDED, TeacherReport
from bort_kedro.encoders.opened import OpenedEncoder
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.evaluation.floors import floors_among
from bort_kedro.evaluation.scores import TaskScore
from bort_kedro.evaluation.task_metrics import TaskMetrics
from bort_kedro.exports.report import ExportReport
from bort_kedro.finetuning.report import FinetuningReport
from bort_kedro.frozen import JsonObject, TableRow
from bort_kedro.pretraining.report import PretrainingMetrics
from bort_kedro.reporting.markdown import number
from bort_kedro.reporting.settings import CardSettings
from bort_kedro.reporting.templates import render
from bort_kedro.search.report import SearchReport
from bort_kedro.tasks.description import Form, Task
from bort_kedro.tasks.splits import ExamplesReport

# The hub's names of our metrics, where they differ: https://huggingface.co/metrics.
HUB_METRICS = {
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "macro_f1": "f1",
    "f1_answers": "f1",
    "f1_tokens": "f1",
    "span_f1": "f1",
    "span_precision": "precision",
    "span_recall": "recall",
    "word_accuracy": "accuracy",
}
# The hub's names of what is asked of a model, where it is not the classification of texts.
HUB_TASKS = {Form.MULTIPLE_CHOICE: "multiple-choice", Form.TOKENS: "token-classification"}
TEXT_CLASSIFICATION = "text-classification"
# How a method fine-tunes.
MANNERS = {
    "agora": "by Agora",
    "plain": "plainly",
    "distilled": "by distillation",
    "weak_supervision": "by weak supervision",
}
# How the source of a test split begins that is no half of dev.
HELD_OUT = tuple(f"{whose} test" for whose in ("official", "built-in", "user's"))
NAME_PREFIX = "bort_kedro"
FOLDER = "folder-or-repository-of-this-model"
# What an example's two texts are where the files of a task hold something else (`tasks.layouts`).
TEXTS_OF_LAYOUT = {
    "copa": ("The premise.", "What was the cause? One choice."),
    "multirc": ("The passage.", "The question? One answer."),
    "options": ("The text.", "One option."),
    "race": ("The article.", "The question? One answer."),
    "tagged": ("The words of a text .", ""),
    "record": ("The passage.", "The statement with [ one entity ] in its blank."),
    "wic": ("A sentence with the [ word ].", "Another with the [ word ]."),
    "wsc": ("A sentence with [ a phrase ] and with [ it ].", ""),
}


@dataclass(frozen=True)
class ModelSize:
    """What is read off a model.

    Args:
        num_parameters: Scalars, head included; of tied ones one counts.
    """

    num_parameters: int
    vocabulary_size: int
    max_tokens: int


@dataclass(frozen=True)
class Origin:
    """What all cards of a run tell of: `corpus_manifest`, `search_report`, `pretraining_metrics`, and the machine."""

    corpus: JsonObject
    search: SearchReport
    pretraining: PretrainingMetrics
    device: JsonObject

    family = "A BERT"
    followed = "The search for the shape, the distillation and Agora follow"
    tags = ("bert", "bort", "optimal-subarchitecture", "knowledge-distillation")

    @property
    def shape(self) -> BertShape:
        """The chosen one."""
        return self.search.selected.to_shape()

    @property
    def past(self) -> str:
        """How the encoder came to be, in words."""
        return f"chosen among {self.search.num_candidates} shapes, pretrained {self.pretraining.way}"

    @property
    def data(self) -> str:
        """What it was pretrained on, in words."""
        return render("pretraining_data", corpus=self.corpus)

    def trainings(self) -> list[tuple[str, float]]:
        """What was run for the encoder, with seconds."""
        teacher = self.pretraining.teacher.seconds
        is_taught = self.pretraining.twin_lacks == "distillation"
        return [
            ("search for the shape", self.search.seconds),
            # One that was opened took none, and T as the search left it none beside the search.
            *([("teacher of the pretraining", teacher)] if teacher else []),
            ("pretraining under the teacher" if is_taught else "pretraining", self.pretraining.student.seconds),
        ]


@dataclass(frozen=True)
class OpenedOrigin:
    """What the cards of a student that was opened tell of, in the place of `Origin`."""

    student: OpenedEncoder
    device: JsonObject

    followed = "Fine-tuning by Agora follows"
    past = "which was opened as it is"
    data = (
        "What the encoder was pretrained on, by whom and at what cost is not known here: it was opened, and the costs "
        "below are those of fine-tuning alone."
    )

    @property
    def family(self) -> str:
        """With the name by which it was opened."""
        return f"`{self.student.name}`, a `{self.student.family}`"

    @property
    def tags(self) -> tuple[str, ...]:
        """Of the hub."""
        return (self.student.family,)

    @property
    def shape(self) -> BertShape:
        """Its own."""
        return self.student.shape

    def trainings(self) -> list[tuple[str, float]]:
        """None here."""
        return []


@dataclass(frozen=True)
class TaskResults:
    """What is known of one fine-tuned task, by the names of its data in the catalog."""

    task: Task
    has_pairs: bool
    metrics: TaskMetrics
    finetuning: FinetuningReport
    examples: ExamplesReport
    teacher: TeacherReport | None = None
    exports: ExportReport | None = None


def task_card(results: TaskResults, size: ModelSize, origin: Origin | OpenedOrigin, settings: CardSettings) -> str:
    """The card of a fine-tuned model.

    Returns:
        The text of a ``README.md``, which `huggingface_hub.ModelCard` reads.
    """
    task = results.task
    method = results.finetuning.method
    is_recorded = results.teacher is not None and results.teacher.method == RECORDED
    metadata = _metadata(
        settings,
        name=f"{NAME_PREFIX}-{task.name}",
        # The hub has no pipeline that chooses among options.
        pipeline_tag=None if task.form == Form.MULTIPLE_CHOICE else HUB_TASKS.get(task.form, TEXT_CLASSIFICATION),
        tags=[*origin.tags, *(["agora"] if method == "agora" else []), task.name],
        base_model=settings.encoder_repository,
        datasets=[task.hub[0]] if task.hub[0] else None,
        scores=_task_evaluations(results),
    )
    trainings = [
        *origin.trainings(),
        *([("teacher of the task", results.teacher.seconds)] if results.teacher and not is_recorded else []),
        (f"fine-tuning, {results.finetuning.num_trials} trainings", results.finetuning.seconds),
    ]
    return _card(
        "task_card",
        metadata=metadata,
        model_name=f"{NAME_PREFIX}-{task.name}",
        task=task,
        results=results,
        texts=example_texts(task),
        method=method,
        manner=MANNERS[method],
        is_recorded=is_recorded,
        floors=floors_among(score.floors for score in results.metrics.splits.values()),
        trainings=trainings,
        size=size,
        origin=origin,
        settings=settings,
    )


def example_texts(task: Task) -> tuple[str, str]:
    """What stands in the place of the two texts of an example, as its layout or its columns call them."""
    if task.layout in TEXTS_OF_LAYOUT:
        return TEXTS_OF_LAYOUT[task.layout]
    first, second = (task.columns.get(role, (default,))[-1] for role, default in (("text", "text"), ("text_pair", "")))
    return f"The {first}.", f"The {second or 'other text'}."


def encoder_card(size: ModelSize, mask_token: str, origin: Origin, settings: CardSettings) -> str:
    """The card of the pretrained encoder; see `task_card`."""
    student = origin.pretraining.student
    common = {"task_type": "fill-mask", "dataset_type": "corpus", "dataset_name": "the corpus of the run"}
    error = number(student.accuracy_standard_error, 4)
    measured = {
        "accuracy": (student.accuracy, 4, f"Masked accuracy (standard error {error})"),
        "perplexity": (student.perplexity, 2, "Perplexity of the hidden tokens"),
    }
    scores = [
        common
        | {"dataset_split": "test", "metric_type": kind, "metric_value": round(value, digits), "metric_name": title}
        for kind, (value, digits, title) in measured.items()
        if value is not None
    ]
    name, pipeline_tag = f"{NAME_PREFIX}-encoder", "fill-mask" if scores else "feature-extraction"
    metadata = _metadata(settings, name=name, pipeline_tag=pipeline_tag, tags=list(origin.tags), scores=scores)
    return _card(
        "encoder_card",
        metadata=metadata,
        model_name=name,
        mask_token=mask_token,
        trainings=origin.trainings(),
        size=size,
        origin=origin,
        settings=settings,
    )


def _card(template: str, **context: object) -> str:
    return render(template, folder=FOLDER, **context) + "\n"


def _metadata(settings: CardSettings, *, name: str, scores: Sequence[TableRow], **others: Any) -> str:
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


def _task_evaluations(results: TaskResults) -> list[JsonObject]:
    """The scores on the test split as the hub wants them; the interval, which it has no place for, is in the name."""
    task, scores = results.task, results.metrics.test
    if scores is None:
        return []
    source = results.examples.splits["test"].source
    is_official = "user's" not in source
    common = {
        "task_type": HUB_TASKS.get(task.form, TEXT_CLASSIFICATION),
        "dataset_type": task.hub[0] if task.hub[0] and is_official else task.benchmark,
        "dataset_name": f"{task.title} ({source})",
        "dataset_config": task.hub[1] if task.hub[1] and is_official else None,
        "dataset_split": "test" if source.startswith(HELD_OUT) else "validation",
    }
    return [
        common
        | {
            "metric_type": HUB_METRICS.get(metric, metric),
            "metric_value": round(scores.metrics[metric], 4),
            "metric_name": metric.replace("_", " ").capitalize()
            + (_certainty(scores) if metric == results.metrics.metric else ""),
        }
        for metric in task.metrics
        if metric in scores.metrics
    ]


def _certainty(scores: TaskScore) -> str:
    if scores.interval is not None:
        interval = scores.interval
        return f" ({interval.level:.0%} interval {interval.low:.4f} to {interval.high:.4f})"
    return f" (standard error {scores.score.standard_error:.4f})"
