from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from bort_kedro.errors import TaskError
from bort_kedro.tasks.builtin import (
    BUILTIN_TASKS,
    Document,
    build_examples,
    shuffle_window,
    split_documents,
)
from bort_kedro.tasks.settings import BuiltinTasksSettings
from bort_kedro.text.prose import sentences

SETTINGS = BuiltinTasksSettings(
    seed=0,
    dev_share=0.2,
    test_share=0.2,
    min_words=4,
    max_words=12,
    shuffled_words=3,
    max_examples={"train": 60, "dev": 20, "test": 20},
)
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


def _corpus(num_documents: int = 60, sources: tuple[str, ...] = ("numpy", "scipy")) -> list[Document]:
    """Two paragraphs of two sentences a document; the document's number stands in every sentence."""
    documents = []
    for number in range(num_documents):
        generator = np.random.default_rng(number)
        written = [
            f"Sentence d{number}s{place} {' '.join(generator.choice(WORDS, 5, replace=False))}." for place in range(4)
        ]
        lines = [" ".join(written[:2]), " ".join(written[2:])]
        arguments = frozenset({"alpha", "beta", "a", "Sentence"})
        documents.append(Document(f"doc{number}", sources[number % len(sources)], "\n".join(lines), arguments))
    return documents


def _document_of(text: str) -> int:
    return int(re.search(r"d(\d+)s\d+", text).group(1))


def _sentence_of(text: str) -> tuple[int, int]:
    document, place = re.search(r"d(\d+)s(\d+)", text).groups()
    return int(document), int(place)


@pytest.mark.parametrize("task", BUILTIN_TASKS)
def test_no_document_and_no_sentence_is_in_two_splits(task):
    splits_of_document: dict[int, set[str]] = {}
    for example in build_examples(task, _corpus(), SETTINGS):
        for text in filter(None, (example.text, example.text_pair)):
            splits_of_document.setdefault(_document_of(text), set()).add(example.split)
    assert set(map(len, splits_of_document.values())) == {1}
    assert set.union(*splits_of_document.values()) == {"train", "dev", "test"}


@pytest.mark.parametrize("task", BUILTIN_TASKS)
def test_examples_depend_on_seed_and_not_on_order_of_documents(task):
    first = build_examples(task, _corpus(), SETTINGS)
    assert build_examples(task, _corpus()[::-1], SETTINGS) == first
    assert build_examples(task, _corpus(), SETTINGS.changed(seed=1)) != first


@pytest.mark.parametrize("task", BUILTIN_TASKS)
def test_max_examples_bounds_each_split(task):
    few = SETTINGS.changed(max_examples={"train": 20, "dev": 12, "test": 10})
    sizes = Counter(example.split for example in build_examples(task, _corpus(), few))
    assert sizes == {"train": 20, "dev": 12, "test": 10}


@pytest.mark.parametrize("task", ["order", "adjacent"])
def test_binary_labels_are_equally_frequent_in_every_split(task):
    counts = Counter((example.split, example.label) for example in build_examples(task, _corpus(), SETTINGS))
    labels = BUILTIN_TASKS[task].labels
    assert all(counts[split, labels[0]] == counts[split, labels[1]] > 0 for split in ("train", "dev", "test"))
    assert len(counts) == 6


def test_library_label_is_the_source_of_the_document():
    documents = _corpus()
    for example in build_examples("library", documents, SETTINGS):
        document = documents[_document_of(example.text)]
        assert (example.label, example.text_pair) == (document.source, None)
        assert example.text in document.text


def test_order_keeps_words_and_changes_a_window_of_their_order():
    documents = _corpus()
    for example in build_examples("order", documents, SETTINGS):
        document, place = _sentence_of(example.text)
        lines = documents[document].text.split("\n")
        original = [sentence for line in lines for sentence in sentences(line)][place]
        assert sorted(example.text[:-1].split()) == sorted(original[:-1].split())
        assert example.text[-1] == "."
        moved = [
            index
            for index, (here, there) in enumerate(zip(example.text.split(), original.split(), strict=True))
            if here.rstrip(".") != there.rstrip(".")
        ]
        if example.label == "intact":
            assert moved == []
        else:
            assert moved
            assert moved[0] >= 1
            assert moved[-1] - moved[0] < 3


def test_each_sentence_is_in_one_variant_of_order_only():
    places = [_sentence_of(example.text) for example in build_examples("order", _corpus(), SETTINGS)]
    assert len(places) == len(set(places))


def test_shuffled_window_is_never_the_original():
    generator = np.random.default_rng(0)
    found = {shuffle_window("One two two three.", num_words=2, generator=generator) for _ in range(50)}
    assert found - {None} == {"One two three two."}


@pytest.mark.parametrize("text", ["Too short.", "The the the the.", "No no NO no!", ""])
def test_sentence_that_cannot_change_gives_none(text):
    assert shuffle_window(text, num_words=3, generator=np.random.default_rng(0)) is None


def test_closing_marks_stay_at_the_end():
    generator = np.random.default_rng(0)
    shuffled = [shuffle_window('(One two three four")!', num_words=3, generator=generator) for _ in range(20)]
    assert all(text.startswith("(One ") and text.endswith('")!') for text in shuffled)
    assert len(set(shuffled)) == 5  # six orders of three words, less the original


def test_adjacent_pairs_are_consecutive_and_others_come_from_another_document_of_the_source():
    documents = _corpus()
    for example in build_examples("adjacent", documents, SETTINGS):
        (first, place), (second, other) = _sentence_of(example.text), _sentence_of(example.text_pair)
        if example.label == "adjacent":
            assert (second, other) == (first, place + 1)
        else:
            assert first != second
            assert documents[first].source == documents[second].source


def test_the_first_sentence_alone_tells_nothing_of_adjacent():
    examples = build_examples("adjacent", _corpus(), SETTINGS)
    by_label = {
        label: Counter(example.text for example in examples if example.label == label)
        for label in ("adjacent", "not_adjacent")
    }
    assert by_label["adjacent"] == by_label["not_adjacent"]


def test_repeated_sentence_is_used_once_and_breaks_adjacency():
    documents = [
        Document(document.document_id, document.source, document.text + "\nThis sentence stands everywhere here.")
        for document in _corpus()
    ]
    settings = SETTINGS.changed(max_examples={"train": 1000, "dev": 1000, "test": 1000})
    library = build_examples("library", documents, settings)
    assert sum("everywhere" in example.text for example in library) == 1
    adjacent = build_examples("adjacent", documents, settings)
    assert sum("everywhere" in example.text_pair for example in adjacent) <= 2


def test_lengths_bound_sentences_used():
    documents = [
        Document("a", "x", "Short one. " + " ".join(["Word", *["long"] * 20]) + "."),
        *_corpus(),
    ]
    for example in build_examples("library", documents, SETTINGS):
        assert 4 <= len(example.text.split()) <= 12


def test_documents_are_dealt_in_the_same_shares_of_every_source():
    dealt = split_documents(_corpus(100), SETTINGS)
    counts = {split: Counter(document.source for document in dealt[split]) for split in dealt}
    assert counts == {
        "train": {"numpy": 30, "scipy": 30},
        "dev": {"numpy": 10, "scipy": 10},
        "test": {"numpy": 10, "scipy": 10},
    }


def test_rows_of_one_document_stay_in_one_split():
    rows = [row for document in _corpus() for row in (document, replace(document, text="More of the same."))]
    for documents in split_documents(rows, SETTINGS).values():
        assert all(first == second for first, second in pairwise(d.document_id for d in documents[:2]))
        assert set(Counter(document.document_id for document in documents).values()) == {2}


def test_words_that_are_spelled_as_an_argument_are_tagged_and_other_sentences_left_out():
    text = (
        "The x_train of a call is drawn, and axis=1 is where it is. Nothing of the kind is named in here at all. "
        "An axis can be that of x_train's rows: see axis."
    )
    documents = [
        Document(
            f"d{number}", "numpy", text.replace("call", f"call{number}"), frozenset({"x_train", "axis", "a", "where"})
        )
        for number in range(8)
    ]
    # A sentence that stands in two documents counts once.
    settings = SETTINGS.changed(min_words=4, max_words=20, dev_share=0.25, test_share=0.25)
    with pytest.raises(TaskError, match="dev lacks B-argument, O"):
        build_examples("arguments", documents[:1], settings)
    found = {example.text: example.label for example in build_examples("arguments", documents, settings)}
    first = next(text for text in found if "call0" in text)
    assert first == "The x_train of a call0 is drawn , and axis = 1 is where it is ."
    assert found[first].split() == [
        *("O", "B-argument", "O", "O", "O", "O", "O", "O", "O", "B-argument", "O", "O", "O", "O", "O", "O", "O")
    ]
    (last,) = [text for text in found if text.startswith("An axis")]
    assert last == "An axis can be that of x_train's rows : see axis ."
    assert found[last] == "O B-argument O O O O O O O O B-argument O"
    assert len(found) == 9


def test_documents_that_say_no_arguments_are_refused_with_those_that_do():
    documents = [replace(document, arguments=frozenset()) for document in _corpus()]
    with pytest.raises(TaskError) as caught:
        build_examples("arguments", documents, SETTINGS)
    assert str(caught.value).endswith(
        "No document says which arguments it documents: only a `raw_corpus` of installed packages does "
        "(InstalledDocumentationDataset in the catalog). Take the task out of `tasks` in params:finetune."
    )


def test_unknown_task_lists_choices():
    with pytest.raises(
        TaskError, match=r"no built-in task `libary`.*library, order, adjacent, arguments.*`libary.examples`"
    ):
        build_examples("libary", _corpus(), SETTINGS)


@pytest.mark.parametrize("task", BUILTIN_TASKS)
def test_too_few_documents_are_refused_with_sizes(task):
    with pytest.raises(TaskError, match=rf"`{task}`: too few documents.*dev 0.*params:finetune.builtin_tasks"):
        build_examples(task, _corpus(2), SETTINGS)


@pytest.mark.parametrize(
    "text",
    [
        "我们计算数组的平均值。然后我们计算总和。",
        "配列の平均を計算します。次に合計を計算します。",
        "เราคำนวณค่าเฉลี่ยของอาร์เรย์",
    ],
)
def test_text_without_blanks_between_words_needs_other_tasks_and_no_more_text(text):
    documents = [Document(str(number), f"source {number % 2}", f"{text}{number}") for number in range(40)]
    with pytest.raises(TaskError) as caught:
        build_examples("order", documents, SETTINGS)
    assert str(caught.value).endswith(
        "Every split needs each label. Of 40 sentences 0 have 4 to 12 words, and more text of this kind is no help: "
        "words are what blanks part, and a sentence ends before a Latin capital letter. For Chinese, Japanese, Thai "
        "and others choose other `tasks` in params:finetune, such as one of `own_tasks`; or change min_words and "
        "max_words under builtin_tasks there."
    )


def test_library_of_one_source_is_refused():
    with pytest.raises(TaskError, match=r"two labels are needed, found \['numpy'\]") as caught:
        build_examples("library", _corpus(sources=("numpy",)), SETTINGS)
    assert str(caught.value).endswith(
        "Every split needs each label. Give the catalog entry `raw_corpus` text of two sources, such as packages or "
        "files, or take the task out of `tasks` in params:finetune."
    )


def test_adjacent_without_a_second_document_of_the_source_is_refused():
    alone = [replace(document, source=document.document_id) for document in _corpus()]
    with pytest.raises(TaskError, match="train lacks adjacent, not_adjacent"):
        build_examples("adjacent", alone, SETTINGS)
