"""A task of the user's own, read strictly from TSV, CSV or JSON Lines files.

Put one in the catalog as ``<task>.examples`` and the task's name under ``tasks`` in params:finetune.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd
from kedro.io import AbstractDataset

from bort_kedro.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COLUMNS = ("text", "text_pair", "label")
SPLITS = ("train", "dev", "test")
WHERE = "in the catalog entry of this task (`<task>.examples`)"

# A line number of the file and its fields by column name; a field of JSON may be of any type.
Row = tuple[int, dict[str, Any]]


class TaskFilesDataset(AbstractDataset[NoReturn, pd.DataFrame]):
    """Examples of a classification task from three UTF-8 files; loads a table, never writes.

    The table has columns ``split`` (train, dev or test), ``text``, ``text_pair`` (None for single texts) and
    ``label``, rows in the order of the files. The suffix tells the format: ``.tsv`` has no quoting, so a
    quotation mark is an ordinary character; ``.csv`` is quoted with ``"``; ``.jsonl`` has one object a line.
    TSV and CSV begin with a header row. A byte-order mark, Windows line ends and empty lines at the end are
    fine.

    Args:
        train: Path of the training examples.
        dev: Path of the examples that settings are chosen on.
        test: Path of the examples that are scored at the end.
        columns: The name in the files of ``text``, ``label`` and, for pairs, ``text_pair``.
        labels: Labels that are allowed; left out, those found in ``train``.
        metadata: Free for plugins such as Kedro-Viz.
    """

    def __init__(
        self,
        *,
        train: str,
        dev: str,
        test: str,
        columns: Mapping[str, str],
        labels: Sequence[Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._paths = {"train": Path(train), "dev": Path(dev), "test": Path(test)}
        self._columns = dict(columns)
        # YAML reads `[0, 1]` as numbers; the files hold texts.
        self._labels = None if labels is None else [_label_text(label) for label in labels]
        self.metadata = metadata
        self._check_entry()

    def load(self) -> pd.DataFrame:
        missing = [f"{split}: {path}" for split, path in self._paths.items() if not path.is_file()]
        if missing:
            raise TaskError(
                f"Task files not found (seen from {Path.cwd()}): {'; '.join(missing)}. Expected a .tsv, .csv "
                f"or .jsonl file for each of train, dev and test. Change {'/'.join(SPLITS)} {WHERE}."
            )
        allowed = None if self._labels is None else set(self._labels)
        examples: list[dict[str, Any]] = []
        for split, path in self._paths.items():
            rows = self._read(path, allowed)
            if not rows:
                raise TaskError(f"{path}: no example under the header. Change `{split}` {WHERE}.")
            if allowed is None:
                allowed = {row["label"] for row in rows}
            examples += [{"split": split, **row} for row in rows]
        table = pd.DataFrame(examples, columns=["split", *COLUMNS], dtype=object)
        return table.where(table.notna(), None)

    def save(self, data: NoReturn) -> None:
        raise TaskError(f"{type(self).__name__} only reads; write {WHERE} where your own files lie.")

    def _read(self, path: Path, allowed: set[str] | None) -> list[dict[str, Any]]:
        """The examples of one file, each checked; ``allowed`` labels, or None for any."""
        examples = []
        names = list(self._columns.values())
        for line, fields in _READERS[path.suffix](path, _decoded(path), names):
            example: dict[str, Any] = {"text_pair": None}
            for column, name in self._columns.items():
                value = _label_text(fields[name]) if column == "label" else fields[name]
                if not _is_text(value):
                    raise TaskError(
                        f"{path}, line {line}, column `{name}`: {column} is {value!r}, expected a text that "
                        f"is not empty. Mend the row, or change `columns` {WHERE}."
                    )
                example[column] = value
            if allowed is not None and example["label"] not in allowed:
                origin = f"{self._paths['train']}" if self._labels is None else "`labels`"
                raise TaskError(
                    f"{path}, line {line}, column `{self._columns['label']}`: unknown label "
                    f"{example['label']!r}. Allowed, from {origin}: {', '.join(map(repr, sorted(allowed)))}. "
                    f"Mend the row, or change `labels` or the files {WHERE}."
                )
            examples.append(example)
        return examples

    def _check_entry(self) -> None:
        """Refuse a catalog entry that could not be read, before any run starts."""
        faults = [f"`columns` names the unknown column `{name}`" for name in self._columns if name not in COLUMNS]
        faults += [f"`columns` lacks `{name}`" for name in ("text", "label") if name not in self._columns]
        faults += [
            f"`{split}` is {path}, whose suffix is `{path.suffix}`"
            for split, path in self._paths.items()
            if path.suffix not in _READERS
        ]
        if self._labels is not None and len(set(self._labels)) < 2:
            faults.append(f"`labels` is {self._labels}; two different ones are needed")
        if faults:
            raise TaskError(
                f"TaskFilesDataset: {'; '.join(faults)}. Allowed in `columns`: text, label and, for pairs, "
                f"text_pair; suffixes: {', '.join(_READERS)}. Change them {WHERE}."
            )

    def _exists(self) -> bool:
        return all(path.is_file() for path in self._paths.values())

    def _describe(self) -> dict[str, Any]:
        return {**{split: str(path) for split, path in self._paths.items()}, "columns": self._columns}


def _label_text(value: Any) -> Any:
    """Labels of JSON and YAML may be true, false or whole numbers; they become the text that JSON has."""
    return json.dumps(value) if isinstance(value, bool | int) else value


def _is_text(value: Any) -> bool:
    """True for a text with something in it; JSON can spell half characters, which no tokenizer takes."""
    has_half = isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value)
    return isinstance(value, str) and bool(value.strip()) and not has_half


def _require_columns(path: Path, line: int, found: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise TaskError(
            f"{path}, line {line}: no column {', '.join(f'`{name}`' for name in missing)}. Columns found: "
            f"{', '.join(f'`{name}`' for name in found)}. Mend the file, or change `columns` {WHERE}."
        )


def _decoded(path: Path) -> str:
    """Text of a UTF-8 file without its byte-order mark; line ends as they are."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = fault.object[: fault.start].count(b"\n") + 1
        raise TaskError(
            f"{path}, line {line}: not UTF-8, byte {fault.object[fault.start]:#04x}. Convert the file (for "
            f"example with `iconv -t UTF-8`), or name another {WHERE}."
        ) from fault
    except OSError as fault:
        raise TaskError(f"{path} cannot be read: {fault}. Check the file, or name another {WHERE}.") from fault


def _read_tsv(path: Path, text: str, wanted: Sequence[str]) -> Iterator[Row]:
    """No quoting (what `csv.QUOTE_NONE` means), so a row is a line and a tab always parts two fields."""
    lines = text.rstrip("\r\n").split("\n")
    rows = ((number, line.removesuffix("\r").split("\t")) for number, line in enumerate(lines, 1))
    return _with_header(path, rows, wanted)


def _read_csv(path: Path, text: str, wanted: Sequence[str]) -> Iterator[Row]:
    """Quoted with ``"``; a row may span lines and is named by its first."""
    return _with_header(path, _csv_fields(path, text.rstrip("\r\n")), wanted)


def _csv_fields(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    # `strict` refuses a quote that is never closed or that text follows; without it fields run together.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    start = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            raise TaskError(
                f"{path}, line {start}: the quoting of this row is broken ({fault}). Write a quotation mark "
                f'inside a quoted field twice (""), or name a .tsv file, which has no quoting, {WHERE}.'
            ) from fault
        yield start, fields
        start = reader.line_num + 1


def _with_header(path: Path, rows: Iterator[tuple[int, list[str]]], wanted: Sequence[str]) -> Iterator[Row]:
    """Name the fields by the first row, refusing rows of another length."""
    line, header = next(rows, (1, []))
    if not any(header):
        raise TaskError(
            f"{path}, line {line}: empty, expected a header row with column names. Mend the file, or name "
            f"another {WHERE}."
        )
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise TaskError(
            f"{path}, line {line}: the header has {', '.join(map(repr, repeated))} more than once. Give "
            "every column a name of its own."
        )
    _require_columns(path, line, header, wanted)
    for number, fields in rows:
        if len(fields) != len(header):
            raise TaskError(
                f"{path}, line {number}: {len(fields)} fields, expected {len(header)} "
                f"({', '.join(f'`{name}`' for name in header)}). The row begins {str(fields)[:80]}. Mend it."
            )
        yield number, dict(zip(header, fields, strict=True))


def _read_jsonl(path: Path, text: str, wanted: Sequence[str]) -> Iterator[Row]:
    # Only "\n" parts lines: JSON texts may hold the other separators that `splitlines` knows.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as fault:
            raise TaskError(f"{path}, line {number}: not JSON ({fault}). Mend the row.") from fault
        if not isinstance(fields, dict):
            raise TaskError(
                f"{path}, line {number}: {str(fields)[:80]} is not a JSON object; expected one object a "
                'line, such as {"text": "...", "label": "..."}. Mend the row.'
            )
        _require_columns(path, number, list(fields), wanted)
        yield number, fields


_READERS = {".tsv": _read_tsv, ".csv": _read_csv, ".jsonl": _read_jsonl}
