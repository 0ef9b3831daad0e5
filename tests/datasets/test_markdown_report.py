"""Round trip, versions, a failed save, and a preview that survives Kedro-Viz."""

import inspect
import re

import pytest
from kedro.io.core import DatasetError, Version

from bort_kedro.datasets.markdown_report import IllustratedReportDataset, TextReportDataset, to_preview_html
from bort_kedro.errors import StorageError
from bort_kedro.reporting.markdown import IllustratedText, image

REPORT = """# Title

A sum of `hidden_size` and my_task_name, *stressed*, 2 < 3.

- one
- two `a_b` and `c_d`

| Name | Value |
| :--- | ---: |
| x | 1 |

- last

```
first_line
second_line
```
"""


def report(path, **arguments):
    return TextReportDataset(filepath=path.as_posix(), **arguments)


def illustrated(path, **arguments):
    return IllustratedReportDataset(filepath=path.as_posix(), **arguments)


def test_images_lie_beside_the_text_and_come_back_with_it(tmp_path):
    path = tmp_path / "report.md"
    drawn = IllustratedText(f"# Title\n\n{image('a_plot.svg', 'What (1, 2) shows')}\n", {"a_plot.svg": "<svg>é</svg>"})
    dataset = illustrated(path, version=Version(None, "2026-01-01T00.00.00.000Z"))
    dataset.save(drawn)
    folder = path / "2026-01-01T00.00.00.000Z"
    assert sorted(file.name for file in folder.iterdir()) == ["SHA256SUMS", "a_plot.svg", "report.md"]
    assert (folder / "report.md").read_text() == "# Title\n\n![What (1, 2) shows](a_plot.svg)\n"
    assert dataset.load() == drawn
    assert '<img src="data:image/svg+xml;base64,PHN2Zz7DqTwvc3ZnPg=="' in dataset.preview()


def test_an_image_that_is_gone_is_named_with_the_way_out(tmp_path):
    dataset = illustrated(tmp_path / "report.md")
    dataset.save(IllustratedText(image("a.svg", "A"), {"a.svg": "<svg/>"}))
    (tmp_path / "a.svg").unlink()
    with pytest.raises((StorageError, DatasetError), match=r"a\.svg is missing.*run `kedro run --tags report`"):
        dataset.load()


def test_text_survives_the_round_trip(tmp_path):
    dataset = report(tmp_path / "report.md")
    assert not dataset.exists()
    dataset.save("61.2 ± 0.4 %\n")
    assert dataset.load() == "61.2 ± 0.4 %\n"
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


def test_latest_version_is_loaded_and_older_ones_stay(tmp_path):
    path = tmp_path / "report.md"
    assert not report(path, version=Version(None, None)).exists()
    for stamp in ("2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"):
        report(path, version=Version(None, stamp)).save(f"of {stamp}")
    latest = report(path, version=Version(None, None))
    assert latest.exists()
    assert latest.load() == "of 2026-01-02T00.00.00.000Z"
    assert report(path, version=Version("2026-01-01T00.00.00.000Z", None)).load().startswith("of 2026-01-01")


def test_a_failed_save_leaves_nothing(tmp_path):
    with pytest.raises(DatasetError):
        report(tmp_path / "report.md").save(3)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_utf8_is_named_with_the_way_out(tmp_path):
    (tmp_path / "report.md").write_bytes(b"ok \xff")
    # Kedro wraps what a dataset raises.
    with pytest.raises((StorageError, DatasetError), match=r"report\.md is not UTF-8 text: byte 0xff at offset 3"):
        report(tmp_path / "report.md").load()


def test_preview_is_typed_as_kedro_viz_expects(tmp_path):
    dataset = illustrated(tmp_path / "report.md", metadata={"kedro-viz": {"layer": "reporting"}})
    dataset.save(IllustratedText(REPORT, {}))
    annotation = inspect.signature(dataset.preview).return_annotation
    assert getattr(annotation, "__name__", str(annotation)) == "HTMLPreview"
    assert dataset.preview() == to_preview_html(REPORT)
    assert dataset.metadata == {"kedro-viz": {"layer": "reporting"}}


def test_preview_holds_headings_tables_and_bullets_as_html():
    html = to_preview_html(REPORT)
    assert "<h1>Title</h1>" in html
    assert re.search(r'<td style="text-align:right">1</td>', html)
    assert "<p>&bull; one</p>" in html
    assert "<p>&bull; last</p>" in html
    assert "<em>stressed</em>" in html
    assert "2 &lt; 3" in html


def test_preview_survives_the_markdown_pass_of_kedro_viz():
    """The patterns are those of the Kedro-Viz 12 front end; none may find anything."""
    html = to_preview_html(REPORT)
    for pattern in (r"__(.*?)__", r"_(.*?)_", r"\*(.*?)\*", r"`([^`\n]+)`", r"^#+ ", r"^[*-]\s", r"<li>"):
        assert not re.search(pattern, html, flags=re.MULTILINE), pattern
    shown = re.sub(r"<[^>]*>", "", html)
    assert "hidden_size and my_task_name" in shown


def test_preview_shows_raw_html_as_text():
    assert "<script>" not in to_preview_html("a <script>alert(1)</script> b")
