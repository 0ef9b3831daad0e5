"""Versioned reports as text, saved atomically; Markdown is shown in Kedro-Viz."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io.core import AbstractVersionedDataset, Version, VersionNotFoundError
from kedro_datasets._typing import HTMLPreview

from bort_kedro.datasets.atomic import pending
from bort_kedro.errors import StorageError


class TextReportDataset(AbstractVersionedDataset[str, str]):
    """Saves and loads the text of a report in UTF-8.

    Args:
        filepath: The ``.md`` or ``.html`` file on a local disk.
        version: Given by Kedro for an entry with ``versioned: true``.
        metadata: Free for plugins such as Kedro-Viz.
    """

    def __init__(
        self, *, filepath: str, version: Version | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath=PurePosixPath(filepath), version=version)
        self.metadata = metadata

    def load(self) -> str:
        path = Path(self._get_load_path())
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as fault:
            raise StorageError(
                f"{path} is not UTF-8 text: byte {fault.object[fault.start]:#04x} at offset {fault.start}. "
                "Delete it and run `kedro run --pipelines evaluate` to write the report again."
            ) from fault

    def save(self, data: str) -> None:
        with pending(Path(self._get_save_path())) as temporary:
            temporary.write_text(data, encoding="utf-8")

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).is_file()
        except VersionNotFoundError:
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}


class MarkdownReportDataset(TextReportDataset):
    """A report in Markdown, which Kedro-Viz shows."""

    def preview(self) -> HTMLPreview:
        """The report as HTML, for Kedro-Viz."""
        return HTMLPreview(to_preview_html(self.load()))


def to_preview_html(markdown: str) -> str:
    """HTML of a Markdown text that Kedro-Viz shows as meant.

    Kedro-Viz 12 passes every preview through a Markdown imitation of its own: pairs of ``_`` and ``*`` on
    one line become emphasis, even inside names and code; line ends become ``<br>``; the text between the
    first and the last list item becomes one list. So the real conversion happens here, and what that pass
    would catch is kept from it: list items become paragraphs with a bullet, line ends leave (or become
    ``<br>``), and a caught character stands beside a line end inside an attribute, where it cannot pair.
    """
    from markdown_it import MarkdownIt

    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    html = re.sub(r"</?[uo]l>\n?", "", html)
    html = re.sub(r"<li>\s*(?:<p>)?", "<p>&bull; ", html)
    html = re.sub(r"(?:</p>)?\s*</li>", "</p>", html)
    html = re.sub(
        r"<pre>.*?</pre>",
        lambda block: block.group().rstrip("\n").replace("\n", "<br>"),
        html,
        flags=re.DOTALL,
    )
    html = re.sub(r">\n+<", "><", html).replace("\n", " ").strip()
    return re.sub(r"[_*`](?![^<]*>)", lambda caught: f'<span class="\n">{caught.group()}</span>', html)
