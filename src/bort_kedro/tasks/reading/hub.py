"""Tasks read from the Hugging Face hub: its records are put into the form that the official files have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bort_kedro.errors import TaskError, said_by
from bort_kedro.frozen import JsonObject
from bort_kedro.tasks.description import Form
from bort_kedro.tasks.reading.reading import ReadingInProgress, TaskReading, is_labelled
from bort_kedro.tasks.records import Record
from bort_kedro.tasks.rows import resolve_columns

if TYPE_CHECKING:
    from bort_kedro.tasks.description import Task
    from datasets import Dataset

# What the hub has where the official files have no label.
UNLABELLED = -1
Fields = JsonObject


def read_from_hub(
    task: Task, *, skip_bad_rows: bool = False, path: str | None = None, revision: str | None = None
) -> TaskReading:
    """Read the examples of a task from the hub, from a folder in its form, or from the hub's cache on this machine.

    Malformed records are left out and counted, or else the first is an error.

    Raises:
        TaskError: If the hub does not have the task, cannot be reached, or holds what the task does not allow.
    """
    name, configuration = path or task.hub[0], task.hub[1]
    splits = _load(task, name, configuration, revision)
    progress = ReadingInProgress(task, skip_bad_rows)
    for source in task.sources:
        place = f"{name} ({configuration}), split {source.hub_split}"
        if source.hub_split not in splits:
            if source.split in task.required:
                raise TaskError(
                    f"Task `{task.name}`: {place} is not there. Splits found: {', '.join(splits)}. Set "
                    "`read_from: files` in params:finetune, or name an earlier revision."
                )
            continue
        progress.begin(source, place)
        records = splits[source.hub_split]
        for number, fields in enumerate(_official_fields(task, records)):
            where = f"{place}, record {number}"
            try:
                columns = resolve_columns(task, fields, is_labelled=is_labelled(source))
            except TaskError as fault:
                progress.refuse(str(fault), file=place, place=where)
                continue
            progress.add(source, Record(fields, columns, number), file=place, place=where)
        progress.end(source)
    return progress.reading()


def _load(task: Task, name: str, configuration: str, revision: str | None) -> Mapping[str, Dataset]:
    if not name:
        raise TaskError(
            f"Task `{task.name}` is not on the hub. Set `read_from: files` in params:finetune for tasks of your own."
        )
    from datasets import load_dataset

    try:
        # Unlike `load_dataset` by split, all splits at once: what there is can be named.
        return dict(load_dataset(name, configuration, revision=revision))
    except Exception as fault:
        # The library raises errors of many libraries beneath it, for connections and for what is not there.
        raise TaskError(
            f"Task `{task.name}`: {name} ({configuration}) cannot be read from the hub: {type(fault).__name__}: "
            f"{said_by(fault)}. Check the connection, or put the official files into the folder of "
            "`task_files` and set `read_from: files` in params:finetune."
        ) from fault


def _official_fields(task: Task, records: Dataset) -> Iterator[Fields]:
    """The records of a split in the form of the official files."""
    feature = records.features.get("label")
    names = getattr(feature, "names", None) or task.labels
    num_questions: Counter[str] = Counter()
    for fields in records:
        official = dict(fields)
        if "label" in fields:
            official["label"] = _official_label(task, fields["label"], names)
        if task.layout == "race":
            article = str(fields["example_id"])
            official["first_question"] = num_questions[article]
            num_questions[article] += 1
        nest = _NESTED.get(task.layout)
        yield nest(official) if nest else official


def _official_label(task: Task, label: Any, names: Sequence[str]) -> Any:
    if label is None or label == UNLABELLED:
        return None
    if task.form == Form.REGRESSION:
        # 3.8 has become the nearest number of 32 bits, 3.799999952316284.
        return float(f"{label:.6g}")
    is_number = isinstance(label, int) and task.form == Form.CLASSIFICATION and 0 <= label < len(names)
    return names[label] if is_number else label


def _nested_wsc(fields: Fields) -> Fields:
    return {**fields, "target": fields}


def _nested_multirc(fields: Fields) -> Fields:
    """The hub has a record for each answer."""
    index = fields["idx"]
    answer = {"idx": index["answer"], "text": fields["answer"], "label": fields.get("label")}
    question = {"idx": index["question"], "question": fields["question"], "answers": [answer]}
    return {"idx": index["paragraph"], "passage": {"text": fields["paragraph"], "questions": [question]}}


def _nested_record(fields: Fields) -> Fields:
    """The hub has a record for each statement, and entities and answers as texts."""
    # Unlike the entities, their places are in the order of the text; they may come as one object of lists.
    spans = fields.get("entity_spans") or {}
    entities = spans.get("text") if isinstance(spans, Mapping) else [span["text"] for span in spans]
    answers = [{"text": text} for text in fields.get("answers") or ()]
    statement = {"idx": fields["idx"]["query"], "query": fields["query"], "answers": answers or None}
    passage = {"text": fields["passage"], "entities": [{"text": text} for text in entities or fields["entities"]]}
    return {"idx": fields["idx"]["passage"], "passage": passage, "qas": [statement]}


def _nested_race(fields: Fields) -> Fields:
    """The hub has a record for each question."""
    return {
        "id": fields["example_id"],
        "article": fields["article"],
        "questions": [fields["question"]],
        "options": [fields["options"]],
        "answers": [fields["answer"]],
        "first_question": fields["first_question"],
    }


_NESTED: dict[str, Callable[[Fields], Fields]] = {
    "wsc": _nested_wsc,
    "multirc": _nested_multirc,
    "record": _nested_record,
    "race": _nested_race,
}
