"""A validator of submissions: what a leaderboard would refuse, found before anything is uploaded."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bort_kedro.errors import BortKedroError
from bort_kedro.evaluation.submissions import HEADER, LEAST_SIMILAR, MOST_SIMILAR, SubmissionFile, submission_files
from bort_kedro.tasks.table import Form

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class _LineFault(BortKedroError):
    """What is wrong with a line; the validator completes it with file and line."""


# Index and answer of an example: one number, or those of passage, question and answer.
_Row = tuple[tuple[int, ...], object]


def validate_submission(benchmark: str, files: Mapping[str, str]) -> list[str]:
    """Hold the files of an archive, texts by their names in it, against what the leaderboard asks for.

    Returns:
        A sentence for each fault, at most one of each kind a file; none if the archive is sound.
    """
    wanted = submission_files(benchmark)
    allowed = f"allowed: {', '.join(wanted)}"
    faults = [f"{name}: {benchmark} knows no file of this name; {allowed}." for name in files if name not in wanted]
    faults += [f"{name}: the file is missing." for name in wanted if name not in files]
    for name in files:
        if name in wanted:
            faults += [f"{name}: {fault}." for fault in _file_faults(wanted[name], files[name])]
    return faults


def _file_faults(file: SubmissionFile, text: str) -> Iterator[str]:
    lines = text.removesuffix("\n").split("\n")
    first = 1
    if file.task.benchmark == "GLUE":
        if lines[0] != HEADER:
            yield f"the first line is {lines[0][:80]!r}, expected {HEADER!r}"
        lines, first = lines[1:], 2
    rows: list[_Row] = []
    for number, line in enumerate(lines, first):
        try:
            rows += _rows_of(file, line)
        except _LineFault as fault:
            # The lines after it are of no use to what is said below.
            yield f"line {number}: {fault}"
            return
    yield from _index_faults(file, [index for index, _ in rows])
    yield from _label_faults(file, rows)


def _index_faults(file: SubmissionFile, indices: Sequence[tuple[int, ...]]) -> Iterator[str]:
    if len(indices) != file.num_examples:
        yield f"{len(indices)} examples, expected {file.num_examples}"
    if len(set(indices)) < len(indices):
        repeated = next(index for index, count in Counter(indices).items() if count > 1)
        yield f"the index {_said(repeated)} stands in it more than once"
    elif list(indices) != sorted(indices):
        place = next(place for place in range(1, len(indices)) if indices[place] < indices[place - 1])
        yield f"the index {_said(indices[place])} comes after {_said(indices[place - 1])}, expected rising ones"
    elif not file.needs_official_test and len(indices) == file.num_examples and indices[-1] != (len(indices) - 1,):
        missing = next(number for number, index in enumerate(indices) if index != (number,))
        yield f"the index {missing} is missing, expected 0 to {file.num_examples - 1}"


def _label_faults(file: SubmissionFile, rows: Sequence[_Row]) -> Iterator[str]:
    # Of each label the first row: QQP has 390,965 rows and two labels.
    first = {repr(label): (index, label) for index, label in reversed(rows)}
    faults = [(index, label, expected) for index, label in first.values() if (expected := _expected_label(file, label))]
    if faults:
        index, label, expected = min(faults, key=lambda fault: fault[0])
        yield f"the index {_said(index)} has the label {label!r}, expected {expected}"


def _expected_label(file: SubmissionFile, label: object) -> str:
    """What should stand there, or "" if it does."""
    if file.task.form == Form.REGRESSION:
        number = float(label) if isinstance(label, str) and _NUMBER.fullmatch(label) else math.nan
        is_fit = LEAST_SIMILAR <= number <= MOST_SIMILAR
        return "" if is_fit else f"a number from {LEAST_SIMILAR:.0f} to {MOST_SIMILAR:.0f}"
    if file.allowed_labels is None:
        return "" if isinstance(label, str) and label.strip() else "a text that is not empty"
    # True equals 1 to Python, but is spelled otherwise in JSON.
    is_fit = any(type(label) is type(allowed) and label == allowed for allowed in file.allowed_labels)
    return "" if is_fit else f"one of {', '.join(map(repr, file.allowed_labels))}"


def _rows_of(file: SubmissionFile, line: str) -> list[_Row]:
    if file.task.benchmark == "GLUE":
        fields = line.split("\t")
        if len(fields) != 2 or not (fields[0].isascii() and fields[0].isdecimal()):
            raise _LineFault(f"{line[:80]!r}, expected a whole number and a label, parted by a tab")
        return [((int(fields[0]),), fields[1])]
    try:
        record = json.loads(line)
    except ValueError as fault:
        raise _LineFault(f"{line[:80]!r} is not JSON") from fault
    if not file.is_nested:
        return [((_field(record, "idx", int, ("label",)),), record["label"])]
    passage = _field(record, "idx", int, ("passage",))
    rows: list[_Row] = []
    for question in _field(record["passage"], "questions", list):
        number = _field(question, "idx", int, ("answers",))
        for answer in _field(question, "answers", list, ("idx",)):
            rows.append(((passage, number, _field(answer, "idx", int, ("label",))), answer["label"]))
    return rows


def _field(record: Any, name: str, kind: type, others: Sequence[str] = ()) -> Any:
    """A field of an object that has the others as well, and nothing else."""
    expected = sorted((name, *others))
    if not isinstance(record, dict) or sorted(record) != expected:
        raise _LineFault(f"{json.dumps(record)[:80]}, expected an object with {' and '.join(expected)} alone")
    if type(record[name]) is not kind:
        raise _LineFault(
            f"`{name}` is {json.dumps(record[name])[:80]}, expected {'a whole number' if kind is int else 'a list'}"
        )
    return record[name]


def _said(index: tuple[int, ...]) -> str:
    return "/".join(map(str, index))
