"""Versioned reports as text, saved atomically; Markdown is shown in Kedro-Viz, its images too."""

import base64
import re
from functools import partial
from pathlib import Path, PurePosixPath
from typing import ClassVar

from kedro.io.core import get_filepath_str
from kedro_datasets._typing import HTMLPreview
from kedro_datasets.text import TextDataset

from bort_kedro.datasets.atomic import AtomicSave
from bort_kedro.datasets.checksums import require_whole
from bort_kedro.errors import StorageError
from bort_kedro.reporting.markdown import IllustratedText

IMAGE = re.compile(r"!\[[^\]]*\]\(([\w.-]+\.svg)\)")


class TextReportDataset(AtomicSave, TextDataset):
    """Saves and loads the text of a report in UTF-8; its arguments are those of `kedro_datasets.text.TextDataset`."""

    DEFAULT_FS_ARGS: ClassVar = {
        "open_args_save": {"mode": "w", "encoding": "utf-8"},
        "open_args_load": {"mode": "r", "encoding": "utf-8"},
    }

    def load(self) -> str:
        return self._read(self._get_load_path())

    def _read(self, path: PurePosixPath) -> str:
        """Text of a file of a report."""
        again = "run `kedro run --tags report` to write the report again."
        try:
            with self._fs.open(get_filepath_str(path, self._protocol), **self._fs_open_args_load) as file:
                text: str = file.read()
        except FileNotFoundError as fault:
            raise StorageError(f"{path} is missing, which belongs to a report; {again}") from fault
        except UnicodeDecodeError as fault:
            raise StorageError(
                f"{path} is not UTF-8 text: byte {fault.object[fault.start]:#04x} at offset {fault.start}. "
                f"Delete it and {again}"
            ) from fault
        require_whole(path, self._fs)
        return text


class IllustratedReportDataset(TextReportDataset):
    """A report in Markdown with its images as files beside it, which Kedro-Viz shows together."""

    def load(self) -> IllustratedText:  # type: ignore[override]
        path = self._get_load_path()
        text = self._read(path)
        return IllustratedText(text, {name: self._read(path.parent / name) for name in IMAGE.findall(text)})

    def save(self, data: IllustratedText) -> None:  # type: ignore[override]
        folder = self._get_save_path().parent
        # The text comes last: with it the report is there.
        for name, svg in data.images.items():
            self._save_whole(folder / name, partial(Path.write_text, data=svg, encoding="utf-8"))
        super().save.__wrapped__(self, data.text)  # type: ignore[attr-defined]

    def preview(self) -> HTMLPreview:
        """Text and images as HTML, for Kedro-Viz."""
        text, images = self.load()
        html = to_preview_html(text)
        for name, svg in images.items():
            inside = base64.b64encode(svg.encode()).decode()
            html = html.replace(f'<img src="{name}"', f'<img src="data:image/svg+xml;base64,{inside}"')
        return HTMLPreview(html)


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
        r"<pre>.*?</pre>", lambda block: block.group().rstrip("\n").replace("\n", "<br>"), html, flags=re.DOTALL
    )
    html = re.sub(r">\n+<", "><", html).replace("\n", " ").strip()
    return re.sub(r"[_*`](?![^<]*>)", lambda caught: f'<span class="\n">{caught.group()}</span>', html)
