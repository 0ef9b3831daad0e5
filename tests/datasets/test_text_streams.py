import gzip
import json
import pickle
import re
from itertools import islice

import pytest
from kedro.io import DatasetError

from bort_kedro.datasets import file_parts, text_readers
from bort_kedro.datasets.text_readers import DOCUMENT_BOUNDARIES, split_pieces
from bort_kedro.datasets.text_sources import HubTextDataset, TextFilesDataset
from bort_kedro.datasets.text_streams import HubTextStreamDataset, TextFilesStreamDataset
from bort_kedro.errors import CorpusError

PLAIN = "First line.\r\nSecond line.\r\n\r\nSecond paragraph.\n \n\n\n \tSecond séction.\nIts end.\n\n\nThird.\n\n\n"
WIKI = '<doc id="12" url="u" title="A">\nA\n\nText one.\n</doc>\n<doc id="25">\n\n</doc>\n<doc id="7">\nC\n</doc>\n'


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "story.txt").write_bytes(f"\ufeff{PLAIN}{name}".encode())
        (tmp_path / name / "wiki_00").write_text(WIKI)
    rows = "".join(json.dumps({"text": f"Row {index}.\u2028"}, ensure_ascii=False) + "\n\n" for index in range(3))
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    return tmp_path


def in_table(dataset):
    return list(dataset.load()[["document_id", "text"]].itertuples(index=False, name=None))


# --- readers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["section", "paragraph", "line"])
@pytest.mark.parametrize("size", range(1, 12))
def test_a_text_in_pieces_is_split_as_the_whole_text(boundary, size):
    pattern = DOCUMENT_BOUNDARIES[boundary]
    for text in (PLAIN, PLAIN.replace("\r\n", "\n"), "", "\n\n\n", " \n\n\n ", "a", "a\n \n\t\nb\n\n\n\n\n\nc"):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert list(split_pieces(pieces, pattern)) == pattern.split(text)


def test_no_more_is_held_than_a_part_and_a_piece():
    taken = []

    def pieces():
        for index in range(100):
            taken.append(index)
            yield "word " * 10 + "\n"

    parts = split_pieces(pieces(), re.compile(r"\n"))
    for number, _ in enumerate(islice(parts, 50)):
        assert len(taken) <= number + 2


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
def test_documents_do_not_depend_on_how_much_is_read_at_a_time(folder, monkeypatch, size):
    paths = [str(folder / "**" / "*")]
    whole = in_table(TextFilesDataset(paths))
    monkeypatch.setattr(text_readers, "READ_BYTES", size)
    assert in_table(TextFilesDataset(paths)) == whole
    assert len(whole) == 15


def test_a_byte_that_is_not_utf8_is_placed_in_the_file_and_not_in_what_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr(text_readers, "READ_BYTES", 4)
    path = tmp_path / "late.txt"
    path.write_bytes("\ufeffcafé au lait, caf".encode() + b"\xe9 noir")
    with pytest.raises(DatasetError) as caught:
        TextFilesDataset([str(path)]).load()
    assert f"{path} is not UTF-8: byte 0xe9 at offset {len('café au lait, caf'.encode()) + 3}. " in str(caught.value)


# --- files ---------------------------------------------------------------------------------------------


def texts_of(stream):
    """Those of all shards, one after another."""
    return [text for shard in range(stream.num_shards) for text in stream.texts(shard, 0)]


@pytest.mark.parametrize("boundary", ["file", "section", "paragraph", "line"])
def test_a_stream_gives_the_texts_of_the_text_source(folder, boundary):
    paths = [str(folder / "**" / "*")]
    expected = [text for _, text in in_table(TextFilesDataset(paths, document_boundary=boundary))]
    stream = TextFilesStreamDataset(paths, document_boundary=boundary).load()
    assert stream.num_shards == 5
    assert texts_of(stream) == expected
    for shard in range(5):
        whole = list(stream.texts(shard, 0))
        for skip in range(len(whole) + 1):
            assert list(stream.texts(shard, skip)) == whole[skip:]


@pytest.mark.parametrize("boundary", ["file", "section", "paragraph", "line"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 50])
def test_parts_of_files_together_hold_each_document_once(folder, monkeypatch, boundary, size):
    long = f"\ufeff{PLAIN}séance\n\n\n \u2028 \n\n\n\nAlso.\r\rLast words.\n\n\n\t\r\n\r\n\nThe end.\n\n\n\n"
    (folder / "a" / "long.txt").write_bytes(long.encode())
    rows = "".join(json.dumps({"text": f"Row {index}"}) + "\r\n\n" for index in range(9))
    (folder / "b" / "plain.jsonl").write_text(rows, newline="")
    paths = [str(folder / "**" / "*")]
    stream = TextFilesStreamDataset(paths, document_boundary=boundary).load()
    expected = texts_of(stream)
    monkeypatch.setattr(file_parts, "PART_BYTES", size)
    cut = TextFilesStreamDataset(paths, document_boundary=boundary).load()
    assert texts_of(cut) == expected
    assert cut.num_shards > stream.num_shards == 7


def test_a_large_file_is_read_from_where_its_part_begins(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text("not JSON\n" + "".join(json.dumps({"text": f"Row {index:03}"}) + "\n" for index in range(100)))
    monkeypatch.setattr(file_parts, "PART_BYTES", 200)
    stream = TextFilesStreamDataset([str(path)]).load()
    # Rows of 20 bytes, the first line of 9; a part ends with the row that brings it over its size.
    sizes = [len(list(stream.texts(shard, 0))) for shard in range(1, stream.num_shards)]
    assert sum(sizes) == 100 - 10
    assert sizes[:-1] == [10] * (len(sizes) - 1) or sizes[:-1] == [11] * (len(sizes) - 1)
    path.write_text(path.read_text()[:-20] + '{"text": [1]       \n')
    with pytest.raises(CorpusError) as caught:
        list(TextFilesStreamDataset([str(path)]).load().texts(stream.num_shards - 1, 0))
    assert re.match(rf"{path}, after byte \d+, line \d+: not a JSON object", str(caught.value))


def test_a_stream_opens_a_file_only_when_it_comes_to_it(folder):
    (folder / "a" / "story.txt").write_bytes(b"\xff")
    stream = TextFilesStreamDataset([str(folder / "b" / "*.txt"), str(folder / "a" / "*.txt")]).load()
    assert list(stream.texts(0, 3)) == ["b"]
    with pytest.raises(CorpusError, match="or take it out of the catalog entry `text_stream`"):
        next(stream.texts(1, 0))


def test_the_fingerprint_of_files_follows_names_sizes_and_cuts(folder):
    def fingerprint(boundary="section"):
        return TextFilesStreamDataset([str(folder / "a" / "*")], document_boundary=boundary).load().fingerprint

    before = fingerprint()
    assert fingerprint() == before
    assert re.fullmatch("[0-9a-f]{16}", before)
    assert fingerprint("line") != before
    with (folder / "a" / "wiki_00").open("a") as file:
        file.write("\n")
    assert fingerprint() != before


def test_loading_a_stream_reads_nothing_and_reading_it_names_its_catalog_entry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stream = TextFilesStreamDataset("nowhere/*.txt").load()
    with pytest.raises(CorpusError) as caught:
        next(stream.texts(0, 0))
    assert str(caught.value) == (
        f"No file matches `nowhere/*.txt` (seen from {tmp_path}). Expected UTF-8 text, .jsonl or "
        "WikiExtractor files, gzipped or not. Change `paths` in the catalog entry `text_stream`."
    )


@pytest.mark.parametrize("dataset", [TextFilesStreamDataset(["a.txt"]), HubTextStreamDataset("a/b")])
def test_a_stream_refuses_to_be_written(dataset):
    with pytest.raises(DatasetError) as caught:
        dataset.save("anything")
    assert f"{type(dataset).__name__} only reads; write your text with the tool that made it." in str(caught.value)


# --- the hub -------------------------------------------------------------------------------------------


@pytest.fixture
def hub_folder(tmp_path, monkeypatch):
    """A data set of two files, opened by the hub's library as it opens one of the hub."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "data"
    folder.mkdir()
    for part in range(2):
        texts = [f"Text {part} {index}" if index != 1 else " " for index in range(4)]
        (folder / f"train-{part}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return folder


@pytest.mark.slow
def test_a_hub_stream_gives_the_rows_of_the_text_source_file_by_file(hub_folder):
    expected = in_table(HubTextDataset(str(hub_folder), max_documents=8))
    stream = HubTextStreamDataset(str(hub_folder)).load()
    assert stream.num_shards == 2
    shards = [list(stream.texts(shard, 0)) for shard in range(2)]
    assert [text for shard in shards for text in shard if text.strip()] == [text for _, text in expected]
    assert [len(shard) for shard in shards] == [4, 4]
    for skip in (1, 3, 4):
        assert list(stream.texts(1, skip)) == shards[1][skip:]


def test_the_fingerprint_of_a_hub_stream_follows_its_parts_and_its_commit(hub_folder, monkeypatch):
    def fingerprint(**arguments):
        return HubTextStreamDataset(str(hub_folder), **arguments).load().fingerprint

    before = fingerprint()
    assert fingerprint() == before
    assert len({before, fingerprint(split="validation"), fingerprint(text_field="body")}) == 3
    monkeypatch.setattr(text_readers.HubText, "commit", lambda self: "another")
    assert fingerprint() != before


def test_a_hub_stream_keeps_to_the_commit_it_began_with(monkeypatch):
    read = []
    commits = iter(["first", "second"])
    monkeypatch.setattr(text_readers.HubText, "commit", lambda self: next(commits))
    monkeypatch.setattr(
        text_readers.HubText, "documents", lambda self, **which: read.append((self.revision, which)) or []
    )
    stream = HubTextStreamDataset("owner/name", revision="main").load()
    stream.texts(1, 0)
    pickle.loads(pickle.dumps(stream)).texts(2, 3)  # noqa: S301
    assert read == [("first", {"shard": 1, "skip": 0}), ("first", {"shard": 2, "skip": 3})]


def test_a_hub_column_that_is_missing_is_refused(hub_folder):
    stream = HubTextStreamDataset(str(hub_folder), text_field="body").load()
    with pytest.raises(CorpusError) as caught:
        next(stream.texts(0, 0))
    assert str(caught.value) == (
        f"The data set `{hub_folder}` has no column 'body'. Change `text_field` in the catalog entry `text_stream`."
    )


def test_a_hub_that_cannot_be_read_is_told_with_its_catalog_entry(tmp_path):
    stream = HubTextStreamDataset(str(tmp_path / "nowhere")).load()
    with pytest.raises(CorpusError) as caught:
        _ = stream.fingerprint
    text = str(caught.value)
    assert text.startswith(
        f"The data set `{tmp_path / 'nowhere'}` (configuration None, split train) cannot be read from the hub: "
    )
    assert text.endswith(
        "Check the name and the network, or name local files instead in the catalog entry `text_stream`."
    )
