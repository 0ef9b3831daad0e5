"""Strict readers of the formats that tasks come in: each row with its place, or with what is wrong with it.

A reader never guesses: a row of another length than its header is a fault, not shifted.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

from bort_kedro.errors import TaskError
from bort_kedro.frozen import JsonObject
from bort_kedro.git_lfs import pointer_fault
from bort_kedro.tasks.tags import TAGS, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

MEND = "Mend the file, or name another under `files` of this task in params:finetune."

# What a document begins with in CoNLL's files.
DOCUMENT_START = "-DOCSTART-"

# What stands for a byte that is not UTF-8 while a file is taken apart.
_STRAY_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class FileRow:
    """One row of a file.

    Args:
        line: Its number, from 1; the first line of a row that spans several.
        fields: By column name; a field of JSON may be of any type. Empty if there is a fault.
        is_short: True if the fault is that it has too few fields.
    """

    path: Path
    line: int
    fields: JsonObject = field(default_factory=dict)
    fault: str = ""
    is_short: bool = False


def read_rows(
    path: Path, header: Sequence[str] = (), *, trailing: Sequence[str] = (), suffix: str = ""
) -> Iterator[FileRow]:
    """The rows of a file by its suffix, or those of a folder of JSON texts as RACE has.

    ``.tsv`` and ``.txt`` have no quoting, so a quotation mark is an ordinary character; ``.csv`` is quoted with ``"``;
    ``.jsonl`` has one object a line; ``.conll`` has a word with its columns a line, parted by white space, an empty
    line after each sentence, and becomes a row of lists for each sentence. A byte-order mark, Windows line ends and
    empty lines at the end are fine.

    A header is for a TSV or CSV file without one. Of a CoNLL file, which has none, it is all its columns; left out, the
    first are the `WORDS` and the last the `TAGS`. A row has all or none of the trailing columns; then their fields are
    None.

    Raises:
        TaskError: If the file as a whole cannot be read.
    """
    if path.is_dir():
        return _read_folder(path)
    read = _READERS.get(suffix or path.suffix)
    if read is None:
        raise TaskError(f"{path}: the suffix is `{path.suffix}`, allowed: {', '.join(_READERS)}. {MEND}")
    return read(path, header, trailing)


def is_table(path: Path, suffix: str) -> bool:
    """True for formats whose rows all have the columns of one header."""
    return suffix in (".tsv", ".txt", ".csv") and not path.is_dir()


def _decoded(path: Path) -> str:
    """Text of a UTF-8 file without its byte-order mark; line ends as they are, stray bytes as half characters."""
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise TaskError(f"{path} cannot be read: {fault}. {MEND}") from fault
    if pointer := pointer_fault(content[:64]):
        raise TaskError(f"{path} {pointer}. {MEND}")
    return content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def _stray_byte(text: str) -> str:
    """What is wrong with a text that is not UTF-8, or ""."""
    found = _STRAY_BYTE.search(text)
    return f"not UTF-8, byte {ord(found.group()) - 0xDC00:#04x}" if found else ""


def _read_tsv(path: Path, header: Sequence[str], trailing: Sequence[str]) -> Iterator[FileRow]:
    """No quoting (what `csv.QUOTE_NONE` means), so a row is a line and a tab always parts two fields."""
    lines = _decoded(path).rstrip("\r\n").split("\n")
    rows = ((number, line.removesuffix("\r").split("\t")) for number, line in enumerate(lines, 1))
    return _with_header(path, rows, header, trailing)


def _read_csv(path: Path, header: Sequence[str], trailing: Sequence[str]) -> Iterator[FileRow]:
    """Quoted with ``"``; a row may span lines and is named by its first."""
    return _with_header(path, _csv_fields(path, _decoded(path).rstrip("\r\n")), header, trailing)


def _csv_fields(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    # `strict` refuses a quote that is never closed or that text follows; without it fields run together.
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    start = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            # Where the next row begins is unknown then, so not even `skip_bad_rows` can go on.
            raise TaskError(
                f"{path}, line {start}: the quoting of this row is broken ({fault}). Write a quotation mark "
                f'inside a quoted field twice (""), or give a .tsv file, which has no quoting. {MEND}'
            ) from fault
        yield start, fields
        start = reader.line_num + 1


def _with_header(
    path: Path, rows: Iterator[tuple[int, list[str]]], header: Sequence[str], trailing: Sequence[str]
) -> Iterator[FileRow]:
    """Name the fields, by the first row if the file has a header, and refuse rows of another length."""
    names = [*(header or _header(path, rows)), *trailing]
    lengths = sorted({len(names) - len(trailing), len(names)})
    for line, fields in rows:
        fault = _stray_byte("".join(fields))
        if len(fields) not in lengths:
            columns = ", ".join(f"`{name}`" for name in names)
            expected = " or ".join(map(str, lengths))
            fault = f"{len(fields)} fields, expected {expected} ({columns}). The row begins {str(fields)[:80]}"
        if fault:
            yield FileRow(path, line, fault=fault, is_short=len(fields) < lengths[0])
        else:
            yield FileRow(path, line, dict(zip_longest(names, fields)))


def _header(path: Path, rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    line, names = next(rows, (1, []))
    problem = _stray_byte("".join(names))
    if not any(names):
        problem = "empty, expected a header row with column names"
    repeated = sorted({name for name in names if names.count(name) > 1})
    if any(names) and repeated:
        problem = f"the header has {', '.join(map(repr, repeated))} more than once"
    if problem:
        raise TaskError(f"{path}, line {line}: {problem}. {MEND}")
    return names


def _read_jsonl(path: Path, *_: Sequence[str]) -> Iterator[FileRow]:
    """Only line feeds part lines: JSON texts may hold the other separators that `splitlines` knows."""
    for line, text in enumerate(_decoded(path).split("\n"), 1):
        if text.strip():
            yield _json_row(path, text, line)


def _read_conll(path: Path, header: Sequence[str], _: Sequence[str]) -> Iterator[FileRow]:
    """A row for each sentence; lines that mark the beginning of a document part sentences and are left out."""
    num_columns, begins, lines, fault = len(header), 0, [], None
    for number, line in enumerate([*_decoded(path).split("\n"), ""], 1):
        fields = line.split()
        if fields and fields[0] != DOCUMENT_START:
            num_columns, begins = num_columns or len(fields), begins or number
            lines.append(fields)
            said = _stray_byte(line)
            if not said and len(fields) != num_columns:
                said = f"{len(fields)} columns, expected {num_columns}{_named(header)}. The line is {line[:80]!r}"
            fault = fault or (FileRow(path, number, fault=said) if said else None)
        elif begins:
            yield fault or FileRow(path, begins, _sentence(header, lines))
            begins, lines, fault = 0, [], None


def _named(header: Sequence[str]) -> str:
    names = ", ".join(f"`{name}`" for name in header)
    return f" ({names})" if names else ", as the first line has"


def _sentence(header: Sequence[str], lines: list[list[str]]) -> JsonObject:
    columns = list(map(list, zip(*lines, strict=True)))
    if header:
        return dict(zip(header, columns, strict=True))
    return {WORDS: columns[0]} if len(columns) == 1 else {WORDS: columns[0], TAGS: columns[-1]}


def _read_folder(path: Path) -> Iterator[FileRow]:
    """Files of one JSON object each, in the order of their numbers."""
    for file in sorted(path.glob("*.txt"), key=lambda file: (len(file.stem), file.stem)):
        yield _json_row(file, _decoded(file), 1)


def _json_row(path: Path, text: str, line: int) -> FileRow:
    stray = _stray_byte(text)
    if stray:
        return FileRow(path, line, fault=stray)
    try:
        fields = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as fault:
        return FileRow(path, line, fault=f"not JSON ({fault})")
    if not isinstance(fields, dict):
        return FileRow(path, line, fault=f"{str(fields)[:80]} is not a JSON object; expected one such as {{...}}")
    return FileRow(path, line, fields)


def _object(pairs: list[tuple[str, object]]) -> JsonObject:
    """Refuse what `json` would pass over: of two fields of one name it keeps the last."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the field {next(name for name in names if names.count(name) > 1)!r} more than once")
    return fields


_READERS: dict[str, Callable[[Path, Sequence[str], Sequence[str]], Iterator[FileRow]]] = {
    ".tsv": _read_tsv,
    ".txt": _read_tsv,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".conll": _read_conll,
}
