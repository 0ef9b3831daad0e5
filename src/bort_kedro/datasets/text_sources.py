"""Read-only text sources; loading one gives a table with columns ``document_id``, ``source``, ``text``.

Choose one in the catalog entry ``raw_corpus``.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd
from kedro.io import AbstractDataset

from bort_kedro.datasets.text_readers import FromHub, FromTextFiles
from bort_kedro.errors import CorpusError
from bort_kedro.frozen import JsonObject
from bort_kedro.progress import track
from bort_kedro.text.prose import prose_paragraphs, unseen

if TYPE_CHECKING:
    from collections.abc import Iterator

CATALOG_ENTRY = "the catalog entry `raw_corpus`"


class TextSource(AbstractDataset[NoReturn, pd.DataFrame]):
    """Base of the sources: a subclass yields rows of its ``COLUMNS``, of which the first three are those of all."""

    COLUMNS: tuple[str, ...] = ("document_id", "source", "text")

    def documents(self) -> Iterator[tuple[str, ...]]:
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
        table = pd.DataFrame(rows, columns=list(self.COLUMNS))
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
    in any package, are left out, so inherited descriptions count once. A fourth column, ``arguments``, has the names of
    a function's arguments, or of those of a class' ``__init__``, between blanks.

    Args:
        packages: Top-level import names, read in this order.
    """

    COLUMNS = (*TextSource.COLUMNS, "arguments")

    def __init__(self, packages: list[str], metadata: JsonObject | None = None) -> None:
        self._packages = [packages] if isinstance(packages, str) else list(packages)
        self.metadata = metadata

    def documents(self) -> Iterator[tuple[str, ...]]:
        seen: set[str] = set()
        files = [(package, *file) for package in self._packages for file in self._files(package)]
        for package, path, name in track(files, "reading documentation", total=len(files)):
            for qualified_name, docstring, arguments in _docstrings(path):
                paragraphs = unseen(prose_paragraphs(docstring), seen)
                if paragraphs:
                    yield f"{name}::{qualified_name}", package, "\n".join(paragraphs), " ".join(arguments)

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

    def _describe(self) -> JsonObject:
        return {"packages": self._packages}


def _docstrings(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield ``(qualified name, docstring, arguments)`` of a module and all it defines, in the file's order."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, str, list[str]]]:
        docstring = ast.get_docstring(node)  # type: ignore[arg-type]
        if docstring:
            # Escapes in it may spell half characters.
            yield prefix or "module", docstring.encode(errors="replace").decode(), _arguments(node)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(child, f"{prefix}.{child.name}".lstrip("."))

    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError:  # a template of a project, say, that is no Python before it is filled in
        return
    yield from walk(tree, "")


def _arguments(node: ast.AST) -> list[str]:
    """Names of the arguments of a function, or of what makes an object of a class."""
    if isinstance(node, ast.ClassDef):
        made_by = [child for child in node.body if isinstance(child, ast.FunctionDef) and child.name == "__init__"]
        return _arguments(made_by[0]) if made_by else []
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    given = node.args
    named = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [argument.arg for argument in named if argument is not None and argument.arg not in ("self", "cls")]


class TextFilesDataset(FromTextFiles, TextSource):
    """Documents from text files, as `FromTextFiles` says."""

    _catalog_entry = CATALOG_ENTRY

    def documents(self) -> Iterator[tuple[str, str, str]]:
        files = self._reader.files
        for path in track(files, "reading text files", total=len(files)):
            yield from self._reader.documents_of(path)

    def versions(self) -> dict[str, str]:
        return {path.name: f"{path.stat().st_size} bytes" for path in self._reader.files}


class HubTextDataset(FromHub, TextSource):
    """Documents from a data set of the Hugging Face hub, as `FromHub` says, streamed: it need not fit on the disk.

    Args:
        max_documents: Stop after this many.
        hub: As `FromHub` takes it.
    """

    _catalog_entry = CATALOG_ENTRY

    def __init__(self, dataset_id: str, max_documents: int, **hub: Any) -> None:
        super().__init__(dataset_id, **hub)
        self._max_documents = max_documents

    def documents(self) -> Iterator[tuple[str, str, str]]:
        limited = islice(self._reader.documents(), self._max_documents)
        for document_id, text in track(limited, "reading the hub", total=self._max_documents):
            yield document_id, self._reader.dataset_id, text

    def versions(self) -> dict[str, str]:
        revision = f"@{self._reader.revision}" if self._reader.revision else ""
        return {self._reader.dataset_id: f"{self._reader.configuration}/{self._reader.split}{revision}"}
