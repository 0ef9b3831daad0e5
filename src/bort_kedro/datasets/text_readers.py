"""Documents one after another from files or from the hub, none held longer than it is needed."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from bort_kedro.datasets.file_parts import BOUNDARY_BYTES, JSON_LINE_END, WIKI_END, FilePart, cut
from bort_kedro.datasets.listing import matches
from bort_kedro.datasets.local_disk import OnLocalDisk
from bort_kedro.errors import LONGEST_SAID, CorpusError, said_by, shortened
from bort_kedro.frozen import JsonObject
from bort_kedro.git_lfs import pointer_fault
from bort_kedro.text.prose import half_character, is_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from datasets import IterableDataset

DOCUMENT_BOUNDARIES = {
    "file": None,
    "section": re.compile(r"\n[ \t]*\n[ \t]*\n\s*"),
    "paragraph": re.compile(r"\n[ \t]*\n\s*"),
    "line": re.compile(r"\n+"),
}
READ_BYTES = 2**20
_LINE_END = re.compile(r"\n")
_WIKI_MARK, _WIKI_CLOSE = "<doc ", "</doc>"
_WIKI_DOCUMENT = re.compile(r"<doc\b([^>]*)>\n?(.*?)</doc>", re.DOTALL)
_WIKI_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class TextFiles:
    """Documents of text files: plain, ``.jsonl``, or WikiExtractor ``<doc>`` markup, each also gzipped.

    A file is read a MiB at a time, so that memory holds one document and not one file.

    Args:
        paths: Files or glob patterns, ``**`` allowed; read in sorted order.
        document_boundary: How plain text is cut into documents: ``file``, ``section`` (two blank
            lines), ``paragraph`` (one blank line) or ``line``.
        text_field: The field of a ``.jsonl`` row that holds the text.
        catalog_entry: Where all this is written, for errors.

    Raises:
        CorpusError: If the boundary is none of these.
    """

    paths: tuple[str, ...]
    document_boundary: str
    text_field: str
    catalog_entry: str

    def __post_init__(self) -> None:
        if self.document_boundary not in DOCUMENT_BOUNDARIES:
            raise CorpusError(
                f"Unknown document_boundary `{self.document_boundary}` in {self.catalog_entry}. "
                f"Allowed: {', '.join(DOCUMENT_BOUNDARIES)}."
            )

    @cached_property
    def files(self) -> list[Path]:
        """The files, each once, as they were when first asked for."""
        files: list[Path] = []
        for pattern in self.paths:
            found = sorted(Path(name) for name in matches(pattern) if Path(name).is_file())
            if not found:
                raise CorpusError(
                    f"No file matches `{pattern}` (seen from {Path.cwd()}). Expected UTF-8 text, .jsonl or "
                    f"WikiExtractor files, gzipped or not. Change `paths` in {self.catalog_entry}."
                )
            files += [path for path in found if path not in files]
        return files

    def documents_of(self, path: Path) -> Iterator[tuple[str, str, str]]:
        """``(document_id, source, text)`` of one file's documents, those without text left out."""
        source = path.name.removesuffix(".gz").rsplit(".", 1)[0]
        is_void = True
        for index, text in self._texts(FilePart(path)):
            if text.strip():
                is_void = False
                yield f"{path.name}::{index}", source, text
        if is_void:
            raise CorpusError(
                f"{path} holds no usable document: it is empty, or every text in it is. Expected prose in UTF-8. "
                f"Take the file out of `paths` in {self.catalog_entry}, or mend it."
            )

    def parts_of(self, path: Path) -> list[FilePart]:
        """Where a file is cut, so that many may read it; one that is compressed stays whole."""
        if path.suffix == ".gz":
            return [FilePart(path)]
        try:
            return cut(path, self._end_of_documents(path))
        except OSError as fault:
            raise self._unreadable(path, fault) from fault

    def _end_of_documents(self, path: Path) -> re.Pattern[bytes] | None:
        if ".jsonl" in path.suffixes:
            return JSON_LINE_END
        with self._open(path) as file:
            head = file.read(READ_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
        return WIKI_END if head.startswith(_WIKI_MARK.encode()) else BOUNDARY_BYTES[self.document_boundary]

    def texts_of(self, part: FilePart) -> Iterator[str]:
        """Texts of a part's documents, those without text left out."""
        return (text for _, text in self._texts(part) if text.strip())

    def _texts(self, part: FilePart) -> Iterator[tuple[str, str]]:
        path, pieces = part.path, self._read_utf8(part)
        if ".jsonl" in path.suffixes:
            yield from self._json_lines(part, pieces)
            return
        head = ""
        for piece in pieces:
            head += piece
            if len(head.lstrip()) >= len(_WIKI_MARK):
                break
        pieces = chain([head], pieces)
        boundary = DOCUMENT_BOUNDARIES[self.document_boundary]
        # A part is what its file is, whatever it begins with.
        is_wiki = self._end_of_documents(path) is WIKI_END if part.start else head.lstrip().startswith(_WIKI_MARK)
        if is_wiki:
            yield from self._wiki_documents(path, pieces)
        else:
            texts = split_pieces(pieces, boundary) if boundary else ["".join(pieces)]
            yield from ((str(index), text.strip()) for index, text in enumerate(texts))

    def _wiki_documents(self, path: Path, pieces: Iterable[str]) -> Iterator[tuple[str, str]]:
        rest, num_marks, num_documents, outside = "", 0, 0, ""
        for piece in pieces:
            unseen = max(0, len(rest) - len(_WIKI_CLOSE))
            rest += piece
            # Nothing is looked for in what no mark closes, which a file that is no such markup may have megabytes of.
            done, closed = 0, rest.rfind(_WIKI_CLOSE, unseen) + len(_WIKI_CLOSE)
            for match in _WIKI_DOCUMENT.finditer(rest, 0, closed if closed >= len(_WIKI_CLOSE) else 0):
                num_documents += 1
                num_marks += rest.count(_WIKI_MARK, done, match.end())
                outside = outside or rest[done : match.start()].strip()
                done = match.end()
                yield dict(_WIKI_ATTRIBUTE.findall(match[1])).get("id", "?"), match[2].strip()
            rest = rest[done:]
        num_marks += rest.count(_WIKI_MARK)
        if num_documents != num_marks:
            raise CorpusError(
                f"{path}: {num_marks} `<doc ...>` but {num_documents} `</doc>` that close one. The file "
                f"is cut short or no WikiExtractor output; mend it, or take it out of {self.catalog_entry}."
            )
        if outside := outside or rest.strip():
            raise CorpusError(
                f"{path}: {outside[:80]!r} stands outside of every `<doc ...>`, and would be lost. Mend the file, or "
                f"take it out of {self.catalog_entry}."
            )

    def _json_lines(self, part: FilePart, pieces: Iterable[str]) -> Iterator[tuple[str, str]]:
        path = f"{part.path}, after byte {part.start}" if part.start else f"{part.path}"
        for number, line in enumerate(split_pieces(pieces, _LINE_END), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                value = row[self.text_field]
            except (ValueError, RecursionError, KeyError, TypeError) as fault:
                raise CorpusError(
                    f"{path}, line {number}: not a JSON object with a text field `{self.text_field}` "
                    f"({said_by(fault)}). Mend the line, or change `text_field` in {self.catalog_entry}."
                ) from fault
            if not is_whole(value):
                raise CorpusError(
                    f"{path}, line {number}: `{self.text_field}` {_no_text(value)}. "
                    f"Mend the line, or change `text_field` in {self.catalog_entry}."
                )
            yield str(number), value

    def _read_utf8(self, part: FilePart) -> Iterator[str]:
        """Text of a part in pieces, gzip undone, byte-order mark dropped, line ends made ``\\n``."""
        utf8 = codecs.getincrementaldecoder("utf-8")()
        decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
        path, start, raw = part.path, part.start, b"more"  # start: where what the decoder holds begins, in bytes
        with self._open(path) as file:
            file.seek(start)
            # No error is caught around the yield: a reader that is left half-way may end after the modules do.
            while raw:
                try:
                    raw = file.read(READ_BYTES if part.stop is None else min(READ_BYTES, part.stop - file.tell()))
                    text = decoder.decode(raw, final=not raw)
                except UnicodeDecodeError as fault:
                    raise CorpusError(
                        f"{path} is not UTF-8: byte {fault.object[fault.start]:#04x} at offset {start + fault.start}. "
                        f"Convert it (for example with `iconv -t UTF-8`), or take it out of {self.catalog_entry}."
                    ) from fault
                except (OSError, EOFError, zlib.error) as fault:
                    raise self._unreadable(path, fault) from fault
                yield text if start else text.removeprefix("\ufeff")
                start = file.tell() - len(utf8.getstate()[0])

    def _open(self, path: Path) -> IO[bytes]:
        try:
            with path.open("rb") as file:
                pointer = pointer_fault(file.read(64))
            if pointer:
                raise CorpusError(f"{path} {pointer}. Fetch it, or take it out of {self.catalog_entry}.")
            return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
        except OSError as fault:
            raise self._unreadable(path, fault) from fault

    def _unreadable(self, path: Path, fault: Exception) -> CorpusError:
        return CorpusError(f"{path} cannot be read: {said_by(fault)}. Check {self.catalog_entry}.")


def _no_text(value: object) -> str:
    if isinstance(value, str):
        return f"has {half_character(value)}, expected a text of whole ones"
    return f"is {shortened(repr(value), LONGEST_SAID)}, expected a text"


def split_pieces(pieces: Iterable[str], boundary: re.Pattern[str]) -> Iterator[str]:
    """``boundary.split("".join(pieces))`` while holding no more than one part and one piece.

    A boundary matches white space only, and as much of it as it can.
    """
    rest = ""
    for piece in pieces:
        searched = len(rest.rstrip())  # a boundary that is not whole yet begins here or later
        rest += piece
        start = 0
        for match in boundary.finditer(rest, searched):
            if match.end() == len(rest):  # it may go on in the next piece
                break
            yield rest[start : match.start()]
            start = match.end()
        rest = rest[start:]
    yield from boundary.split(rest)


class FromTextFiles(OnLocalDisk):
    """Mixed in before a dataset's class: made of what `TextFiles` takes; ``metadata`` is free for Kedro-Viz."""

    # In whose name faults are told.
    _catalog_entry: str

    def __init__(
        self,
        paths: list[str],
        document_boundary: str = "section",
        text_field: str = "text",
        metadata: JsonObject | None = None,
    ) -> None:
        given = [paths] if isinstance(paths, str) else paths
        self._reader = TextFiles(tuple(given), document_boundary, text_field, self._catalog_entry)
        self.metadata = metadata

    def _describe(self) -> JsonObject:
        return {"paths": list(self._reader.paths), "document_boundary": self._reader.document_boundary}


@dataclass(frozen=True)
class HubText:
    """Documents of a data set of the Hugging Face hub, streamed; a revision is a branch, tag or commit, None the
    newest."""

    dataset_id: str
    configuration: str | None
    split: str
    text_field: str
    revision: str | None
    catalog_entry: str

    def num_shards(self) -> int:
        """Files of the split, or what the hub's library divides it by."""
        try:
            return int(self._rows().num_shards)
        except (OSError, ValueError, RuntimeError) as fault:
            raise self._unreadable(fault) from fault

    def documents(self, *, shard: int | None = None, skip: int = 0) -> Iterator[tuple[str, str]]:
        """``(document_id, text)`` from the ``skip``-th row on, which the library skips unread where it can, rows
        without text among them; of one of ``num_shards``, whose rows are counted from 0, or of all."""
        try:
            rows = self._rows()
            if shard is not None:
                rows = rows.shard(rows.num_shards, shard)
            name = self.dataset_id if shard is None else f"{self.dataset_id}, shard {shard}"
            for index, row in enumerate(rows.skip(skip), skip):
                text = row[self.text_field]
                if not is_whole(text):
                    raise CorpusError(
                        f"The data set `{name}`, row {index}: `{self.text_field}` {_no_text(text)}. "
                        f"Change `text_field` in {self.catalog_entry}."
                    )
                yield f"{self.dataset_id}::{index}", text
        except KeyError as fault:
            raise CorpusError(
                f"The data set `{self.dataset_id}` has no column {fault}. Change `text_field` in {self.catalog_entry}."
            ) from fault
        except (OSError, ValueError, RuntimeError) as fault:
            raise self._unreadable(fault) from fault

    def _rows(self) -> IterableDataset:
        from datasets import load_dataset

        return load_dataset(
            self.dataset_id, self.configuration, split=self.split, streaming=True, revision=self.revision
        )

    def commit(self) -> str:
        """What the revision stands for now: the hub's commit, or the hash of what a local folder says of itself."""
        from datasets import load_dataset_builder

        try:
            return str(load_dataset_builder(self.dataset_id, self.configuration, revision=self.revision).hash)
        except (OSError, ValueError, RuntimeError) as fault:
            raise self._unreadable(fault) from fault

    def _unreadable(self, fault: Exception) -> CorpusError:
        return CorpusError(
            f"The data set `{self.dataset_id}` (configuration {self.configuration}, split {self.split}) "
            f"cannot be read from the hub: {said_by(fault)}. Check the name and the network, or name local files "
            f"instead in {self.catalog_entry}."
        )


class FromHub:
    """Mixed in before a dataset's class: made of what `HubText` takes; ``metadata`` is free for Kedro-Viz."""

    # In whose name faults are told.
    _catalog_entry: str

    def __init__(
        self,
        dataset_id: str,
        configuration: str | None = None,
        split: str = "train",
        text_field: str = "text",
        revision: str | None = None,
        metadata: JsonObject | None = None,
    ) -> None:
        self._reader = HubText(dataset_id, configuration, split, text_field, revision, self._catalog_entry)
        self.metadata = metadata

    def _describe(self) -> JsonObject:
        return {name: getattr(self._reader, name) for name in ("dataset_id", "configuration", "split", "revision")}
