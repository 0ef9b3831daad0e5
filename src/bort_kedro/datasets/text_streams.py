"""Text that is read while training goes on, for a corpus that no disk holds; loading one gives a handle, not data.

Choose one in the catalog entry ``text_stream``, which is read where ``training_data`` says so. It consists of shards,
any of which is read without the others.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

from kedro.io import AbstractDataset

from bort_kedro.datasets.file_parts import PART_BYTES, FilePart
from bort_kedro.datasets.text_readers import FromHub, FromTextFiles, HubText, TextFiles
from bort_kedro.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator

CATALOG_ENTRY = "the catalog entry `text_stream`"


@dataclass(frozen=True)
class TextFilesStream:
    """Texts of files, whose shards are the files; one that is large and not compressed is cut into several.

    Files are those found when first asked for.
    """

    reader: TextFiles

    @cached_property
    def fingerprint(self) -> str:
        """Hash of names, sizes and how they are cut; contents are not read for it."""
        files = [(path.name, path.stat().st_size) for path in self.reader.files]
        return _digest(files, self.reader.document_boundary, self.reader.text_field, PART_BYTES)

    @property
    def num_shards(self) -> int:
        """Parts of all files."""
        return len(self._parts)

    def texts(self, shard: int, skip: int) -> Iterator[str]:
        """Those of a shard from the ``skip``-th on; other shards are not read, and those before it are."""
        return islice(self.reader.texts_of(self._parts[shard]), skip, None)

    @cached_property
    def _parts(self) -> list[FilePart]:
        return [part for path in self.reader.files for part in self.reader.parts_of(path)]


@dataclass(frozen=True)
class HubTextStream:
    """Texts of a data set of the Hugging Face hub, whose shards are its files; rows without text are among them.

    Args:
        reader: Of the data set. What its revision stands for is asked once, and that commit is read thereafter.
    """

    reader: HubText

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the data set's name, its parts and its commit."""
        reader = self.reader
        return _digest(reader.dataset_id, reader.configuration, reader.split, reader.text_field, self._commit)

    @cached_property
    def num_shards(self) -> int:
        """As the hub's library counts them."""
        return self._at_commit.num_shards()

    def texts(self, shard: int, skip: int) -> Iterator[str]:
        """Those of a shard from the ``skip``-th row on; the hub's library skips what it can unread."""
        return (text for _, text in self._at_commit.documents(shard=shard, skip=skip))

    @property
    def _at_commit(self) -> HubText:
        return replace(self.reader, revision=self._commit)

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


class HubTextStreamDataset(FromHub, AbstractDataset[NoReturn, HubTextStream]):
    """A stream over a data set of the Hugging Face hub, as `FromHub` says.

    Its newest revision is that at the start of a run. Name a commit where a training may be resumed, as it goes on only
    with the data it began with.
    """

    _catalog_entry = CATALOG_ENTRY

    def load(self) -> HubTextStream:
        return HubTextStream(self._reader)

    def save(self, data: NoReturn) -> None:
        raise _only_reads(self)

    def _exists(self) -> bool:
        return True


def _only_reads(dataset: AbstractDataset) -> CorpusError:
    return CorpusError(f"{type(dataset).__name__} only reads; write your text with the tool that made it.")
