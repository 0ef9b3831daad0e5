"""Files of tagged words: what is read of them, and what is said of those that are wrong."""

import json

import pytest

from bort_kedro.datasets.task_files import TaskFilesDataset
from bort_kedro.errors import TaskError
from bort_kedro.tasks.description import SourceFile
from bort_kedro.tasks.table import own_task

NOWHERE = TaskFilesDataset(folder="nowhere").load()
HOW = "Mend the row, set `skip_bad_rows` to leave such rows out, or name another file; all in params:finetune."
CONLL = """-DOCSTART- -X- -X- O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER
"""
# What is read of it.
READ = [("EU rejects German", "B-ORG O B-MISC"), ("Peter Blackburn", "B-PER I-PER")]


def read(folder, content=CONLL, *, name="train.conll", dev=CONLL, test=None, file=None, skip_bad_rows=False, **options):
    paths = {"train": folder / name, "dev": folder / "dev.conll"} | ({"test": folder / "test.conll"} if test else {})
    for path, text in zip(paths.values(), (content, dev, test), strict=False):
        path.write_bytes(text.encode())
    files = {split: str(path) for split, path in paths.items()}
    if file:
        files = {split: SourceFile(path, **file) for split, path in files.items()}
    task = own_task("mine", files=files, form="token_classification", **options)
    return NOWHERE.read(task, skip_bad_rows=skip_bad_rows)


def rows(reading, split="train"):
    table = reading.examples
    return [(row.text, row.label) for row in table[table["split"] == split].itertuples()]


def fault(folder, *args, **options):
    with pytest.raises(TaskError) as caught:
        read(folder, *args, **options)
    return str(caught.value).replace(f"{folder}/", "")


def test_a_conll_file_gives_a_row_for_each_sentence_and_iob1_becomes_iob2(tmp_path):
    reading = read(tmp_path, test="EU NNP I-NP I-ORG\n")
    assert rows(reading) == rows(reading, "dev") == READ
    assert rows(reading, "test") == [("EU", "B-ORG")]
    assert reading.labels == ("O", "B-MISC", "I-MISC", "B-ORG", "I-ORG", "B-PER", "I-PER")
    assert reading.num_rows == {"train": 2, "dev": 2, "test": 1}


@pytest.mark.parametrize(
    "change", [lambda text: text.replace("\n", "\r\n"), lambda text: "\ufeff\n" + text + "\n \n\n"]
)
def test_line_ends_and_empty_lines_of_any_kind_are_fine(tmp_path, change):
    assert rows(read(tmp_path, change(CONLL))) == READ


def test_columns_are_the_first_and_the_last_or_those_that_are_named(tmp_path):
    header = {"header": ("word", "part", "chunk", "entity")}
    named = read(tmp_path, file=header, columns={"text": "word", "label": "chunk"})
    assert rows(named) == [("EU rejects German", "B-NP B-VP B-NP"), ("Peter Blackburn", "B-NP I-NP")]
    assert rows(read(tmp_path, file=header, columns={"text": "word", "label": "entity"})) == READ


def test_a_file_of_another_suffix_may_be_said_to_be_conll(tmp_path):
    assert rows(read(tmp_path, name="train.txt", file={"format": "conll"})) == READ


def test_a_test_file_of_words_alone_has_no_labels(tmp_path):
    reading = read(tmp_path, test="EU\nrejects\n\nPeter\n")
    assert rows(reading, "test") == [("EU rejects", None), ("Peter", None)]


def test_lines_of_json_hold_lists_of_words_and_tags(tmp_path):
    lines = [
        {"tokens": ["EU", "rejects"], "tags": ["S-ORG", "O"]},
        {"tokens": ["Peter", "B"], "tags": ["B-PER", "E-PER"]},
    ]
    text = "\n".join(map(json.dumps, lines))
    assert rows(read(tmp_path, text, name="train.jsonl", dev="EU I-ORG\n")) == [
        ("EU rejects", "B-ORG O"),
        ("Peter B", "B-PER I-PER"),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "EU I-ORG\nrejects\n",
            "train.conll, line 2: 1 columns, expected 2, as the first line has. The line is 'rejects'",
        ),
        (
            "EU NNP\nrejects VBZ\n",
            "train.conll, line 1, column `tags`: 'NNP', expected O, or B- or I- and a type, such as B-PER (the tags of "
            "IOB1, BIOES and BILOU are understood too)",
        ),
        ("a O\n\nEU\n", "train.conll, line 3: 1 columns, expected 2, as the first line has. The line is 'EU'"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path, content, expected):
    assert fault(tmp_path, content) == f"{expected}. {HOW}"


def test_a_line_without_all_columns_of_the_header_is_named_with_them(tmp_path):
    header = {"header": ("word", "entity")}
    columns = {"text": "word", "label": "entity"}
    assert fault(tmp_path, file=header, columns=columns) == (
        f"train.conll, line 3: 4 columns, expected 2 (`word`, `entity`). The line is 'EU NNP I-NP I-ORG'. {HOW}"
    )


def json_fault(folder, **fields):
    good = {"tokens": ["EU", "x"], "tags": ["B-ORG", "O"]}
    return fault(folder, "\n".join(map(json.dumps, (good, good | fields))), name="train.jsonl")


def test_what_is_wrong_in_a_line_of_json_is_named(tmp_path):
    where = "train.jsonl, line 2, column"
    assert json_fault(tmp_path, tags=["O"]) == (
        f"{where} `tags`: ['O'], expected as many tags as words (2, and these are 1). {HOW}"
    )
    assert json_fault(tmp_path, tags=[0, 3]).startswith(f"{where} `tags`: 0, expected O, or B- or I- and a type")
    assert json_fault(tmp_path, tags="O O") == f"{where} `tags`: 'O O', expected a list. {HOW}"
    assert json_fault(tmp_path, tokens="EU x") == f"{where} `tokens`: 'EU x', expected a list. {HOW}"
    assert json_fault(tmp_path, tokens=[]) == f"{where} `tokens`: [], expected a word at least. {HOW}"
    for word in ("New York", "", "\u00a0", 3):
        assert json_fault(tmp_path, tokens=["EU", word]) == (
            f"{where} `tokens`: {word!r}, expected a word without white space. {HOW}"
        )
    assert json_fault(tmp_path, tags=None).startswith("train.jsonl, line 2, column `tags`: None, expected a label")


def test_faulty_sentences_may_be_left_out(tmp_path):
    reading = read(tmp_path, CONLL + "\nEU O\n\nhere X X O\n", skip_bad_rows=True)
    assert rows(reading) == [*READ, ("here", "O")]
    assert sum(reading.num_skipped.values()) == 1


def test_a_type_that_train_has_not_is_refused_in_dev(tmp_path):
    assert fault(tmp_path, dev="May NNP I-NP I-DATE\n") == (
        "dev.conll, line 1, column `tags`: 'B-DATE', expected one of 'O', 'B-MISC', 'I-MISC', 'B-ORG', 'I-ORG', "
        f"'B-PER', 'I-PER'. {HOW}"
    )
    assert read(tmp_path, dev="May NNP I-NP I-ORG\n", labels=["PER", "ORG", "MISC"]).labels == (
        *("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-MISC", "I-MISC"),
    )


def test_train_without_a_span_is_refused(tmp_path):
    assert fault(tmp_path, "EU O\n") == (
        "train.conll: every example has the label 'O', two are needed. Name another file, or the labels, in "
        "params:finetune."
    )


def test_a_description_says_all_its_faults():
    with pytest.raises(TaskError) as caught:
        own_task(
            "mine",
            files={"train": "a.csv", "dev": "b.conll"},
            columns={"text_pair": "x"},
            form="token_classification",
            labels=["PER", "B-LOC"],
            metrics=["accuracy"],
            truncation="text",
        )
    assert str(caught.value) == (
        "Own task `mine`: `truncation` is 'text', and no text of tagged words is cut; leave it out; `labels` holds"
        " 'B-LOC'; types of spans are needed, such as PER; `train` is a.csv, which has none of the suffixes; "
        "`columns` names the unknown column `text_pair`; `metrics` holds 'accuracy', allowed: span_f1, "
        "span_precision, span_recall, word_accuracy. Allowed in `files`: train, dev and test, with the suffixes "
        ".conll, .jsonl; in `columns`: text, label, text_pair for pairs and options (a list) for multiple_choice. "
        "Change `own_tasks.mine` in params:finetune."
    )
