"""Every official format, in tiny files."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bort_kedro.errors import TaskError
from bort_kedro.tasks.reading.folder import TaskFolder
from bort_kedro.tasks.table import TASKS, SourceFile, own_task

MNLI = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse"
)
STSB = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
MSR = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String"


def _folder(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        path.write_bytes(text.encode())
    return TaskFolder(root)


def _table(reading, *columns):
    return list(reading.examples[list(columns)].itertuples(index=False, name=None))


def test_cola_has_no_header_but_in_test(tmp_path):
    lines = 'gj04\t1\t\tThe sailors "rode.\ngj04\t0\t*\tThey drank the pub.\n'
    files = {"CoLA/train.tsv": lines, "CoLA/dev.tsv": lines, "CoLA/test.tsv": "index\tsentence\n0\tBill whistled.\n"}
    reading = _folder(tmp_path, files).read(TASKS["cola"])
    examples = [("0", 'The sailors "rode.', "1"), ("1", "They drank the pub.", "0")]
    assert _table(reading, "group", "text", "label") == [*examples, *examples, ("0", "Bill whistled.", None)]
    assert reading.labels == ("0", "1")


def test_sst2_test_has_an_index_and_its_blanks_stay(tmp_path):
    lines = "sentence\tlabel\nhide new secretions \t0\n"
    files = {"SST-2/train.tsv": lines, "SST-2/dev.tsv": lines, "SST-2/test.tsv": "index\tsentence\n7\tuneasy .\n"}
    reading = _folder(tmp_path, files).read(TASKS["sst2"])
    assert _table(reading, "split", "index", "text", "label") == [
        ("train", "0", "hide new secretions ", "0"),
        ("dev", "0", "hide new secretions ", "0"),
        ("test", "7", "uneasy .", None),
    ]


MRPC_ROWS = ['1\t702876\t702977\tAmrozi said "no.\tHe said no.', "0\t2108705\t2108831\tYucaipa owned.\tIt bought."]


def test_mrpc_in_the_layout_of_glue(tmp_path):
    header = MSR.removeprefix("\ufeff")
    files = {
        "MRPC/train.tsv": f"{header}\n{MRPC_ROWS[0]}\n",
        "MRPC/dev.tsv": f"{header}\n{MRPC_ROWS[1]}\n",
        "MRPC/test.tsv": "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1089874\t1089925\tA.\tB.\n",
    }
    assert _table(_folder(tmp_path, files).read(TASKS["mrpc"]), "split", "text", "text_pair", "label") == [
        ("train", 'Amrozi said "no.', "He said no.", "1"),
        ("dev", "Yucaipa owned.", "It bought.", "0"),
        ("test", "A.", "B.", None),
    ]


def test_mrpc_in_the_layout_of_microsoft_is_divided_by_the_list_of_ids(tmp_path):
    files = {
        "glue_data/MRPC/msr_paraphrase_train.txt": "\r\n".join([MSR, *MRPC_ROWS, ""]),
        "glue_data/MRPC/msr_paraphrase_test.txt": "\r\n".join([MSR, "1\t1\t2\tA.\tB.", ""]),
        "glue_data/MRPC/dev_ids.tsv": "2108705\t2108831\n",
    }
    assert _table(_folder(tmp_path, files).read(TASKS["mrpc"]), "split", "text", "text_pair", "label") == [
        ("train", 'Amrozi said "no.', "He said no.", "1"),
        ("dev", "Yucaipa owned.", "It bought.", "0"),
        ("test", "A.", "B.", "1"),
    ]


def _mnli_row(index, first, second, labels):
    return "\t".join(
        [str(index), "31193", "31193n", "slate", "( A )", "( B )", "(ROOT)", "(ROOT)", first, second, *labels]
    )


def _mnli_files():
    five = ["neutral", "entailment", "neutral", "neutral", "neutral", "neutral"]
    dev = MNLI + "\tsentence1\tsentence2\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label\n"
    test = MNLI + "\tsentence1\tsentence2\n"
    train = MNLI + "\tsentence1\tsentence2\tlabel1\tgold_label\n"
    return {
        "MNLI/train.tsv": train + _mnli_row(0, 'A "train.', "n/a", ["contradiction", "contradiction"]) + "\n",
        "MNLI/dev_matched.tsv": dev + _mnli_row(0, "A m.", "B m.", five) + "\n",
        "MNLI/dev_mismatched.tsv": dev + _mnli_row(0, "A mm.", "B mm.", five) + "\n",
        "MNLI/test_matched.tsv": test + _mnli_row(0, "A t.", "B t.", []) + "\n",
        "MNLI/test_mismatched.tsv": test + _mnli_row(0, "A tt.", "B tt.", []) + "\n",
    }


def test_mnli_has_twelve_sixteen_and_ten_columns_and_two_parts(tmp_path):
    reading = _folder(tmp_path, _mnli_files()).read(TASKS["mnli"])
    assert _table(reading, "split", "part", "group", "index", "text", "text_pair", "label") == [
        ("train", "", "0", "0", 'A "train.', "n/a", "contradiction"),
        ("dev", "matched", "matched/0", "0", "A m.", "B m.", "neutral"),
        ("dev", "mismatched", "mismatched/0", "0", "A mm.", "B mm.", "neutral"),
        ("test", "matched", "matched/0", "0", "A t.", "B t.", None),
        ("test", "mismatched", "mismatched/0", "0", "A tt.", "B tt.", None),
    ]
    assert reading.num_rows == {
        "train": 1,
        "dev_matched": 1,
        "dev_mismatched": 1,
        "test_matched": 1,
        "test_mismatched": 1,
    }


def test_mnli_row_of_another_length_is_refused(tmp_path):
    files = _mnli_files()
    files["MNLI/dev_matched.tsv"] += _mnli_row(1, "A\tm.", "B m.", ["neutral"] * 6) + "\n"
    folder = _folder(tmp_path, files)
    with pytest.raises(TaskError) as caught:
        folder.read(TASKS["mnli"])
    assert str(caught.value).startswith(f"{tmp_path / 'MNLI' / 'dev_matched.tsv'}, line 3: 17 fields, expected 16 (")
    assert folder.read(TASKS["mnli"], skip_bad_rows=True).num_rows["dev_matched"] == 1


def test_other_files_stand_in_for_official_ones(tmp_path):
    pairs = [{"sentence1": "A.", "sentence2": "B.", "label": "neutral"}]
    folder = _folder(
        tmp_path,
        {
            "glue/MNLI/sample.jsonl": pairs,
            "glue/more.jsonl": pairs * 2,
            **{f"glue/{name}": content for name, content in _mnli_files().items()},
        },
    )
    reading = folder.read(TASKS["mnli"], files={"train": SourceFile("sample.jsonl"), "dev": SourceFile("more.jsonl")})
    assert reading.num_rows == {"train": 1, "dev": 2, "test_matched": 1, "test_mismatched": 1}
    assert _table(reading, "split", "part", "group", "label")[:3] == [
        ("train", "", "0", "neutral"),
        ("dev", "", "0", "neutral"),
        ("dev", "", "1", "neutral"),
    ]
    reading = folder.read(TASKS["mnli"], files={"dev_matched": SourceFile("MNLI/sample.jsonl")})
    assert reading.files["dev_matched"].endswith("glue/MNLI/sample.jsonl")
    assert reading.num_rows["dev_mismatched"] == 1
    with pytest.raises(TaskError) as caught:
        folder.read(TASKS["mnli"], files={"tarin": SourceFile("sample.jsonl")})
    assert str(caught.value) == (
        "Task `mnli`: `files` names 'tarin'. Allowed: dev, dev_matched, dev_mismatched, test, test_matched, "
        "test_mismatched, train. Change `files.mnli` in params:finetune."
    )


# As its authors hand it out: no header, and two more columns where a row has sources.
STSB_ORIGINAL = (
    'main-captions\tMSRvid\t2012test\t0001\t5.000\tA plane "takes off.\tAn air plane takes off.\n'
    "main-news\theadlines\t2013\t0002\t0.25\tA.\tB, then C.\thttp://a.b\thttp://c.d\n"
)
STSB_HEADER = ("genre", "filename", "year", "number", "score", "sentence1", "sentence2")
SOURCES = ("source1", "source2")


def test_stsb_as_its_authors_hand_it_out_is_read_by_the_columns_that_are_named(tmp_path):
    names = {"train": "sts-train.csv", "dev": "sts-dev.csv", "test": "sts-test.csv"}
    folder = _folder(tmp_path, {f"STS-B/{name}": STSB_ORIGINAL for name in names.values()})
    files = {split: SourceFile(name, STSB_HEADER, SOURCES, "tsv") for split, name in names.items()}
    reading = folder.read(TASKS["stsb"], files=files)
    pairs = [('A plane "takes off.', "An air plane takes off.", "5.000"), ("A.", "B, then C.", "0.25")]
    assert _table(reading, "split", "text", "text_pair", "label") == [
        (split, *pair) for split in names for pair in pairs
    ]
    with pytest.raises(TaskError) as caught:
        folder.read(
            TASKS["stsb"], files={split: SourceFile(name, STSB_HEADER, (), "tsv") for split, name in names.items()}
        )
    assert "sts-train.csv, line 2: 9 fields, expected 7 (`genre`, " in str(caught.value)


def test_own_file_without_a_header_is_read_by_the_columns_that_are_named(tmp_path):
    paths = {}
    for split in ("train", "dev"):
        paths[split] = SourceFile(str(tmp_path / f"{split}.data"), ("year", "text", "kind"), ("link", "by"), "csv")
        (tmp_path / f"{split}.data").write_text('2012,"A, b.",x\n2013,C.,y,http://a.b,me\n2014,D.,y,http://a.b\n')
    task = own_task("mine", files=paths, columns={"text": "text", "label": "kind"})
    with pytest.raises(TaskError) as caught:
        TaskFolder(tmp_path).read(task)
    assert str(caught.value).startswith(
        f"{tmp_path / 'train.data'}, line 3: 4 fields, expected 3 or 5 (`year`, `text`, `kind`, `link`, `by`). The row "
    )
    reading = TaskFolder(tmp_path).read(task, skip_bad_rows=True)
    assert _table(reading, "text", "label") == [("A, b.", "x"), ("C.", "y")] * 2
    linked = own_task("mine", files=paths, columns={"text": "link", "label": "kind"})
    with pytest.raises(TaskError, match=r"line 1, column `link`: None, expected a text\."):
        TaskFolder(tmp_path).read(linked)


def test_stsb_has_ten_and_nine_columns_and_unbalanced_quotes(tmp_path):
    row = '\tmain-news\tMSRpar\t2012\t0005\tnone\thttp://a.b\t"It said no.\tIt said, ""no".'
    files = {
        "STS-B/train.tsv": f"{STSB}\tscore\n0{row}\t5.000\n1{row}\t0.25\n",
        "STS-B/dev.tsv": f"{STSB}\tscore\n0{row}\t2.615\n",
        "STS-B/test.tsv": f"{STSB}\n3{row}\n",
    }
    texts = ('"It said no.', 'It said, ""no".')
    assert _table(_folder(tmp_path, files).read(TASKS["stsb"]), "index", "text", "text_pair", "label") == [
        ("0", *texts, "5.000"),
        ("1", *texts, "0.25"),
        ("0", *texts, "2.615"),
        ("3", *texts, None),
    ]


def test_broken_rows_of_qqp_are_passed_over_as_by_its_own_reader_and_counted(tmp_path):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    # A question with a line feed in it makes two short rows; nothing of either may become an example.
    broken = '5\t6\t7\tWas he "\n"\tWhat is the evidence?\t0\n'
    train = header + "1\t2\t3\tWhy?\tWhy not?\t0\n" + broken + "8\t9\t9\tHow?\t\t1\n"
    files = {
        "QQP/train.tsv": train,
        "QQP/dev.tsv": header + "1\t2\t3\tA\tB\t1\n",
        "QQP/test.tsv": "id\tquestion1\tquestion2\n0\tC\tD\n",
    }
    reading = _folder(tmp_path, files).read(TASKS["qqp"])
    assert _table(reading, "index", "text", "text_pair", "label") == [
        ("1", "Why?", "Why not?", "0"),
        ("8", "How?", "", "1"),
        ("1", "A", "B", "1"),
        ("0", "C", "D", None),
    ]
    path = str(tmp_path / "QQP" / "train.tsv")
    assert reading.num_skipped == {path: 2}
    assert reading.first_faults[0].startswith(f"{path}, line 3: 4 fields, expected 6 (")


@pytest.mark.parametrize(("name", "header"), [("qnli", "question\tsentence"), ("rte", "sentence1\tsentence2")])
def test_inference_tasks_have_an_index_and_two_texts(tmp_path, name, header):
    title = TASKS[name].title
    lines = f"index\t{header}\tlabel\r\n3\tA.\tB.\tnot_entailment\r\n"
    files = {f"{title}/train.tsv": lines, f"{title}/dev.tsv": lines, f"{title}/test.tsv": f"index\t{header}\n0\tC.\tD."}
    assert _table(_folder(tmp_path, files).read(TASKS[name]), "index", "text", "text_pair", "label") == [
        *[("3", "A.", "B.", "not_entailment")] * 2,
        ("0", "C.", "D.", None),
    ]


def test_diagnostic_is_read_with_labels_where_there_are_some(tmp_path):
    folder = _folder(tmp_path, {"diagnostic/diagnostic.tsv": "index\tsentence1\tsentence2\n0\tA.\tB.\n"})
    assert _table(folder.read(TASKS["ax"]), "split", "text", "text_pair", "label") == [("test", "A.", "B.", None)]
    full = "Lexical Semantics\tDomain\tPremise\tHypothesis\tLabel\r\n\tNews\tA.\tB.\tneutral\r\n"
    folder = _folder(tmp_path, {"diagnostic/diagnostic-full.tsv": full})
    assert _table(folder.read(TASKS["ax"]), "split", "text", "text_pair", "label") == [("test", "A.", "B.", "neutral")]


def test_rte_of_superglue_is_not_taken_for_that_of_glue(tmp_path):
    rows = [{"premise": "P", "hypothesis": "H", "label": "entailment", "idx": 4}]
    lines = "index\tsentence1\tsentence2\tlabel\n1\tA\tB\tentailment\n"
    folder = _folder(
        tmp_path,
        {
            "RTE/train.tsv": lines,
            "RTE/dev.tsv": lines,
            "superglue/RTE/train.jsonl": rows,
            "superglue/RTE/val.jsonl": rows,
        },
    )
    assert folder.read(TASKS["rte"]).examples["text"].tolist() == ["A", "A"]
    assert folder.read(TASKS["superglue_rte"]).examples["text"].tolist() == ["P", "P"]


def test_question_that_stands_twice_in_a_file_is_refused(tmp_path):
    question = {"premise": "P", "choice1": "x", "choice2": "y", "question": "cause", "label": 0, "idx": 3}
    folder = _folder(tmp_path, {"COPA/train.jsonl": [question, question], "COPA/val.jsonl": [question]})
    with pytest.raises(TaskError) as caught:
        folder.read(TASKS["copa"])
    assert str(caught.value) == (
        f"{tmp_path / 'COPA' / 'train.jsonl'}, line 2: the question '3' stands in it before. Mend the row, set "
        "`skip_bad_rows` to leave such rows out, or name another file; all in params:finetune."
    )
    assert folder.read(TASKS["copa"], skip_bad_rows=True).num_rows == {"train": 2, "dev": 2}


def test_race_has_a_folder_for_each_level(tmp_path):
    article = {"article": "A.", "questions": ["It is _"], "options": [["a", "b", "c", "d"]], "answers": ["B"]}
    files = {
        f"RACE/{split}/{level}/{number}.txt": [{**article, "id": f"{level}{number}.txt"}]
        for split in ("train", "dev", "test")
        for level in ("middle", "high")
        for number in (10, 9)
    }
    reading = _folder(tmp_path, files).read(TASKS["race_high"])
    assert reading.num_rows == {"train": 8, "dev": 8, "test": 8}
    assert _table(reading, "group", "text_pair", "option", "label")[3:5] == [
        ("high9.txt/0", "It is d", "d", "wrong"),
        ("high10.txt/0", "It is a", "a", "wrong"),
    ]
    # As articles 15946 and 16528 of the archive.
    bare = tmp_path / "RACE" / "train" / "high" / "11.txt"
    bare.write_text(json.dumps({"article": "A.", "questions": [], "options": [], "answers": [], "id": "high11.txt"}))
    again = TaskFolder(tmp_path).read(TASKS["race_high"])
    assert (again.num_rows, again.num_skipped) == (reading.num_rows, {})
    path = tmp_path / "RACE" / "dev" / "high" / "9.txt"
    path.write_text(json.dumps({**article, "answers": ["E"]}))
    with pytest.raises(TaskError) as caught:
        TaskFolder(tmp_path).read(TASKS["race_high"])
    assert str(caught.value) == (
        f"{path}, line 1, column `answers`: 'E', expected one of A, B, C, D. Mend the row, set `skip_bad_rows` to "
        "leave such rows out, or name another file; all in params:finetune."
    )


FIELD = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text("\"'\t\r\n ,*01", max_size=5)


@settings(deadline=None, max_examples=150)
@given(rows=st.lists(st.tuples(FIELD, st.sampled_from(["0", "1", "2", ""]), FIELD, FIELD), min_size=1, max_size=4))
@pytest.mark.slow
def test_columns_of_a_file_without_header_never_shift(tmp_path_factory, rows):
    root = tmp_path_factory.mktemp("cola")
    lines = "".join("\t".join(row) + "\n" for row in rows)
    folder = _folder(root, {"CoLA/train.tsv": lines, "CoLA/dev.tsv": "a\t1\t\tA.\n"})
    reading = folder.read(TASKS["cola"], skip_bad_rows=True) if _has_good_row(lines) else None
    if reading is None:
        with pytest.raises(TaskError, match=r"train.tsv.*no example in it|train.tsv, line 1: empty"):
            folder.read(TASKS["cola"], skip_bad_rows=True)
        return
    read = reading.examples[reading.examples["split"] == "train"]
    expected = [(fields[3], fields[1], str(number)) for number, fields in _lines(lines) if _is_good(fields)]
    assert list(read[["text", "label", "index"]].itertuples(index=False, name=None)) == expected
    assert reading.num_skipped.get(str(root / "CoLA" / "train.tsv"), 0) == len(_lines(lines)) - len(expected)


def _lines(content):
    parts = content.rstrip("\r\n").split("\n")
    return [(number, line.removesuffix("\r").split("\t")) for number, line in enumerate(parts)]


def _is_good(fields):
    return len(fields) == 4 and fields[1] in ("0", "1") and bool(fields[3].strip())


def _has_good_row(content):
    return any(_is_good(fields) for _, fields in _lines(content.removeprefix("\ufeff")))
