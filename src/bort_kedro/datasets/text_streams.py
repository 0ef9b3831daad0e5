"""Text that is read while training goes on, for a corpus that no disk holds; loading one gives a handle, not data.

Choose one in the catalog entry ``text_stream``, which is read where ``training_data`` says so. Documents have the
ids that the text source of the same kind gives them, so that those held out of the sample are known again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

from kedro.io import AbstractDataset

from bort_kedro.datasets.text_readers import FromTextFiles, HubText, TextFiles
from bort_kedro.errors import CorpusError
from bort_kedro.frozen import JsonObject

if TYPE_CHECKING:
    from collections.abc import Iterator

CATALOG_ENTRY = "the catalog entry `text_stream`"


@dataclass(frozen=True)
class TextFilesStream:
    """Documents of text files, in the order of the files.

    Files are those found when first asked for. Where files share a name, as the parts of a WikiExtractor dump
    do, the ids met in them stay in memory, some hundred bytes a document.

    Args:
        reader: Of the files.
    """

    reader: TextFiles

    @cached_property
    def fingerprint(self) -> str:
        """Hash of names, sizes and how they are cut; contents are not read for it."""
        files = [(path.name, path.stat().st_size) for path in self.reader.files]
        return _digest(files, self.reader.document_boundary, self.reader.text_field)

    def documents(self, skip: int) -> Iterator[tuple[str, str]]:
        """``(document_id, text)`` from the ``skip``-th on; those before are read, too."""
        return islice(self._documents(), skip, None)

    def _documents(self) -> Iterator[tuple[str, str]]:
        files_left = Counter(path.name for path in self.reader.files)
        met: dict[str, Counter[str]] = {}
        for path in self.reader.files:
            repeats = met.setdefault(path.name, Counter())
            for document_id, _, text in self.reader.documents_of(path):
                repeats[document_id] += 1
                # As the text sources name the second document of an id.
                yield document_id if repeats[document_id] == 1 else f"{document_id}#{repeats[document_id]}", text
            files_left[path.name] -= 1
            if not files_left[path.name]:
                del met[path.name]


@dataclass(frozen=True)
class HubTextStream:
    """Rows of a data set of the Hugging Face hub, rows without text among them.

    Args:
        reader: Of the data set. What its revision stands for is asked once, and that commit is read thereafter.
    """

    reader: HubText

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the data set's name, its parts and its commit."""
        reader = self.reader
        return _digest(reader.dataset_id, reader.configuration, reader.split, reader.text_field, self._commit)

    def documents(self, skip: int) -> Iterator[tuple[str, str]]:
        """``(document_id, text)`` from the ``skip``-th row on; the hub's library skips what it can unread."""
        return replace(self.reader, revision=self._commit).documents(skip=skip)

    @cached_property
    def _commit(self) -> str:
        return self.reader.commit()


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


class TextFilesStreamDataset(FromTextFiles, AbstractDataset[NoReturn, TextFilesStream]):
    """A stream over text files, as `FromTextFiles` says; cut into documents as in ``raw_corpus``."""

    _catalog_entry = CATALOG_ENTRY

    def load(self) -> TextFilesStream:
        return TextFilesStream(self._reader)

    def save(self, data: NoReturn) -> None:
        raise _only_reads(self)

    def _exists(self) -> bool:
        return True


class HubTextStreamDataset(AbstractDataset[NoReturn, HubTextStream]):
    """A stream over a data set of the Hugging Face hub.

    Args:
        dataset_id: For example ``wikimedia/wikipedia``.
        configuration: The data set's configuration, such as ``20231101.en``.
        split: The data set's split.
        text_field: The column that holds the text.
        revision: Branch, tag or commit of the data set; None for the newest at the start of a run. Name a commit
            where a training may be resumed, as it goes on only with the data it began with.
        metadata: Free for plugins such as Kedro-Viz.
    """

    def __init__(
        self,
        dataset_id: str,
        configuration: str | None = None,
        split: str = "train",
        text_field: str = "text",
        revision: str | None = None,
        metadata: JsonObject | None = None,
    ) -> None:
        self._reader = HubText(dataset_id, configuration, split, text_field, revision, CATALOG_ENTRY)
        self.metadata = metadata

    def load(self) -> HubTextStream:
        return HubTextStream(self._reader)

    def save(self, data: NoReturn) -> None:
        raise _only_reads(self)

    def _exists(self) -> bool:
        return True

    def _describe(self) -> JsonObject:
        reader = self._reader
        return {
            "dataset_id": reader.dataset_id,
            "configuration": reader.configuration,
            "split": reader.split,
            "revision": reader.revision,
        }


def _only_reads(dataset: AbstractDataset) -> CorpusError:
    return CorpusError(f"{type(dataset).__name__} only reads; write your text with the tool that made it.")
