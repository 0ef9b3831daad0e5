import gzip
import json
import sys

import pytest
from kedro.io import DatasetError

from bort_kedro.datasets import file_parts
from bort_kedro.datasets.text_readers import TextFiles
from bort_kedro.datasets.text_sources import InstalledDocumentationDataset, TextFilesDataset
from bort_kedro.errors import CorpusError

PLAIN = "First line.\nSecond line.\n\nSecond paragraph.\n \n\nSecond section.\nIts end.\n"


def rows(dataset):
    return list(dataset.load().itertuples(index=False, name=None))


def refusal(load):
    """Text of the CorpusError that Kedro wraps; it must reach the reader through the wrapping too."""
    with pytest.raises(DatasetError) as caught:
        load()
    assert isinstance(caught.value.__cause__, CorpusError)
    text = str(caught.value.__cause__)
    assert text in str(caught.value)
    return text


@pytest.fixture
def write(tmp_path):
    def write_file(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return str(path)

    return write_file


# --- formats -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boundary", "texts"),
    [
        ("file", ["First line.\nSecond line.\n\nSecond paragraph.\n \n\nSecond section.\nIts end."]),
        ("section", ["First line.\nSecond line.\n\nSecond paragraph.", "Second section.\nIts end."]),
        ("paragraph", ["First line.\nSecond line.", "Second paragraph.", "Second section.\nIts end."]),
        ("line", ["First line.", "Second line.", "Second paragraph.", "Second section.", "Its end."]),
    ],
)
def test_plain_text_is_cut_at_the_boundary_asked_for(write, boundary, texts):
    table = TextFilesDataset([write("story.txt", PLAIN)], document_boundary=boundary).load()
    assert table["text"].tolist() == texts
    assert set(table["source"]) == {"story"}
    assert table.columns.tolist() == ["document_id", "source", "text"]


def test_sections_are_the_documents_unless_told_otherwise(write):
    assert rows(TextFilesDataset([write("story.txt", PLAIN)])) == [
        ("story.txt::0", "story", "First line.\nSecond line.\n\nSecond paragraph."),
        ("story.txt::1", "story", "Second section.\nIts end."),
    ]


@pytest.mark.parametrize("newline", ["\r\n", "\r"], ids=["CRLF", "CR"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["no mark", "byte-order mark"])
@pytest.mark.parametrize("boundary", ["file", "section", "paragraph", "line"])
def test_line_ends_and_byte_order_mark_change_nothing(write, newline, mark, boundary):
    plain = TextFilesDataset([write("story.txt", PLAIN)], document_boundary=boundary)
    other = TextFilesDataset(
        [write("other/story.txt", mark + PLAIN.replace("\n", newline))], document_boundary=boundary
    )
    assert rows(other) == rows(plain)


def test_gzip_changes_nothing_for_any_format(write):
    contents = {
        "story.txt": PLAIN,
        "rows.jsonl": '{"text": "One."}\n',
        "wiki_00": '<doc id="3" url="u" title="T">\nThree.\n</doc>\n',
    }
    for name, content in contents.items():
        plain = rows(TextFilesDataset([write(name, content)]))
        packed = rows(TextFilesDataset([write(f"packed/{name}.gz", gzip.compress(content.encode()))]))
        assert [row[1:] for row in packed] == [row[1:] for row in plain]


def test_json_lines_give_the_field_asked_for_and_skip_blank_lines(write):
    path = write("rows.jsonl", '{"body": "One."}\n\n{"body": "Two.\\nLines.", "id": 7}\n')
    assert rows(TextFilesDataset([path], text_field="body")) == [
        ("rows.jsonl::1", "rows", "One."),
        ("rows.jsonl::3", "rows", "Two.\nLines."),
    ]


def test_json_text_may_hold_any_line_separator_of_unicode(write):
    # JSON allows these inside a text as they are; `str.splitlines` would cut the row there.
    text = "One\u2028two\u2029three\x85four."
    path = write("rows.jsonl", json.dumps({"text": text}, ensure_ascii=False) + "\n")
    assert rows(TextFilesDataset([path])) == [("rows.jsonl::1", "rows", text)]


def test_wiki_extractor_markup_gives_one_document_an_article(write):
    path = write(
        "wiki_00",
        '<doc id="12" url="http://x?curid=12" title="Anarchism">\nAnarchism\n\nIt is 1 < 2.\n</doc>\n'
        '<doc id="25" url="http://x?curid=25" title="A">\nA\n</doc>\n',
    )
    assert rows(TextFilesDataset([path])) == [
        ("wiki_00::12", "wiki_00", "Anarchism\n\nIt is 1 < 2."),
        ("wiki_00::25", "wiki_00", "A"),
    ]


def test_globs_are_read_in_sorted_order_and_each_file_once(write, tmp_path):
    write("b/two.txt", "Two.")
    write("a/one.txt", "One.")
    three = write("three.txt", "Three.")
    table = TextFilesDataset([f"{tmp_path}/**/*.txt", three], document_boundary="file").load()
    assert table["text"].tolist() == ["One.", "Two.", "Three."]


def test_files_of_one_name_in_two_folders_keep_ids_apart(write, tmp_path):
    write("a/text.txt", "One.")
    write("b/text.txt", "Two.")
    table = TextFilesDataset(f"{tmp_path}/*/text.txt", document_boundary="file").load()
    assert table["document_id"].tolist() == ["text.txt::0", "text.txt::0#2"]


def test_documents_without_text_are_left_out(write):
    path = write("rows.jsonl", '{"text": " "}\n{"text": "Two."}\n')
    assert rows(TextFilesDataset([path])) == [("rows.jsonl::2", "rows", "Two.")]


# --- refusals ------------------------------------------------------------------------------------------


def test_a_pattern_without_a_file_is_refused_by_its_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(TextFilesDataset(["nowhere/*.txt"]).load) == (
        f"No file matches `nowhere/*.txt` (seen from {tmp_path}). Expected UTF-8 text, .jsonl or "
        "WikiExtractor files, gzipped or not. Change `paths` in the catalog entry `raw_corpus`."
    )


@pytest.mark.parametrize("content", ["", " \n\n \n", "\ufeff"], ids=["empty", "blank", "mark alone"])
def test_a_source_without_text_is_refused_by_its_path(write, content):
    path = write("empty.txt", content)
    assert refusal(TextFilesDataset([path]).load) == (
        f"{path} holds no usable document: it is empty, or every text in it is. Expected prose in UTF-8. "
        "Take the file out of `paths` in the catalog entry `raw_corpus`, or mend it."
    )


def test_zero_bytes_and_scripts_of_every_direction_are_text_as_any_other(write, tiny_tokenizer):
    texts = [
        "a\0b\0\0c",
        "שלום, \u202eעולם\u202c 123 العربية",
        "漢字\u200d\U0001f469\u200d\U0001f4bb",
        "\ufeff\u2028e\u0301",
    ]
    path = write("texts.txt", "\n\n\n".join(texts))
    assert TextFilesDataset([path]).load()["text"].tolist() == texts
    for text in texts:
        assert tiny_tokenizer.decode(tiny_tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_text_that_is_not_utf8_is_refused_with_the_byte_and_its_place(write):
    path = write("latin.txt", "caf\xe9".encode("latin-1"))
    assert refusal(TextFilesDataset([path]).load) == (
        f"{path} is not UTF-8: byte 0xe9 at offset 3. Convert it (for example with `iconv -t UTF-8`), "
        "or take it out of the catalog entry `raw_corpus`."
    )


def test_a_broken_json_line_is_refused_with_its_number(write):
    path = write("rows.jsonl", '{"text": "One."}\n\n{"text": \n')
    text = refusal(TextFilesDataset([path]).load)
    assert text.startswith(f"{path}, line 3: not a JSON object with a text field `text` (")
    assert text.endswith("Mend the line, or change `text_field` in the catalog entry `raw_corpus`.")


@pytest.mark.parametrize("line", ['{"body": "One."}', '["One."]', '"One."', "3"])
def test_a_json_line_without_the_field_is_refused_with_field_and_number(write, line):
    path = write("rows.jsonl", line)
    text = refusal(TextFilesDataset([path]).load)
    assert text.startswith(f"{path}, line 1: not a JSON object with a text field `text` (")


def test_a_json_field_that_is_no_text_is_refused_with_its_value(write):
    path = write("rows.jsonl", '{"text": ["One."]}')
    assert refusal(TextFilesDataset([path]).load) == (
        f"{path}, line 1: `text` is ['One.'], expected a text. Mend the line, or change `text_field` in "
        "the catalog entry `raw_corpus`."
    )


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            '{"text": "one \\ud83d"}',
            "`text` has half a character, '\\ud83d', as number 5 of 5, expected a text of whole ones",
        ),
        ('{"id": ' + "7" * 5000 + ', "text": "one"}', "not a JSON object with a text field `text` (Exceeds the limit"),
        ("[" * 200_000, "not a JSON object with a text field `text` (maximum recursion depth exceeded"),
        ('{"text": ["' + "a" * 100_000 + '"]}', "`text` is ['aaa"),
    ],
)
def test_whatever_a_json_line_holds_file_and_line_are_named_in_few_words(write, line, fault):
    path = write("rows.jsonl", f'{{"text": "One."}}\n{line}\n')
    text = refusal(TextFilesDataset([path]).load)
    assert text.startswith(f"{path}, line 2: {fault}")
    assert text.endswith(". Mend the line, or change `text_field` in the catalog entry `raw_corpus`.")
    assert len(text) < 700


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.txt.gz"])
def test_a_file_that_git_lfs_did_not_fetch_is_called_a_pointer(write, name):
    path = write(name, "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 44\n")
    assert refusal(TextFilesDataset([path]).load) == (
        f"{path} is a pointer of Git LFS, not the file itself (`git lfs pull` fetches it). Fetch it, or take it out of "
        "the catalog entry `raw_corpus`."
    )


PACKED = gzip.compress(b"One text that is long enough to be spoiled. " * 20)


@pytest.mark.parametrize(
    "content",
    [b"plain text", PACKED[: len(PACKED) // 2], PACKED[:12] + b"\xff" * 8 + PACKED[20:]],
    ids=["no gzip", "truncated", "altered"],
)
def test_a_spoiled_gzip_file_is_refused_by_its_path(write, content):
    path = write("story.txt.gz", content)
    text = refusal(TextFilesDataset([path]).load)
    assert text.startswith(f"{path} cannot be read: ")
    assert text.endswith("Check the catalog entry `raw_corpus`.")


def test_an_unknown_boundary_is_refused_with_those_allowed():
    with pytest.raises(CorpusError) as caught:
        TextFilesDataset(["a.txt"], document_boundary="page")
    assert str(caught.value) == (
        "Unknown document_boundary `page` in the catalog entry `raw_corpus`. Allowed: file, section, paragraph, line."
    )


def test_a_text_source_refuses_to_be_written(write):
    with pytest.raises(DatasetError) as caught:
        TextFilesDataset([write("a.txt", "A.")]).save("anything")
    assert "TextFilesDataset only reads; write your text with the tool that made it." in str(caught.value)


# --- installed documentation ---------------------------------------------------------------------------

FIRST_MODULE = '''"""The module computes the mean of every array in it."""

raise ImportError("a package is read, never imported")


class Mean:
    """A class that computes the mean of an array."""

    def __init__(self, axis, **kwargs):
        pass

    @property
    def axis(self):
        """The axis along which the mean is computed here."""

    @axis.setter
    def axis(self, value):
        """Set the axis along which it will be computed."""

    async def value(self):
        """The module computes the mean of every array in it.

        Only this second paragraph of the two is new.
        """


def short():
    """Too short."""
'''
SECOND_MODULE = '''def outer():
    def inner(first, /, second=1, *rest, third=None):
        """A function inside another one is read as well."""
'''


@pytest.fixture
def fake_package(write, tmp_path, monkeypatch):
    write("bort_fake_package/__init__.py", FIRST_MODULE)
    write("bort_fake_package/part/second.py", SECOND_MODULE)
    write("bort_fake_package/tests/test_it.py", '"""The documentation of a test is not what we want here."""')
    write("bort_fake_package/part/test_more.py", '"""The documentation of a test is not what we want here."""')
    monkeypatch.syspath_prepend(tmp_path)
    return "bort_fake_package"


def test_documentation_is_read_in_order_without_importing_the_package(fake_package):
    table = InstalledDocumentationDataset([fake_package]).load()
    assert list(table[["document_id", "text"]].itertuples(index=False, name=None)) == [
        ("bort_fake_package/__init__.py::module", "The module computes the mean of every array in it."),
        ("bort_fake_package/__init__.py::Mean", "A class that computes the mean of an array."),
        ("bort_fake_package/__init__.py::Mean.axis", "The axis along which the mean is computed here."),
        ("bort_fake_package/__init__.py::Mean.axis#2", "Set the axis along which it will be computed."),
        ("bort_fake_package/__init__.py::Mean.value", "Only this second paragraph of the two is new."),
        ("bort_fake_package/part/second.py::outer.inner", "A function inside another one is read as well."),
    ]
    assert set(table["source"]) == {fake_package}
    # Of a class those of its `__init__`.
    assert table["arguments"].tolist() == ["", "axis kwargs", "", "value", "", "first second rest third"]
    assert table.attrs["versions"] == {fake_package: "no distribution"}
    assert fake_package not in sys.modules


def test_half_characters_that_documentation_spells_are_replaced(tmp_path, monkeypatch):
    (tmp_path / "halves").mkdir()
    (tmp_path / "halves" / "__init__.py").write_text('"""The mean of an array \\ud83d is computed here."""')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(InstalledDocumentationDataset, "versions", lambda self: {})
    assert [text for *_, text, _ in rows(InstalledDocumentationDataset(["halves"]))] == [
        "The mean of an array ? is computed here."
    ]


def test_versions_name_the_distribution_of_each_package():
    import importlib.metadata

    versions = InstalledDocumentationDataset(["sklearn", "numpy"]).versions()
    assert versions == {
        "sklearn": importlib.metadata.version("scikit-learn"),
        "numpy": importlib.metadata.version("numpy"),
    }


@pytest.mark.parametrize("package", ["no_such_package", "six_or_seven", "this", "bort_fake_package.part", "a-b"])
def test_a_package_that_is_not_installed_as_a_folder_is_refused_by_its_name(fake_package, package):
    assert refusal(InstalledDocumentationDataset([fake_package, package]).load) == (
        f"The package `{package}` is not installed, so its documentation cannot be read. Expected the import "
        "name of an installed package with a folder of its own. Change `packages` in the catalog entry "
        f"`raw_corpus`, or install `{package}`."
    )


# --- real files ----------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_real_wikitext_has_sixty_articles_and_loses_no_word(real_data):
    path = real_data / "corpora" / "wikitext-2" / "valid.txt"
    table = TextFilesDataset([str(path)]).load()
    words = sum(len(text.split()) for text in table["text"])
    assert words == len(path.read_text("utf-8").split()) == 213_886
    headings = table["text"].str.count(r"(?m)^ ?= [^=\n]+ = *$").sum()
    assert headings == 60
    assert table["text"].iloc[0].startswith("= Homarus gammarus = \n")


@pytest.mark.real_data
def test_real_wikipedia_gives_as_many_documents_as_doc_marks(real_data):
    folder = real_data / "corpora" / "wikipedia-en-2015"
    first = TextFilesDataset([str(folder / "wiki_00")]).load()
    assert len(first) == (folder / "wiki_00").read_text("utf-8").count("<doc id=") == 38
    assert first["document_id"].iloc[0] == "wiki_00::12"
    assert first["text"].iloc[0].startswith("Anarchism\n\nAnarchism is a political philosophy")
    every = TextFilesDataset([str(folder / "wiki_0*")]).load()
    assert len(every) == 360
    assert every["document_id"].is_unique
    assert not every["text"].str.contains("<doc|</doc", regex=True).any()


@pytest.mark.real_data
def test_real_gutenberg_books_lose_their_byte_order_mark_and_carriage_returns(real_data):
    table = TextFilesDataset([str(real_data / "corpora" / "gutenberg" / "*.txt")], document_boundary="file").load()
    assert len(table) == 9
    assert not table["text"].str.contains("[\r\ufeff]", regex=True).any()
    alice = table.set_index("source")["text"]["pg11"]
    assert alice.startswith("The Project Gutenberg eBook of Alice’s Adventures in Wonderland, by Lewis Carroll\n\nThis")


@pytest.mark.real_data
def test_the_real_speech_that_is_not_utf8_is_refused_by_its_name(real_data):
    folder = real_data / "corpora" / "us-inaugural"
    text = refusal(TextFilesDataset([str(folder / "*.txt")], document_boundary="file").load)
    assert text.startswith(f"{folder / '2005-Bush.txt'} is not UTF-8: byte 0xa1 at offset 837. ")


def test_one_empty_file_among_others_is_refused_by_name(tmp_path):
    (tmp_path / "good.txt").write_text("Some prose.")
    (tmp_path / "void.txt").write_text(" \n\n ")
    dataset = TextFilesDataset([str(tmp_path / "*.txt")])
    with pytest.raises(DatasetError) as caught:
        dataset.load()
    assert "void.txt holds no usable document" in str(caught.value.__cause__)


def test_a_wikiextractor_file_that_is_cut_short_is_refused(tmp_path):
    (tmp_path / "wiki_00").write_text('<doc id="1">\nOne.\n</doc>\n<doc id="2">\nTwo is cut')
    with pytest.raises(DatasetError) as caught:
        TextFilesDataset([str(tmp_path / "wiki_00")]).load()
    assert "2 `<doc ...>` but 1 `</doc>` that close one" in str(caught.value.__cause__)


@pytest.mark.parametrize("place", ["between", "after"])
def test_text_outside_of_the_documents_of_wikiextractor_is_refused_and_not_lost(tmp_path, place):
    lost = {"between": "", "after": "", place: "Lost.\n"}
    path = tmp_path / "wiki_00"
    path.write_text(f'<doc id="1">\nA\n</doc>\n{lost["between"]}<doc id="2">\nB\n</doc>\n{lost["after"]}')
    assert refusal(TextFilesDataset([str(path)]).load) == (
        f"{path}: 'Lost.' stands outside of every `<doc ...>`, and would be lost. Mend the file, or take it out of the "
        "catalog entry `raw_corpus`."
    )


def test_a_part_of_a_wikiextractor_file_is_read_as_such_whatever_it_begins_with(tmp_path, monkeypatch):
    path = tmp_path / "wiki_00"
    path.write_text('<doc id="1">\nA\n</doc>doc id="2">\nB\n</doc>\n')
    monkeypatch.setattr(file_parts, "PART_BYTES", 8)
    reader = TextFiles((str(path),), "file", "text", "the catalog entry `raw_corpus`")
    first, second = reader.parts_of(path)
    assert list(reader.texts_of(first)) == ["A"]
    with pytest.raises(CorpusError, match="stands outside of every"):
        list(reader.texts_of(second))


def test_many_marks_that_nothing_closes_are_refused_at_once(tmp_path):
    path = tmp_path / "wiki_00"
    path.write_text('<doc id="1">\n' * 200_000)
    assert "200000 `<doc ...>` but 0 `</doc>` that close one" in refusal(TextFilesDataset([str(path)]).load)
