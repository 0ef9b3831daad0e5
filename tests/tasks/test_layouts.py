import pytest

from bort_kedro.errors import TaskError
from bort_kedro.tasks.records import ExampleRow, Record, RowFault
from bort_kedro.tasks.rows import example_rows, resolve_columns
from bort_kedro.tasks.table import TASKS, own_task

FILES = {"train": "train.tsv", "dev": "dev.csv"}


def rows_of(name, fields, *, number=0, is_labelled=True, labels=None):
    task = TASKS[name] if isinstance(name, str) else name
    columns = resolve_columns(task, fields, is_labelled=is_labelled)
    return example_rows(task, Record(fields, columns, number), is_labelled=is_labelled, labels=labels)


def fault_of(name, fields, **others):
    with pytest.raises(RowFault) as caught:
        rows_of(name, fields, **others)
    return str(caught.value)


WIC = {
    "idx": 7,
    "word": "class",
    "sentence1": "An emerging professional class.",
    "start1": 25,
    "end1": 30,
    "sentence2": "It showed real class.",
    "start2": 15,
    "end2": 20,
    "label": False,
    "version": 1.1,
}
WSC = {
    "idx": 3,
    "text": "Mark told Pete many lies. He [sic] should know.",
    "target": {"span1_text": "Mark", "span1_index": 0, "span2_text": "He", "span2_index": 5},
    "label": True,
}
COPA = {"premise": "The man turned on.", "choice1": "It ran.", "choice2": "It ran.", "question": "effect", "label": 1}
MULTIRC = {
    "idx": 54,
    "passage": {
        "text": "A passage.",
        "questions": [
            {
                "idx": 639,
                "question": "Who?",
                "answers": [{"text": "A", "idx": 5, "label": 1}, {"text": "", "idx": 6, "label": 0}],
            },
            {"idx": 640, "question": "Why?", "answers": [{"text": "B", "idx": 7, "label": 0}]},
        ],
    },
}
RECORD = {
    "idx": 1,
    "source": "CNN",
    "passage": {
        "text": "Caracas (CNN) saw Chavez\n@highlight\nCaracas grows.\n@highlight\nIt ends",
        "entities": [
            {"start": 0, "end": 6},
            {"start": 9, "end": 11},
            {"start": 18, "end": 23},
            {"start": 36, "end": 42},
        ],
    },
    "qas": [
        {"query": "In @placeholder's streets", "answers": [{"start": 0, "end": 6, "text": "Caracas"}], "idx": 4},
        {"query": "@placeholder saw @placeholder", "answers": [{"text": "CNN"}, {"text": "Chavez"}], "idx": 5},
    ],
}
RACE = {
    "id": "high73.txt",
    "article": "An article.",
    "questions": ["What is it?", "It is _ ."],
    "options": [["a", "b", "c", "d"], ["e", "f\\1", "f", "f"]],
    "answers": ["C", "A"],
}


def test_single_text_keeps_its_text_and_takes_its_number_where_it_has_no_index():
    fields = {"source": "gj04", "label": "1", "mark": "", "sentence": "They drank "}
    assert rows_of("cola", fields, number=5) == [ExampleRow("5", "They drank ", None, None, "1", "5")]


def test_pair_takes_the_index_of_its_file():
    fields = {"index": "9", "question": "Q?", "sentence": "S.", "label": "entailment"}
    assert rows_of("qnli", fields) == [ExampleRow("9", "Q?", "S.", None, "entailment", "9")]


def test_passage_is_the_first_text_of_boolq():
    fields = {"question": "is it", "passage": "It is.", "idx": 2, "label": True}
    assert rows_of("boolq", fields) == [ExampleRow("2", "It is.", "is it", None, "true", "2")]


def test_columns_may_have_the_name_of_the_archive_or_of_the_hub():
    archive = {"index": "0", "sentence1": "A", "sentence2": "B", "label1": "neutral", "gold_label": "entailment"}
    hub = {"idx": 0, "premise": "A", "hypothesis": "B", "label": "entailment"}
    assert rows_of("mnli", archive) == rows_of("mnli", hub) == [ExampleRow("0", "A", "B", None, "entailment", "0")]


def test_missing_columns_are_named_with_those_found():
    with pytest.raises(TaskError) as caught:
        resolve_columns(TASKS["mrpc"], ["#1 String", "index"], is_labelled=True)
    assert str(caught.value) == (
        "no column `Quality` or `label`, `#2 String` or `sentence2`. Columns found: `#1 String`, `index`"
    )
    assert resolve_columns(TASKS["sst2"], ["sentence"], is_labelled=False) == {"text": ("sentence",)}


def test_test_split_may_have_no_labels():
    assert rows_of("rte", {"index": "0", "sentence1": "A", "sentence2": "B"}, is_labelled=False)[0].label is None


def test_score_is_kept_as_it_is_written():
    pair = {"sentence1": "A", "sentence2": "B"}
    assert rows_of("stsb", {**pair, "score": "5.000"})[0].label == "5.000"
    assert rows_of("stsb", {**pair, "score": 3.8})[0].label == "3.8"
    for wrong in ("nan", "inf", "1_0", "٣", "", "five", "1e999"):
        kind = "a label that is not empty" if not wrong else "a number"
        assert fault_of("stsb", {**pair, "score": wrong}) == f"column `score`: {wrong!r}, expected {kind}"


def test_unknown_label_names_those_allowed():
    fields = {"sentence": "A", "label": "2"}
    assert fault_of("cola", fields) == "column `label`: '2', expected one of '0', '1'"
    mine = own_task("mine", files=FILES, columns={"text": "sentence", "label": "label"})
    assert fault_of(mine, fields, labels=["yes"]) == "column `label`: '2', expected one of 'yes'"
    assert rows_of(mine, fields)[0].label == "2"


def test_words_of_the_hub_become_the_numbers_of_the_archive():
    assert rows_of("cola", {"sentence": "A", "label": "acceptable"})[0].label == "1"
    assert rows_of("wnli", {"sentence1": "A", "sentence2": "B", "label": "not_entailment"})[0].label == "0"


def test_empty_text_is_refused_but_where_official_files_have_some():
    pair = {"sentence1": "A", "sentence2": "  ", "label": "entailment"}
    assert fault_of("rte", pair) == "column `sentence2`: '  ', expected a text that is not empty"
    question = {"question1": "A", "question2": "", "is_duplicate": "0"}
    assert rows_of("qqp", question)[0].text_pair == ""
    assert "'\\ud800'" in fault_of("qqp", {**question, "question2": "\ud800"})


def test_two_rows_of_the_gender_diagnostic_make_a_group():
    fields = {"premise": "A", "hypothesis": "B", "label": "entailment", "pair_id": 551646}
    rows = [rows_of("axg", {**fields, "idx": number})[0] for number in range(4)]
    assert [(row.group, row.index) for row in rows] == [("0", "0"), ("0", "1"), ("1", "2"), ("1", "3")]


def test_words_in_context_are_marked():
    assert rows_of("wic", WIC) == [
        ExampleRow("7", "An emerging professional [ class ] .", "It showed real [ class ] .", None, "false", "7")
    ]
    assert fault_of("wic", {**WIC, "end2": 99}) == (
        "column `start2`: 15, expected the start of a word of `sentence2` (there is no text from 15 to 99 of its 21 "
        "characters)"
    )
    assert fault_of("wic", {**WIC, "start1": "25"}) == "column `start1`: '25', expected a whole number"
    assert fault_of("wic", {**WIC, "start1": True}) == "column `start1`: True, expected a whole number"


def test_both_spans_of_a_winograd_schema_are_marked():
    assert rows_of("wsc", WSC) == [
        ExampleRow("3", "[ Mark ] told Pete many lies. [ He ] (sic) should know.", None, None, "true", "3")
    ]
    wrong = {**WSC, "target": {**WSC["target"], "span1_text": "Luke"}}
    assert fault_of("wsc", wrong) == "column `target.span1_text`: 'Luke', expected words of `text`"
    assert fault_of("wsc", {**WSC, "target": 3}) == "column `target`: 3, expected an object"


def test_choices_are_rows_of_one_group_even_if_they_are_equal():
    right = ExampleRow("4", "The man turned on.", "What happened as a result? It ran.", "It ran.", "right", "4")
    wrong = ExampleRow("4", "The man turned on.", "What happened as a result? It ran.", "It ran.", "wrong", "4")
    assert rows_of("copa", {**COPA, "idx": 4}) == [wrong, right]
    assert rows_of("copa", {**COPA, "question": "cause"})[0].text_pair == "What was the cause? It ran."
    assert fault_of("copa", {**COPA, "label": 2}) == "column `label`: '2', expected a number from 0 to 1"
    assert (
        fault_of("copa", {**COPA, "question": "why"}) == "column `question`: 'why', expected one of 'cause', 'effect'"
    )
    assert fault_of("copa", {**COPA, "premise": "a" * 100 + "\ud83d"}) == (
        f"column `premise`: '{'a' * 79}, expected a text of whole characters; it has half a character, '\\ud83d', as "
        "number 101 of 101"
    )
    assert fault_of("copa", {**COPA, "choice2": None}) == "column `choice2`: None, expected a text"


@pytest.mark.parametrize("wrong", ["", "  ", "\ud800"])
@pytest.mark.parametrize(
    ("name", "fields", "column"),
    [("copa", COPA, "premise"), ("copa", COPA, "choice2"), ("wic", WIC, "sentence2"), ("wsc", WSC, "text")],
)
def test_field_without_a_text_is_named_as_the_file_names_it(name, fields, column, wrong):
    assert fault_of(name, {**fields, column: wrong}).startswith(f"column `{column}`: {wrong!r}, expected a text ")


def test_column_is_named_as_the_file_names_it():
    hub = {"idx": 0, "premise": "A", "hypothesis": "", "label": "entailment"}
    assert fault_of("mnli", hub) == "column `hypothesis`: '', expected a text that is not empty"
    assert fault_of("mnli", {**hub, "hypothesis": "B", "label": "x"}).startswith("column `label`: 'x', expected one")


def test_unlabelled_choices_have_no_labels():
    fields = {name: value for name, value in COPA.items() if name != "label"}
    assert [row.label for row in rows_of("copa", fields, is_labelled=False)] == [None, None]
    assert fault_of("copa", fields) == "column `label`: None, expected a label that is not empty"


def test_answers_of_a_question_are_rows_of_one_group():
    assert rows_of("multirc", MULTIRC) == [
        ExampleRow("54/639", "A passage.", "Who? A", None, "true", "54/639/5"),
        ExampleRow("54/639", "A passage.", "Who? ", None, "false", "54/639/6"),
        ExampleRow("54/640", "A passage.", "Why? B", None, "false", "54/640/7"),
    ]
    assert fault_of("multirc", {"passage": {"text": "A"}}) == "column `questions`: None, expected a list"
    assert fault_of("multirc", {"passage": {"text": "A", "questions": [3]}}) == "column `question`: 3, expected a text"


def without_choices(name):
    """A record of each layout of nested questions: the last question has nothing to choose among."""
    if name == "multirc":
        passage = MULTIRC["passage"]
        questions = [*passage["questions"], {"idx": 641, "question": "How?", "answers": []}]
        return MULTIRC | {"passage": passage | {"questions": questions}}, "answers"
    if name == "record":
        return RECORD | {"passage": RECORD["passage"] | {"entities": []}}, "entities"
    return RACE | {"options": [RACE["options"][0], []]}, "options"


WITHOUT_QUESTIONS = {
    "multirc": MULTIRC | {"passage": {"text": "A passage.", "questions": []}},
    "record": RECORD | {"passage": {"text": "A passage.", "entities": []}, "qas": []},
    "race_high": RACE | {"questions": [], "options": [], "answers": []},
}


@pytest.mark.parametrize("name", WITHOUT_QUESTIONS)
def test_a_text_without_questions_is_no_example_but_every_question_has_its_choices(name):
    assert rows_of(name, WITHOUT_QUESTIONS[name]) == []
    fields, column = without_choices(name)
    assert fault_of(name, fields).startswith(f"column `{column}`: [], expected ")


def test_entities_fill_the_placeholder_marked_and_each_once():
    rows = rows_of("record", RECORD)
    assert [(row.group, row.option, row.text_pair, row.label) for row in rows] == [
        ("4", "Caracas", "In [ Caracas ] 's streets", "right"),
        ("4", "CNN", "In [ CNN ] 's streets", "wrong"),
        ("4", "Chavez", "In [ Chavez ] 's streets", "wrong"),
        ("5", "Caracas", "[ Caracas ] saw [ Caracas ]", "wrong"),
        ("5", "CNN", "[ CNN ] saw [ CNN ]", "right"),
        ("5", "Chavez", "[ Chavez ] saw [ Chavez ]", "right"),
    ]
    assert {row.text for row in rows} == {"Caracas (CNN) saw Chavez. Caracas grows. It ends"}


@pytest.mark.parametrize(
    ("passage", "asked", "expected"),
    [
        ({"entities": [{"start": 4, "end": 99}]}, {}, "column `entities`: {'start': 4, 'end': 99}, expected first and"),
        ({"entities": [3]}, {}, "column `start`: 3, expected a whole number"),
        ({}, {"query": "No gap"}, "column `query`: 'No gap', expected a statement with @placeholder"),
        ({}, {"answers": [{"text": "Bolivar"}]}, "column `answers`: ['Bolivar'], expected at least one that is an"),
        ({}, {"answers": 3}, "column `answers`: 3, expected a list"),
    ],
)
def test_broken_cloze_names_its_field(passage, asked, expected):
    broken = {**RECORD, "passage": RECORD["passage"] | passage, "qas": [RECORD["qas"][0] | asked]}
    assert fault_of("record", broken).startswith(expected)


def test_options_fill_the_blank_of_a_statement_or_follow_the_question():
    rows = rows_of("race_high", RACE)
    assert [row.text_pair for row in rows] == [
        *("What is it? a", "What is it? b", "What is it? c", "What is it? d"),
        *("It is e .", "It is f\\1 .", "It is f .", "It is f ."),
    ]
    assert [row.group for row in rows] == ["high73.txt/0"] * 4 + ["high73.txt/1"] * 4
    assert [row.label for row in rows] == ["wrong", "wrong", "right", "wrong", "right", "wrong", "wrong", "wrong"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"answers": ["C", "E"]}, "column `answers`: 'E', expected one of A, B, C, D"),
        ({"answers": ["C", "AB"]}, "column `answers`: 'AB', expected one of A, B, C, D"),
        ({"answers": ["C"]}, "column `options`: 2, expected as many as questions (2) and answers (1)"),
        ({"options": [["a"], "bc"]}, "column `answers`: 'C', expected one of A"),
        ({"options": ["ab", "cd"]}, "column `options`: 'ab', expected a list of texts for each question"),
        ({"article": None}, "column `article`: None, expected a text"),
    ],
)
def test_broken_article_names_its_field(change, expected):
    assert fault_of("race_high", RACE | change) == expected


def test_own_multiple_choice_takes_the_number_or_the_column_of_the_right_option():
    columns = {"text": "story", "text_pair": "asked", "options": ["a", "b", "c"], "label": "answer"}
    mine = own_task("mine", files=FILES, columns=columns, form="multiple_choice")
    fields = {"story": "S", "asked": "Q?", "a": "x", "b": "y", "c": "z", "idx": "same"}
    for answer in ("1", 1, "b"):
        rows = rows_of(mine, {**fields, "answer": answer}, number=8)
        assert rows[1] == ExampleRow("8", "S", "Q? y", "y", "right", "8")
        assert [row.label for row in rows] == ["wrong", "right", "wrong"]
    assert fault_of(mine, {**fields, "answer": "d"}) == "column `answer`: 'd', expected a number from 0 to 2"
