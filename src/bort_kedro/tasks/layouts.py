"""How a raw record of each benchmark becomes rows of the table of examples."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from bort_kedro.tasks.description import RIGHT, WRONG
from bort_kedro.tasks.labels import label_text
from bort_kedro.tasks.records import (
    ExampleRow,
    Record,
    choices_field,
    filled_field,
    list_field,
    number_field,
    object_field,
    row_fault,
    text_field,
)
from bort_kedro.tasks.spans import find_span, mark, without_brackets
from bort_kedro.tasks.tags import ALLOWED, as_iob2, is_tag
from bort_kedro.text.prose import is_whole

Layout = Callable[[Record], list[ExampleRow]]

COPA_QUESTIONS = {"cause": "What was the cause?", "effect": "What happened as a result?"}
LETTERS = "ABCDEFGHIJ"
PLACEHOLDER = "@placeholder"


def _texts(record: Record) -> list[ExampleRow]:
    """A single text or a pair."""
    index = record.index
    return [
        ExampleRow(index, record.get("text"), record.get("text_pair"), None, label_text(record.get("label")), index)
    ]


def _tagged(record: Record) -> list[ExampleRow]:
    """Words, which white space parts, and a tag for each; other schemes than IOB2 become it."""
    name, index = record.columns["text"][0], record.index
    words = list_field(record.fields, name)
    if not words:
        raise row_fault(name, words, "a word at least")
    _require_each(name, words, lambda word: is_whole(word) and word.split() == [word], "a word without white space")
    tags = record.get("label")
    if tags is not None:
        name = record.columns["label"][0]
        tags = list_field(record.fields, name)
        _require_each(name, tags, is_tag, ALLOWED)
        if len(tags) != len(words):
            raise row_fault(name, tags, f"as many tags as words ({len(words)}, and these are {len(tags)})")
        tags = " ".join(as_iob2(tags))
    return [ExampleRow(index, " ".join(words), None, None, tags, index)]


def _require_each(name: str, values: Sequence[object], is_fit: Callable[[object], bool], expected: str) -> None:
    unfit = [value for value in values if not is_fit(value)]
    if unfit:
        raise row_fault(name, unfit[0], expected)


def _gender_pairs(record: Record) -> list[ExampleRow]:
    """AX-g: of two rows after one another, which differ in the gender of a pronoun, is made a group."""
    index = record.index
    number = int(index) if index.isdecimal() else record.number
    return [replace(row, group=str(number // 2)) for row in _texts(record)]


def _options(record: Record) -> list[ExampleRow]:
    """Own multiple choice: a column for each option, the label its number from 0 or its column."""
    names, label = record.columns["options"], label_text(record.get("label"))
    right = names.index(label) if label in names else _option_number(record.columns.get("label"), label, len(names))
    question = record.get("text_pair")
    options = [record.fields[name] for name in names]
    pairs = [option if question is None else f"{question} {option}" for option in options]
    return _choices(record.index, record.get("text"), options, pairs, None if right is None else [right])


def _option_number(column: Sequence[str] | None, label: str | None, num_options: int) -> int | None:
    if label is None:
        return None
    if label not in map(str, range(num_options)):
        raise row_fault(column[0] if column else "label", label, f"a number from 0 to {num_options - 1}")
    return int(label)


def _choices(
    index: str, text: str, options: Sequence[str], pairs: Sequence[str], right: Collection[int] | None
) -> list[ExampleRow]:
    """A row for each option; ``right`` are numbers of options, None where they are unknown."""
    labels = [None if right is None else RIGHT if number in right else WRONG for number in range(len(options))]
    return [
        ExampleRow(index, text, pair, option, label, index)
        for option, pair, label in zip(options, pairs, labels, strict=True)
    ]


def _copa(record: Record) -> list[ExampleRow]:
    """A premise, and two choices for its cause or its effect; the question is said in words."""
    fields = record.fields
    asked = filled_field(fields, "question")
    if asked not in COPA_QUESTIONS:
        raise row_fault("question", asked, f"one of {', '.join(map(repr, COPA_QUESTIONS))}")
    options = [filled_field(fields, "choice1"), filled_field(fields, "choice2")]
    right = _option_number(None, label_text(fields.get("label")), len(options))
    pairs = [f"{COPA_QUESTIONS[asked]} {option}" for option in options]
    return _choices(record.index, filled_field(fields, "premise"), options, pairs, None if right is None else [right])


def _wic(record: Record) -> list[ExampleRow]:
    """A word in two sentences, given by its characters."""
    fields, texts = record.fields, []
    for number in (1, 2):
        text = filled_field(fields, f"sentence{number}")
        start, end = number_field(fields, f"start{number}"), number_field(fields, f"end{number}")
        try:
            texts.append(mark(text, [(start, end)]))
        except ValueError as fault:
            raise row_fault(f"start{number}", start, f"the start of a word of `sentence{number}` ({fault})") from fault
    index = record.index
    return [ExampleRow(index, texts[0], texts[1], None, label_text(fields.get("label")), index)]


def _wsc(record: Record) -> list[ExampleRow]:
    """A noun phrase and a pronoun of one text, given by their words and the number of the first."""
    fields = record.fields
    text, target = filled_field(fields, "text"), object_field(fields, "target")
    places = []
    for name in ("span1", "span2"):
        words = filled_field(target, f"{name}_text")
        place = find_span(text, words, number_field(target, f"{name}_index"))
        if place is None:
            raise row_fault(f"target.{name}_text", words, "words of `text`")
        places.append(place)
    try:
        marked = mark(text, places)
    except ValueError as fault:
        raise row_fault("target", dict(target), f"two spans that do not cross ({fault})") from fault
    index = record.index
    return [ExampleRow(index, marked, None, None, label_text(fields.get("label")), index)]


def _multirc(record: Record) -> list[ExampleRow]:
    """A passage, its questions, and for each of them answers of which any number is right: a row an answer."""
    passage, index = object_field(record.fields, "passage"), record.fields.get("idx", record.number)
    text, rows = text_field(passage, "text"), []
    for question in list_field(passage, "questions"):
        asked, group = text_field(question, "question"), f"{index}/{number_field(question, 'idx')}"
        for answer in choices_field(question, "answers"):
            pair = f"{asked} {text_field(answer, 'text')}"
            row_index = f"{group}/{number_field(answer, 'idx')}"
            rows.append(ExampleRow(group, text, pair, None, label_text(answer.get("label")), row_index))
    return rows


def _record(record: Record) -> list[ExampleRow]:
    """A news text and statements with one entity hidden; the options are the entities of the text."""
    passage, rows = object_field(record.fields, "passage"), []
    text = filled_field(passage, "text")
    questions = list_field(record.fields, "qas")
    entities = (choices_field if questions else list_field)(passage, "entities")
    options = list(dict.fromkeys(_entity(text, entity) for entity in entities))
    for asked in questions:
        query = filled_field(asked, "query")
        if PLACEHOLDER not in query:
            raise row_fault("query", query, f"a statement with {PLACEHOLDER}")
        given = list_field(asked, "answers") if asked.get("answers") is not None else []
        answers = {text_field(answer, "text") for answer in given}
        right = [number for number, option in enumerate(options) if option in answers]
        if answers and not right:
            raise row_fault("answers", sorted(answers), "at least one that is an entity of the passage")
        pairs = [_filled(query, option) for option in options]
        index = str(number_field(asked, "idx"))
        rows += _choices(index, _with_sentence_breaks(text), options, pairs, right if answers else None)
    return rows


def _entity(text: str, entity: object) -> str:
    """The hub gives entities as texts, the files by their first and last character."""
    if isinstance(entity, Mapping) and "text" in entity:
        found = text_field(entity, "text")
    else:
        start, end = number_field(entity, "start"), number_field(entity, "end")
        found = text[start : end + 1] if 0 <= start <= end < len(text) else ""
    if not found.strip():
        raise row_fault("entities", entity, f"first and last of the passage's {len(text)} characters")
    return found


def _filled(query: str, entity: str) -> str:
    """The statement with the entity, marked, where it was hidden."""
    filled, places = "", []
    first, *others = query.split(PLACEHOLDER)
    filled = first
    for rest in others:
        places.append((len(filled), len(filled) + len(entity)))
        filled += entity + rest
    return mark(filled, places)


def _with_sentence_breaks(text: str) -> str:
    """The summary's points, each under a line ``@highlight``, as sentences."""
    text = re.sub(r"(?<=[.?!\"'])\s*\n@highlight\n", " ", without_brackets(text))
    return re.sub(r"\s*\n@highlight\n", ". ", text)


def _race(record: Record) -> list[ExampleRow]:
    """An article, and questions or statements with a blank, each with its options; answers are letters."""
    fields = record.fields
    article, questions, options = (
        text_field(fields, "article"),
        list_field(fields, "questions"),
        list_field(fields, "options"),
    )
    answers = list_field(fields, "answers") if fields.get("answers") is not None else [None] * len(questions)
    if not len(questions) == len(options) == len(answers):
        raise row_fault(
            "options", len(options), f"as many as questions ({len(questions)}) and answers ({len(answers)})"
        )
    # The hub tells an article's questions one by one.
    rows, first = [], fields.get("first_question", 0)
    for number, (question, choices, answer) in enumerate(zip(questions, options, answers, strict=True)):
        is_list = isinstance(choices, list) and len(choices) > 0
        if not is_list or not all(map(is_whole, [question, *choices])):
            raise row_fault("options", choices, "a list of texts for each question")
        letters = LETTERS[: len(choices)]
        if answer is not None and (not isinstance(answer, str) or len(answer) != 1 or answer not in letters):
            raise row_fault("answers", answer, f"one of {', '.join(letters)}")
        right = None if answer is None else [letters.index(answer)]
        index = f"{fields.get('id', record.number)}/{first + number}"
        rows += _choices(index, article, choices, [_answered(question, option) for option in choices], right)
    return rows


def _answered(question: str, option: str) -> str:
    """The option in the question's blank, or after the question."""
    if "_" in question:
        return re.sub("_+", lambda _: option, question)
    return f"{question} {option}"


LAYOUTS: dict[str, Layout] = {
    "texts": _texts,
    "tagged": _tagged,
    "gender_pairs": _gender_pairs,
    "options": _options,
    "copa": _copa,
    "wic": _wic,
    "wsc": _wsc,
    "multirc": _multirc,
    "record": _record,
    "race": _race,
}
