"""Whatever a text file holds, its documents are read as they stand in it, or it is refused by name."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bort_kedro.datasets import file_parts
from bort_kedro.datasets.text_readers import DOCUMENT_BOUNDARIES, TextFiles
from spoiling import JSON, read_or_refused, spoiled_bytes

PLAIN = "One line.\nAnother.\n\nA paragraph.\r\n \n\n\tA section é.\n\n\n\nIts end.\n"
WIKI = '<doc id="1" title="A">\nA\n\nFirst.\n</doc>\n\n<doc id="2" title="B">\nSecond.\n</doc>\n'
LINES = '{"text": "One."}\n\n{"text": "Two\\n\\n\\nlines.", "id": 1}\r\n{"text": ""}\n'
FILES = {
    "plain.txt": PLAIN.encode(),
    "wiki_00": WIKI.encode(),
    "lines.jsonl": LINES.encode(),
    "plain.txt.gz": gzip.compress(PLAIN.encode(), mtime=0),
    "lines.jsonl.gz": gzip.compress(LINES.encode(), mtime=0),
}
BOUNDARIES = st.sampled_from(list(DOCUMENT_BOUNDARIES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("corpora")


def reader_of(path, boundary):
    return TextFiles((str(path),), boundary, "text", "the catalog entry `raw_corpus`")


@given(data=st.data(), name=st.sampled_from(list(FILES)), boundary=BOUNDARIES)
def test_a_spoiled_file_gives_documents_of_its_text_or_is_refused(folder, data, name, boundary):
    path = folder / name
    path.write_bytes(data.draw(spoiled_bytes(FILES[name])))
    documents, refusal = read_or_refused(lambda: list(reader_of(path, boundary).documents_of(path)), path)
    if refusal:
        return
    assert documents
    content = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8-sig")
    whole = content.replace("\r\n", "\n").replace("\r", "\n")
    texts = [text for _, _, text in documents]
    if ".jsonl" in name:
        written = [json.loads(line)["text"] for line in whole.split("\n") if line.strip()]
        assert texts == [text for text in written if text.strip()]
    elif not whole.lstrip().startswith("<doc "):
        # No word is lost and none is made.
        assert " ".join(texts).split() == whole.split()


@given(data=st.data(), name=st.sampled_from(["plain.txt", "wiki_00", "lines.jsonl"]), boundary=BOUNDARIES)
def test_the_parts_of_a_file_have_together_the_documents_of_the_whole(folder, data, name, boundary):
    path = folder / name
    path.write_bytes(data.draw(spoiled_bytes(FILES[name] * 2)))
    reader = reader_of(path, boundary)
    whole, refusal = read_or_refused(lambda: [text for _, _, text in reader.documents_of(path)], path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_parts, "PART_BYTES", data.draw(st.integers(1, 60)))
        parts, of_parts = read_or_refused(
            lambda: [text for part in reader.parts_of(path) for text in reader.texts_of(part)], path
        )
    assert parts == whole or refusal or of_parts


@given(value=JSON)
def test_any_value_of_a_json_line_is_its_text_or_is_refused(folder, value):
    path = folder / "value.jsonl"
    path.write_text(json.dumps({"text": value}) + "\n", "utf-8")
    documents, refusal = read_or_refused(lambda: list(reader_of(path, "file").documents_of(path)), path)
    if documents is not None:
        assert documents == [("value.jsonl::1", "value", value)]
    else:
        assert not isinstance(value, str) or not value.strip() or min(value) >= "\ud800" or "half" in refusal
