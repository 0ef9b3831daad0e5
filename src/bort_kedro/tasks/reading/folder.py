"""Tasks as their archives unpack, found in one folder; and users' own files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bort_kedro.errors import TaskError
from bort_kedro.inside import outside_fault
from bort_kedro.tasks.description import SPLITS, SourceFile, SplitSource, Task
from bort_kedro.tasks.reading.formats import FileRow, is_table, read_rows
from bort_kedro.tasks.reading.reading import ReadingInProgress, TaskReading, is_labelled
from bort_kedro.tasks.records import Record
from bort_kedro.tasks.rows import resolve_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


# Where archives of a benchmark are often unpacked, its own names first: both GLUE and SuperGLUE have a folder RTE.
_FOLDERS = {
    "GLUE": ("glue", "GLUE", "glue_data"),
    "SuperGLUE": ("superglue", "SuperGLUE", "super_glue"),
    "RACE": ("race",),
}
FILES = "`files` in params:finetune"


class TaskFolder:
    """Finds and reads the files of tasks in a folder; see `TaskFilesDataset`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(
        self, task: Task, *, files: Mapping[str, SourceFile] | None = None, skip_bad_rows: bool = False
    ) -> TaskReading:
        """Read the examples of a task.

        Other files than the official ones may be given by split (``train``, ``dev``, ``test``) or by split and part
        (``dev_matched``); they are seen from the task's folder, or from those that it lies in. Malformed rows are left
        out and counted, or else the first is an error.

        Raises:
            TaskError: If files are missing, or hold what the task does not allow.
        """
        chosen = self._find(task, files or {})
        progress = ReadingInProgress(task, skip_bad_rows)
        for source, base, file in chosen:
            path = base / file.path
            progress.begin(source, str(path))
            where = f"`columns` of `own_tasks.{task.name}` in params:finetune" if task.benchmark == "own" else FILES
            read_file(progress, source, path, file, columns_at=where)
            progress.end(source)
        return progress.reading()

    def _find(self, task: Task, files: Mapping[str, SourceFile]) -> list[tuple[SplitSource, Path, SourceFile]]:
        """Each split's folder and file, in the order train, dev, test."""
        if not task.sources:
            raise TaskError(
                f"Task `{task.name}` is made from the corpus, not read from files. Change `tasks` in params:finetune."
            )
        bases, sources = self._bases(task), _with_named_files(task, files)
        # The first folder that has any of the files; the rest of the task lies there, too.
        home = next((base for base in bases if any(_first_existing(base, source) for source in sources)), bases[0])
        found, missing = [], []
        for source in sources:
            is_named = source.key in files
            for base in [home, home.parent, self._folder] if is_named else [home]:
                file = _first_existing(base, source)
                if file is not None:
                    if task.benchmark != "own" and not is_named:
                        _require_inside(task, source, base, file)
                    found.append((source, base, file))
                    break
            else:
                if is_named or source.split in task.required:
                    missing.append(f"{source.key} ({' or '.join(map(_named, source.files))})")
        if missing:
            raise TaskError(_say_what_is_missing(task, missing, bases))
        return found

    def _bases(self, task: Task) -> list[Path]:
        if task.benchmark == "own":
            return [Path()]
        within = (*_FOLDERS.get(task.benchmark, ()), "")
        return [self._folder / outer / name for outer in within for name in task.folders] or [self._folder]


def _with_named_files(task: Task, files: Mapping[str, SourceFile]) -> list[SplitSource]:
    """The task's sources, with files of the user's in place of those of the same split."""
    keys = {source.key for source in task.sources} | {source.split for source in task.sources}
    unknown = [key for key in files if key not in keys]
    if unknown:
        raise TaskError(
            f"Task `{task.name}`: `files` names {', '.join(map(repr, unknown))}. Allowed: {', '.join(sorted(keys))}. "
            f"Change `files.{task.name}` in params:finetune."
        )
    sources = []
    for source in task.sources:
        named = files.get(source.key)
        if named is not None:
            # The official header where the format is the official one: CoLA's files have none of their own.
            official = source.files[0]
            is_alike = named.suffix == official.suffix and not named.header
            sources.append(replace(source, files=(replace(named, header=official.header) if is_alike else named,)))
        elif source.split not in files:
            sources.append(source)
    # One file for a split that has parts has no parts.
    whole = [key for key in files if key not in {source.key for source in task.sources}]
    sources += [SplitSource(split, (files[split],), "") for split in whole]
    return sorted(sources, key=lambda source: SPLITS.index(source.split))


def _first_existing(base: Path, source: SplitSource) -> SourceFile | None:
    for file in source.files:
        if (base / file.path).exists() and (not file.id_file or (base / file.id_file).is_file()):
            return file
    return None


def _require_inside(task: Task, source: SplitSource, base: Path, file: SourceFile) -> None:
    """Refuse links that an archive may have brought; what a user names is followed."""
    place = base / file.path
    for path in (place, *(each for each in place.rglob("*") if each.is_symlink())):
        if fault := outside_fault(base, path.relative_to(base).as_posix()):
            raise TaskError(
                f"Task `{task.name}`: in {base} {fault}. Put the file itself there, or, if it is meant, name it under "
                f"`files.{task.name}.{source.key}` in params:finetune."
            )


def _named(file: SourceFile) -> str:
    return f"{file.path} with {file.id_file}" if file.id_file else file.path


def _say_what_is_missing(task: Task, missing: list[str], bases: list[Path]) -> str:
    if task.benchmark == "own":
        return (
            f"Own task `{task.name}`: files not found: {', '.join(missing)} (seen from {Path.cwd()}). Change "
            f"`own_tasks.{task.name}.files` in params:finetune."
        )
    how = (
        "unpack the benchmark's archive there, change `folder` of `task_files` in the catalog, set `read_from: hub` "
        f"in params:finetune (there it is {task.hub[0]}, {task.hub[1]})"
    )
    return (
        f"Task `{task.name}` ({task.benchmark} {task.title}): files not found: {', '.join(missing)}. Looked in "
        f"{', '.join(map(str, bases))}. To get them, {how}, or name others under `files.{task.name}` there."
    )


def _kept_rows(path: Path, file: SourceFile) -> Iterator[FileRow]:
    """The rows of a file; where a list of ids divides it, those of one side and all malformed ones."""
    rows = read_rows(path, file.header, trailing=file.trailing, suffix=file.suffix)
    if not file.id_file:
        return rows
    names = ("#1 ID", "#2 ID")
    listed = {
        tuple(row.fields.get(name) for name in names) for row in read_rows(path.with_name(file.id_file), header=names)
    }
    return (
        row for row in rows if row.fault or (tuple(row.fields.get(name) for name in names) in listed) == file.in_id_file
    )


def read_file(
    progress: ReadingInProgress, source: SplitSource, path: Path, file: SourceFile, *, columns_at: str
) -> None:
    """Give every row to the reading, with the columns that it has.

    Raises:
        TaskError: If a table lacks some, which are named at ``columns_at``, or the reading ends at a row.
    """
    task, columns = progress.task, None
    has_one_header = is_table(path, file.suffix)
    for number, row in enumerate(_kept_rows(path, file)):
        name, place = str(path), f"{row.path}, line {row.line}"
        if row.fault:
            progress.refuse(row.fault, file=name, place=place, is_known=row.is_short and task.skips_short_rows)
            continue
        # All rows of a table have the columns of its header; objects each have their own.
        if columns is None or not has_one_header:
            try:
                columns = resolve_columns(task, row.fields, is_labelled=is_labelled(source))
            except TaskError as fault:
                if has_one_header:
                    raise TaskError(f"{path}, line 1: {fault}. Mend the file, or change {columns_at}.") from fault
                progress.refuse(str(fault), file=name, place=place)
                continue
        progress.add(source, Record(row.fields, columns, number), file=name, place=place)
