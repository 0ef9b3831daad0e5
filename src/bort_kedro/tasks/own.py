"""Tasks of the user's own, described in parameters."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from bort_kedro.errors import TaskError
from bort_kedro.tasks.description import RIGHT, SPLITS, WRONG, Form, SourceFile, SplitSource, Task, Truncation
from bort_kedro.tasks.metrics import METRICS
from bort_kedro.tasks.tags import TAGS, WORDS, is_tag, tags_of

TABLES = (".tsv", ".csv", ".jsonl")
# Where a form is not as the others: `TABLES`, the accuracy and the layout of texts.
SUFFIXES: dict[str, tuple[str, ...]] = {Form.TOKENS: (".conll", ".jsonl")}
METRICS_OF: dict[str, tuple[str, ...]] = {
    Form.REGRESSION: ("pearson", "spearman"),
    Form.TOKENS: ("span_f1", "span_precision", "span_recall"),
}
LAYOUTS_OF: dict[str, str] = {Form.MULTIPLE_CHOICE: "options", Form.TOKENS: "tagged"}

# Of a classification they read which rows belong together: answers to one question, or pairs.
OF_GROUPED_ROWS = ("f1_answers", "exact_match", "parity")


def own_task(
    name: str,
    *,
    files: Mapping[str, str | SourceFile],
    columns: Mapping[str, Any] = MappingProxyType({}),
    form: str = Form.CLASSIFICATION,
    labels: Sequence[str] = (),
    metrics: Sequence[str] = (),
    truncation: str = Truncation.LONGEST_FIRST,
) -> Task:
    """A task of the user's own, as `tasks.settings.OwnTaskSettings` describes it.

    Labels and metrics that are () are those found in train, and the accuracy or those of `METRICS_OF`. Columns of
    tagged words are `tags.WORDS` and `tags.TAGS` where they are not named.

    Raises:
        TaskError: Listing every fault of the description.
    """
    spelled = tuple(labels)
    found = {split: SourceFile(file) if isinstance(file, str) else file for split, file in files.items()}
    if form == Form.TOKENS:
        columns = {"text": WORDS, "label": TAGS, **columns}
    faults = [] if name.isidentifier() else [f"the name `{name}` is no identifier"]
    faults += (
        _faults_of_choices(form, truncation, spelled)
        + _faults_of_files(found, form)
        + _faults_of_columns(columns, form)
    )
    faults += _faults_of_metrics(metrics, form, spelled)
    if faults:
        raise TaskError(
            f"Own task `{name}`: {'; '.join(faults)}. Allowed in `files`: train, dev and test, with the suffixes "
            f"{', '.join(SUFFIXES.get(form, TABLES))}; in `columns`: text, label, text_pair for pairs and options (a "
            f"list) for {Form.MULTIPLE_CHOICE}. Change `own_tasks.{name}` in params:finetune."
        )
    if form == Form.MULTIPLE_CHOICE:
        spelled = (WRONG, RIGHT)
    elif form == Form.TOKENS and spelled:
        spelled = tags_of(spelled)
    return Task(
        name=name,
        title=name,
        benchmark="own",
        form=Form(form),
        labels=spelled,
        metrics=tuple(metrics) or METRICS_OF.get(form, ("accuracy",)),
        truncation=Truncation(truncation),
        sources=tuple(SplitSource(split, (found[split],), "") for split in SPLITS if split in found),
        required=tuple(split for split in SPLITS if split in found),
        layout=LAYOUTS_OF.get(form, "texts"),
        columns={role: (given,) if isinstance(given, str) else tuple(given) for role, given in columns.items()},
    )


def _faults_of_choices(form: str, truncation: str, labels: tuple[str, ...]) -> list[str]:
    faults = [f"`form` is {form!r}, allowed: {', '.join(Form)}"] if form not in list(Form) else []
    if truncation not in list(Truncation):
        faults.append(f"`truncation` is {truncation!r}, allowed: {', '.join(Truncation)}")
    if form == Form.CLASSIFICATION and labels and len(set(labels)) < max(2, len(labels)):
        faults.append(f"`labels` is {list(labels)}; two or more different ones are needed")
    if form == Form.TOKENS and truncation != Truncation.LONGEST_FIRST:
        faults.append(f"`truncation` is {truncation!r}, and no text of tagged words is cut; leave it out")
    if form == Form.TOKENS and (tags := [label for label in labels if is_tag(label)]):
        faults.append(f"`labels` holds {', '.join(map(repr, tags))}; types of spans are needed, such as PER")
    if form in (Form.REGRESSION, Form.MULTIPLE_CHOICE) and labels:
        able = " and ".join(each for each in Form if each.has_labels)
        faults.append(f"`labels` is {list(labels)}; only {able} have labels, `form` is {form}")
    return faults


def _faults_of_metrics(metrics: Sequence[str], form: str, labels: tuple[str, ...]) -> list[str]:
    able = [name for name, forms in METRICS.items() if form in forms]
    if form == Form.CLASSIFICATION:
        able = [name for name in able if name not in OF_GROUPED_ROWS]
    faults = [f"`metrics` holds {name!r}, allowed: {', '.join(able)}" for name in metrics if name not in able]
    if "f1" in metrics and len(labels) != 2:
        faults.append(f"`metrics` holds 'f1', that of the second of two labels, and `labels` is {list(labels)}")
    return faults


def _faults_of_files(files: Mapping[str, SourceFile], form: str) -> list[str]:
    faults = [f"`files` names the unknown split `{split}`" for split in files if split not in SPLITS]
    faults += [f"`files` lacks `{split}`" for split in ("train", "dev") if split not in files]
    return faults + [
        f"`{split}` is {file.path}, which has none of the suffixes"
        for split, file in files.items()
        if file.suffix not in SUFFIXES.get(form, TABLES)
    ]


def _faults_of_columns(columns: Mapping[str, Any], form: str) -> list[str]:
    options = ("options",) if form == Form.MULTIPLE_CHOICE else ()
    pair = () if form == Form.TOKENS else ("text_pair",)
    known = ("text", *pair, "label", *options)
    faults = [f"`columns` names the unknown column `{role}`" for role in columns if role not in known]
    faults += [f"`columns` lacks `{role}`" for role in ("text", "label", *options) if role not in columns]
    if options and "options" in columns and (isinstance(columns["options"], str) or len(columns["options"]) < 2):
        faults.append(f"`columns.options` is {columns['options']!r}; a list of two or more columns is needed")
    return faults
