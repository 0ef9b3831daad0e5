"""Small encoders whose errors somebody has recorded already, read strictly from a CSV file.

Put one in the catalog to replay the search on a published benchmark or on own earlier runs.
"""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import fsspec
import numpy as np
import pandas as pd
from kedro.io import AbstractDataset
from kedro.io.core import get_protocol_and_path
from kedro_datasets._typing import TablePreview
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from bort_kedro.datasets.local_disk import seen
from bort_kedro.errors import ConfigurationError
from bort_kedro.frozen import JsonObject
from bort_kedro.git_lfs import pointer_fault
from bort_kedro.search.measures import BESIDE_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fsspec import AbstractFileSystem
    from numpy.typing import NDArray

ENTRY = "in its entry of the catalog"
MAX_FAULTS_SHOWN = 10

# How the file names the four values of a shape, and how this project does.
SHAPE_NAMES = {
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "hidden": "hidden_size",
    "intermediate": "intermediate_size",
}
# Columns that the search makes or looks for itself; those of the file with such a name are kept as `table_<name>`.
MADE_COLUMNS = {
    *SHAPE_NAMES.values(),
    *("row", "operations", "cost", "latency_source", "is_network"),
    *(f"{part}_parameters" for part in ("embedding", "layer", "head", "pooler")),
    *(f"{part}_operations" for part in ("embedding", "head", "pooler")),
    *(f"{name}{suffix}" for name in BESIDE_ERROR for suffix in ("", "_standard_error")),
    *("predicted", "predicted_standard_deviation", "w", "w_standard_error", "w_predicted", "trained_share"),
    *("meets_caps", "is_trained", "is_pareto", "is_selected", "is_on_plateau", "has_failed", "failure"),
}
# The line a row of the file begins on, and its fields.
Record = tuple[int, list[str]]

# What `csv.reader` can be told about a file; the rest of its arguments would let broken rows through.
LOAD_ARGUMENTS = ("delimiter", "quotechar", "doublequote", "escapechar", "skipinitialspace")

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class _Rule:
    """What the cells of a column may hold; ``fits`` gets numbers, NaN where a cell holds none."""

    allowed: str
    fits: Callable[[NDArray[np.float64]], NDArray[np.bool_]]
    dtype: type = float
    may_be_empty: bool = False


# The upper end keeps products of three sizes, as counts of operations have them, within 64 bits.
_WHOLE = _Rule("a whole number from 1 to 1000000", lambda n: (n >= 1) & (n <= 1e6) & (n == np.floor(n)), dtype=int)
_ABOVE_ZERO = _Rule("a finite number above 0", lambda n: (n > 0) & (n < math.inf))
_FROM_ZERO = _Rule("empty, or a finite number from 0 up", lambda n: (n >= 0) & (n < math.inf), may_be_empty=True)

_RULES = {
    **dict.fromkeys(SHAPE_NAMES, _WHOLE),
    **dict.fromkeys(("parameters", "error", "latency_ms", "megabytes"), _ABOVE_ZERO),
    "error_standard_error": _FROM_ZERO,
}
OPTIONAL_COLUMNS = ("latency_ms", "megabytes", "error_standard_error")


class RecordedCandidatesDataset(AbstractDataset[NoReturn, pd.DataFrame]):
    """Candidates and their errors from a UTF-8 CSV file; loads a table, never writes.

    The file has a header with at least ``layers, heads, hidden, intermediate, parameters, error``, in any order. The
    table has num_hidden_layers, num_attention_heads, hidden_size, intermediate_size (int64), parameters, error
    (float64), and latency_ms in milliseconds and megabytes (float64) where the file has them; then its other columns
    with the texts of their cells, ``error_standard_error`` alone as numbers (NaN where empty); then ``row``, the number
    of the line a row begins on, the header being line 1. Rows are in the order of the file.

    Another column keeps its name, but one that the search uses itself (``w``, ``loss``, ...) is kept under
    ``table_<name>``, and one without a name under ``table_<position>``. Rows may repeat a shape, and heads need not
    divide the hidden size: somebody built and measured it. A byte-order mark, Windows line ends, spaces around names
    and numbers and empty lines are fine.

    Args:
        filepath: The CSV file, on a local disk or with a protocol that fsspec knows.
        where: A pandas query that keeps the rows which make up the space, such as ``"hidden <= 512"``. It may
            name columns as the table does, the four values of a shape also as the file does. In it, cells of
            other columns have no spaces around them, and are numbers if all of the column that hold something
            are.
        load_args: How fields are parted and quoted, for `csv.reader`: LOAD_ARGUMENTS.

    Raises:
        ConfigurationError: From the constructor for arguments that cannot be used; from `load`, naming up to
            MAX_FAULTS_SHOWN faults by line, column, value and what is allowed.
    """

    required: ClassVar[tuple[str, ...]] = (*SHAPE_NAMES, "parameters", "error")

    def __init__(
        self,
        *,
        filepath: str,
        where: str | None = None,
        load_args: JsonObject | None = None,
        credentials: JsonObject | None = None,
        fs_args: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> None:
        protocol, path = get_protocol_and_path(filepath)
        self._fs = fsspec.filesystem(protocol, **(credentials or {}), **(fs_args or {}))
        self._path = Path(path)
        self._where = where
        self._load_args = dict(load_args or {})
        self.metadata = metadata
        self._check_entry()

    def load(self) -> pd.DataFrame:
        records = _records(self._path, _decoded(self._fs, self._path), self._load_args)
        header = [name.strip() for name in records[0][1]] if records else []
        kept_as = _kept_names(self._path, header, self.required)
        if len(records) == 1:
            raise ConfigurationError(f"{self._path}: no row under the header. Name a file with rows {ENTRY}.")
        columns = _checked_columns(self._path, header, records[1:])
        table = pd.DataFrame({kept_as[name]: cells for name, cells in columns.items()})
        table["row"] = [line for line, _ in records[1:]]
        first = [name for name in (*SHAPE_NAMES.values(), "parameters", "latency_ms", "error") if name in table]
        table = table[[*first, *(name for name in table.columns if name not in first)]]
        return table if self._where is None else table[self._mask(table)].reset_index(drop=True)

    def save(self, data: NoReturn) -> None:
        raise ConfigurationError(f"{type(self).__name__} only reads; write {ENTRY} where your own file lies.")

    def preview(self, nrows: int = 5) -> TablePreview:
        """The first rows, for Kedro-Viz."""
        return TablePreview(self.load().head(nrows).to_dict(orient="split"))

    def _mask(self, table: pd.DataFrame) -> NDArray[np.bool_]:
        """(N,) True for the rows that `where` keeps."""
        view = pd.DataFrame({name: as_numbers(table[name]) for name in table.columns})
        try:
            # Without variables of the code that happens to run (`@name`), and the same with or without numexpr.
            aliases = {name: table[long] for name, long in SHAPE_NAMES.items()}
            mask = view.assign(**aliases).eval(self._where, engine="python", local_dict={}, global_dict={})
        except Exception as fault:  # an expression may raise whatever it likes
            raise self._unusable(view, f"cannot be evaluated ({type(fault).__name__}: {fault})") from fault
        if not (isinstance(mask, pd.Series) and is_bool_dtype(mask)):
            raise self._unusable(view, "is not true or false for each row")
        if not mask.any():
            raise self._unusable(view, "keeps no row")
        return np.asarray(mask.to_numpy(dtype=bool, na_value=False))

    def _unusable(self, view: pd.DataFrame, reason: str) -> ConfigurationError:
        names = ", ".join(f"`{name}`{'' if is_numeric_dtype(view[name]) else ' (text)'}" for name in view.columns)
        return ConfigurationError(
            f"{self._path}: `where` {self._where!r} {reason}. The file has {len(view)} rows with the columns {names}. "
            f"Change `where` {ENTRY}."
        )

    def _check_entry(self) -> None:
        """Refuse a catalog entry that could not be used, before any run starts."""
        if self._where is not None and not isinstance(self._where, str):
            raise ConfigurationError(
                f"{type(self).__name__}: `where` is {self._where!r}, allowed is a pandas query in quotes, such "
                f'as "hidden <= 512". Change it {ENTRY}.'
            )
        unknown = [name for name in self._load_args if name not in LOAD_ARGUMENTS]
        try:
            csv.reader([], **{name: self._load_args[name] for name in self._load_args if name not in unknown})
            reason = f"`{unknown[0]}` is unknown" if unknown else ""
        except (TypeError, ValueError) as fault:
            reason = str(fault)
        if reason:
            raise ConfigurationError(
                f"{type(self).__name__}: `load_args` is {self._load_args}: {reason}. Allowed are "
                f"{', '.join(LOAD_ARGUMENTS)}, as csv.reader takes them. Change it {ENTRY}."
            )

    def _exists(self) -> bool:
        exists: bool = self._fs.isfile(self._path.as_posix())
        return exists

    def _describe(self) -> JsonObject:
        return {"filepath": seen(self._path), "where": self._where, "load_args": self._load_args}


class RecordedLatenciesDataset(RecordedCandidatesDataset):
    """Milliseconds of shapes on a device that is not here; as its parent, but for what the file must have.

    At least ``layers, heads, hidden, intermediate, latency_ms``, all of one device, batch size and sequence length.
    """

    required = (*SHAPE_NAMES, "latency_ms")


def _decoded(files: AbstractFileSystem, path: Path) -> str:
    """Text of a UTF-8 file without its byte-order mark; line ends as they are."""
    if not files.isfile(path.as_posix()):
        raise ConfigurationError(
            f"{path}: no such file (seen from {Path.cwd()}). Expected a CSV file of recorded shapes. Change `filepath` "
            f"{ENTRY}."
        )
    try:
        content: bytes = files.cat_file(path.as_posix())
        if pointer := pointer_fault(content[:64]):
            raise ConfigurationError(f"{path} {pointer}. Fetch it, or change `filepath` {ENTRY}.")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = fault.object[: fault.start].count(b"\n") + 1
        raise ConfigurationError(
            f"{path}, line {line}: not UTF-8, byte {fault.object[fault.start]:#04x}. Convert the file (for "
            f"example with `iconv -t UTF-8`), or change `filepath` {ENTRY}."
        ) from fault
    except OSError as fault:
        raise ConfigurationError(f"{path} cannot be read: {fault}. Change `filepath` {ENTRY}.") from fault


def _records(path: Path, text: str, load_args: JsonObject) -> list[Record]:
    """Every record that is not an empty line."""
    # `strict` refuses a quote that is never closed or that text follows; without it fields run together.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **load_args)
    records, start = [], 1
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                records.append((start, fields))
            start = reader.line_num + 1
    except csv.Error as fault:
        raise ConfigurationError(
            f"{path}, line {start}: the quoting of this row is broken ({fault}). Write a quotation mark inside a "
            f'quoted field twice (""), or change `load_args` {ENTRY}.'
        ) from fault
    return records


def _kept_names(path: Path, header: Sequence[str], required: Sequence[str]) -> dict[str, str]:
    """The name in the table of every column of the file."""
    kept_as = {
        name: SHAPE_NAMES.get(name) or (f"table_{name or position}" if name in MADE_COLUMNS | {""} else name)
        for position, name in enumerate(header, 1)
    }
    faults = [f"no column `{name}`" for name in required if name not in header]
    faults += [f"column `{name}` appears {header.count(name)} times" for name in kept_as if header.count(name) > 1]
    faults += [
        f"column `{name}` would be kept as `{kept}`, a name that another column has"
        for name, kept in kept_as.items()
        if name not in SHAPE_NAMES and kept != name and kept in header
    ]
    if faults:
        found = ", ".join(f"`{name}`" for name in header) or "none"
        raise ConfigurationError(
            f"{path}, line 1: {'; '.join(faults)}. Columns found: {found}. Needed are {', '.join(required)}, "
            f"each once; {', '.join(name for name in _RULES if name not in required)} are read where they are there, "
            "and more columns may follow, each with a name of its own. Mend the header, or change `filepath` or "
            f"`load_args` (such as {{delimiter: ';'}}) {ENTRY}."
        )
    return kept_as


def _checked_columns(
    path: Path, header: Sequence[str], records: Sequence[Record]
) -> dict[str, NDArray[Any] | list[str]]:
    """The cells of every column by its name in the file: numbers where it has a rule, else the texts."""
    width = len(header)
    # Fields beyond the header may have shifted all others, so such a row is named once and not looked at.
    faults = [
        (line, 0, f"line {line}: {len(fields)} fields, allowed are {width}, as many as the header has")
        for line, fields in records
        if len(fields) > width
    ]
    rows = [record for record in records if len(record[1]) <= width]
    columns: dict[str, NDArray[Any] | list[Any]] = {}
    for position, (name, *cells) in enumerate(zip_longest(header, *(fields for _, fields in rows))):
        columns[name], fits = _converted(cells, _RULES.get(name))
        allowed = _RULES[name].allowed if name in _RULES else "any text"
        for index in np.flatnonzero(~fits):
            line, cell = rows[index][0], cells[index]
            seen = "the row ends before it" if cell is None else f"found {cell!r:.80}"
            faults.append((line, position, f"line {line}, column `{name}`: {seen}, allowed is {allowed}"))
    if faults:
        shown = [f"  - {text}" for _, _, text in sorted(faults)[:MAX_FAULTS_SHOWN]]
        more = [f"  and {len(faults) - len(shown)} more"] if len(faults) > len(shown) else []
        raise ConfigurationError(
            "\n".join([f"{path} has {len(faults)} fault(s):", *shown, *more])
            + f"\nMend the file, or change `filepath` or `load_args` {ENTRY}."
        )
    return columns


def _converted(cells: Sequence[str | None], rule: _Rule | None) -> tuple[Any, NDArray[np.bool_]]:
    """The values of a column and (N,) True where a cell is allowed; None is a cell that its row lacks."""
    if rule is None:
        return cells, np.array([cell is not None for cell in cells], dtype=bool)
    number_of = {cell: _number(cell or "") for cell in set(cells)}  # sizes repeat, and reading one is the slow part
    numbers = np.array([number_of[cell] for cell in cells], dtype=float)
    fits = rule.fits(numbers)
    if rule.may_be_empty:
        fits |= np.array([cell is not None and not cell.strip() for cell in cells], dtype=bool)
    return numbers.astype(rule.dtype) if fits.all() else numbers, fits


def _number(text: str) -> float:
    """The number a text holds, spaces aside, else NaN; stricter than `float`, which takes 1_000 and nan."""
    return float(text) if _NUMBER.fullmatch(text.strip()) else math.nan


def as_numbers(cells: pd.Series) -> pd.Series:
    """A column as numbers where all of its cells that hold something are (NaN where empty), else its texts stripped."""
    if is_numeric_dtype(cells):
        return cells
    texts = cells.str.strip()
    numbers = texts.map(_number).astype(float)
    return numbers if (numbers.notna() | (texts == "")).all() and numbers.notna().any() else texts
