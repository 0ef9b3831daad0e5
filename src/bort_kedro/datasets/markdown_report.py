"""Versioned reports as text, saved atomically; Markdown is shown in Kedro-Viz, its images too."""

from __future__ import annotations

import base64
import re
from pathlib import Path, PurePosixPath

from kedro.io.core import AbstractVersionedDataset, Version, VersionNotFoundError
from kedro_datasets._typing import HTMLPreview

from bort_kedro.datasets.atomic import pending
from bort_kedro.errors import StorageError
from bort_kedro.frozen import JsonObject
from bort_kedro.reporting.markdown import IllustratedText

IMAGE = re.compile(r"!\[[^\]]*\]\(([\w.-]+\.svg)\)")


class TextReportDataset(AbstractVersionedDataset[str, str]):
    """Saves and loads the text of a report in UTF-8.

    Args:
        filepath: The ``.md`` or ``.html`` file on a local disk.
        version: Given by Kedro for an entry with ``versioned: true``.
        metadata: Free for plugins such as Kedro-Viz.
    """

    def __init__(self, *, filepath: str, version: Version | None = None, metadata: JsonObject | None = None) -> None:
        super().__init__(filepath=PurePosixPath(filepath), version=version)
        self.metadata = metadata

    def load(self) -> str:
        return read_text(Path(self._get_load_path()))

    def save(self, data: str) -> None:
        write_text(Path(self._get_save_path()), data)

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).is_file()
        except VersionNotFoundError:
            return False

    def _describe(self) -> JsonObject:
        return {"filepath": self._filepath, "version": self._version}


class IllustratedReportDataset(TextReportDataset):
    """A report in Markdown with its images as files beside it, which Kedro-Viz shows together."""

    def load(self) -> IllustratedText:  # type: ignore[override]
        path = Path(self._get_load_path())
        text = read_text(path)
        return IllustratedText(text, {name: read_text(path.parent / name) for name in IMAGE.findall(text)})

    def save(self, data: IllustratedText) -> None:  # type: ignore[override]
        path = Path(self._get_save_path())
        # The text comes last: with it the report is there.
        for name, svg in data.images.items():
            write_text(path.parent / name, svg)
        write_text(path, data.text)

    def preview(self) -> HTMLPreview:
        """Text and images as HTML, for Kedro-Viz."""
        text, images = self.load()
        html = to_preview_html(text)
        for name, svg in images.items():
            inside = base64.b64encode(svg.encode()).decode()
            html = html.replace(f'<img src="{name}"', f'<img src="data:image/svg+xml;base64,{inside}"')
        return HTMLPreview(html)


def read_text(path: Path) -> str:
    """Text of a file of a report.

    Raises:
        StorageError: If it is missing or not UTF-8.
    """
    again = "run `kedro run --tags report` to write the report again."
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as fault:
        raise StorageError(f"{path} is missing, which belongs to a report; {again}") from fault
    except UnicodeDecodeError as fault:
        raise StorageError(
            f"{path} is not UTF-8 text: byte {fault.object[fault.start]:#04x} at offset {fault.start}. "
            f"Delete it and {again}"
        ) from fault


def write_text(path: Path, text: str) -> None:
    """Write a file of a report whole or not at all."""
    with pending(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
