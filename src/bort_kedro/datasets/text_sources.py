"""Read-only text sources; loading one gives a table with columns ``document_id``, ``source``, ``text``.

Choose one in the catalog entry ``raw_corpus``.
"""

from __future__ import annotations

import ast
import gzip
import importlib.metadata
import importlib.util
import json
import re
import zlib
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd
from kedro.io import AbstractDataset

from bort_kedro.core.prose import prose_paragraphs, unseen
from bort_kedro.errors import CorpusError
from bort_kedro.progress import track

if TYPE_CHECKING:
    from collections.abc import Iterator

CATALOG_ENTRY = "the catalog entry `raw_corpus`"
DOCUMENT_BOUNDARIES = {
    "file": None,
    "section": re.compile(r"\n[ \t]*\n[ \t]*\n\s*"),
    "paragraph": re.compile(r"\n[ \t]*\n\s*"),
    "line": re.compile(r"\n+"),
}
_WIKI_DOCUMENT = re.compile(r"<doc\b([^>]*)>\n?(.*?)</doc>", re.DOTALL)
_WIKI_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


class TextSource(AbstractDataset[NoReturn, pd.DataFrame]):
    """Base of the sources: a subclass yields ``(document_id, source, text)``."""

    def documents(self) -> Iterator[tuple[str, str, str]]:
        raise NotImplementedError

    def versions(self) -> dict[str, str]:
        """What the text was read from, for the corpus manifest."""
        return {}

    def load(self) -> pd.DataFrame:
        rows = [row for row in self.documents() if row[2].strip()]
        if not rows:
            raise CorpusError(
                f"The text source {self._describe()} holds no usable document: every text in it is empty. "
                f"Expected English or other prose in UTF-8. Change {CATALOG_ENTRY}."
            )
        table = pd.DataFrame(rows, columns=["document_id", "source", "text"])
        # Getter and setter share a name, as may files of two folders; an id names one document.
        repeat = table.groupby("document_id").cumcount()
        table["document_id"] = table["document_id"].where(
            repeat == 0, table["document_id"] + "#" + (repeat + 1).astype(str)
        )
        table.attrs["versions"] = self.versions()
        return table

    def save(self, data: NoReturn) -> None:
        raise CorpusError(f"{type(self).__name__} only reads; write your text with the tool that made it.")

    def _exists(self) -> bool:
        return True


class InstalledDocumentationDataset(TextSource):
    """Prose from the documentation strings of installed packages, parsed with ``ast`` and never imported.

    One document is one module, class or function that has prose of its own. Paragraphs met before,
    in any package, are left out, so inherited descriptions count once.

    Args:
        packages: Top-level import names, read in this order.
        metadata: Free for plugins such as Kedro-Viz.
    """

    def __init__(self, packages: list[str], metadata: dict[str, Any] | None = None) -> None:
        self._packages = [packages] if isinstance(packages, str) else list(packages)
        self.metadata = metadata

    def documents(self) -> Iterator[tuple[str, str, str]]:
        seen: set[str] = set()
        files = [(package, *file) for package in self._packages for file in self._files(package)]
        for package, path, name in track(files, "reading documentation", total=len(files)):
            for qualified_name, docstring in _docstrings(path):
                paragraphs = unseen(prose_paragraphs(docstring), seen)
                if paragraphs:
                    yield f"{name}::{qualified_name}", package, "\n".join(paragraphs)

    def _files(self, package: str) -> list[tuple[Path, str]]:
        """Source files of a package, tests left out, each with its path inside the package."""
        root = self._folder(package)
        named = [(path, path.relative_to(root.parent)) for path in sorted(root.rglob("*.py"))]
        return [
            (path, relative.as_posix())
            for path, relative in named
            if "tests" not in relative.parts and not path.name.startswith("test_")
        ]

    def versions(self) -> dict[str, str]:
        providers = importlib.metadata.packages_distributions()
        return {
            package: importlib.metadata.version(providers[package][0]) if package in providers else "no distribution"
            for package in self._packages
        }

    @staticmethod
    def _folder(package: str) -> Path:
        # Looking for `a.b` would import `a`.
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise CorpusError(
                f"The package `{package}` is not installed, so its documentation cannot be read. Expected "
                f"the import name of an installed package with a folder of its own. Change `packages` "
                f"in {CATALOG_ENTRY}, or install `{package}`."
            )
        return Path(next(iter(spec.submodule_search_locations)))

    def _describe(self) -> dict[str, Any]:
        return {"packages": self._packages}


def _docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Yield ``(qualified name, docstring)`` of a module and all it defines, in the file's order."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
        docstring = ast.get_docstring(node)  # type: ignore[arg-type]
        if docstring:
            yield prefix or "module", docstring
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(child, f"{prefix}.{child.name}".lstrip("."))

    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError:  # a template of a project, say, that is no Python before it is filled in
        return
    yield from walk(tree, "")


class TextFilesDataset(TextSource):
    """Documents from text files: plain, ``.jsonl``, or WikiExtractor ``<doc>`` markup, each also gzipped.

    Args:
        paths: Files or glob patterns, ``**`` allowed; read in sorted order.
        document_boundary: How plain text is cut into documents: ``file``, ``section`` (two blank
            lines), ``paragraph`` (one blank line) or ``line``.
        text_field: The field of a ``.jsonl`` row that holds the text.
        metadata: Free for plugins such as Kedro-Viz.
    """

    def __init__(
        self,
        paths: list[str],
        document_boundary: str = "section",
        text_field: str = "text",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if document_boundary not in DOCUMENT_BOUNDARIES:
            raise CorpusError(
                f"Unknown document_boundary `{document_boundary}` in {CATALOG_ENTRY}. "
                f"Allowed: {', '.join(DOCUMENT_BOUNDARIES)}."
            )
        self._paths = [paths] if isinstance(paths, str) else list(paths)
        self._boundary = document_boundary
        self._text_field = text_field
        self.metadata = metadata

    def documents(self) -> Iterator[tuple[str, str, str]]:
        files = self._files()
        for path in track(files, "reading text files", total=len(files)):
            source = path.name.removesuffix(".gz").rsplit(".", 1)[0]
            texts = [(index, text) for index, text in self._texts(path) if text.strip()]
            if not texts:
                raise CorpusError(
                    f"{path} holds no usable document: it is empty, or every text in it is. Expected prose in UTF-8. "
                    f"Take the file out of `paths` in {CATALOG_ENTRY}, or mend it."
                )
            yield from ((f"{path.name}::{index}", source, text) for index, text in texts)

    def versions(self) -> dict[str, str]:
        return {path.name: f"{path.stat().st_size} bytes" for path in self._files()}

    def _files(self) -> list[Path]:
        files: list[Path] = []
        for pattern in self._paths:
            found = sorted(Path(name) for name in glob(pattern, recursive=True) if Path(name).is_file())
            if not found:
                raise CorpusError(
                    f"No file matches `{pattern}` (seen from {Path.cwd()}). Expected UTF-8 text, .jsonl or "
                    f"WikiExtractor files, gzipped or not. Change `paths` in {CATALOG_ENTRY}."
                )
            files += [path for path in found if path not in files]
        return files

    def _texts(self, path: Path) -> Iterator[tuple[str, str]]:
        text = _read_utf8(path)
        if ".jsonl" in path.suffixes:
            yield from self._json_lines(path, text)
        elif text.lstrip().startswith("<doc "):
            documents = _WIKI_DOCUMENT.findall(text)
            if len(documents) != text.count("<doc "):
                raise CorpusError(
                    f"{path}: {text.count('<doc ')} `<doc ...>` but {len(documents)} `</doc>` that close one. The file "
                    f"is cut short or no WikiExtractor output; mend it, or take it out of {CATALOG_ENTRY}."
                )
            for attributes, body in documents:
                yield dict(_WIKI_ATTRIBUTE.findall(attributes)).get("id", "?"), body.strip()
        else:
            boundary = DOCUMENT_BOUNDARIES[self._boundary]
            pieces = boundary.split(text) if boundary else [text]
            for index, piece in enumerate(pieces):
                yield str(index), piece.strip()

    def _json_lines(self, path: Path, text: str) -> Iterator[tuple[str, str]]:
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                value = row[self._text_field]
            except (json.JSONDecodeError, KeyError, TypeError) as fault:
                raise CorpusError(
                    f"{path}, line {number}: not a JSON object with a text field `{self._text_field}` "
                    f"({fault}). Mend the line, or change `text_field` in {CATALOG_ENTRY}."
                ) from fault
            if not isinstance(value, str):
                raise CorpusError(
                    f"{path}, line {number}: `{self._text_field}` is {value!r}, expected a text. "
                    f"Mend the line, or change `text_field` in {CATALOG_ENTRY}."
                )
            yield str(number), value

    def _describe(self) -> dict[str, Any]:
        return {"paths": self._paths, "document_boundary": self._boundary}


def _read_utf8(path: Path) -> str:
    """Text of a file, gzip undone, byte-order mark dropped, line ends made ``\\n``."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as fault:
        raise CorpusError(
            f"{path} is not UTF-8: byte {fault.object[fault.start]:#04x} at offset {fault.start}. "
            f"Convert it (for example with `iconv -t UTF-8`), or take it out of {CATALOG_ENTRY}."
        ) from fault
    except (OSError, EOFError, zlib.error) as fault:
        raise CorpusError(f"{path} cannot be read: {fault}. Check {CATALOG_ENTRY}.") from fault


class HubTextDataset(TextSource):
    """Documents from a data set of the Hugging Face hub, streamed, so that it need not fit on the disk.

    Args:
        dataset_id: For example ``wikimedia/wikipedia``.
        configuration: The data set's configuration, such as ``20231101.en``.
        split: The data set's split.
        text_field: The column that holds the text.
        max_documents: Stop after this many.
        metadata: Free for plugins such as Kedro-Viz.
    """

    def __init__(
        self,
        dataset_id: str,
        max_documents: int,
        configuration: str | None = None,
        split: str = "train",
        text_field: str = "text",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._dataset_id, self._configuration, self._split = dataset_id, configuration, split
        self._text_field, self._max_documents = text_field, max_documents
        self.metadata = metadata

    def documents(self) -> Iterator[tuple[str, str, str]]:
        from datasets import load_dataset

        try:
            rows = load_dataset(self._dataset_id, self._configuration, split=self._split, streaming=True)
            limited = track(rows.take(self._max_documents), "reading the hub", total=self._max_documents)
            for index, row in enumerate(limited):
                text = row[self._text_field]
                if not isinstance(text, str):
                    raise CorpusError(
                        f"The data set `{self._dataset_id}`, row {index}: `{self._text_field}` is {text!r}, expected a "
                        f"text. Change `text_field` in {CATALOG_ENTRY}."
                    )
                yield f"{self._dataset_id}::{index}", self._dataset_id, text
        except KeyError as fault:
            raise CorpusError(
                f"The data set `{self._dataset_id}` has no column {fault}. Change `text_field` in {CATALOG_ENTRY}."
            ) from fault
        except (OSError, ValueError, RuntimeError) as fault:
            raise CorpusError(
                f"The data set `{self._dataset_id}` (configuration {self._configuration}, split {self._split}) "
                f"cannot be read from the hub: {fault}. Check the name and the network, or name local files "
                f"with TextFilesDataset in {CATALOG_ENTRY}."
            ) from fault

    def versions(self) -> dict[str, str]:
        return {self._dataset_id: f"{self._configuration}/{self._split}"}

    def _describe(self) -> dict[str, Any]:
        return {"dataset_id": self._dataset_id, "configuration": self._configuration, "split": self._split}
