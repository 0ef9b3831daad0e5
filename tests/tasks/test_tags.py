"""Tags and spans against cases worked out by hand and a search over all spans."""

from itertools import product

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bort_kedro.tasks.metrics import OF_TAG_COUNTS, score_rows
from bort_kedro.tasks.table import Form, own_task
from bort_kedro.tasks.tags import Span, as_iob2, everywhere, is_tag, labels_found, single_labels, spans_of, tags_of

TASK = own_task("mine", files={"train": "a.conll", "dev": "b.conll"}, form="token_classification")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("B-A I-A O B-A B-A I-B", "B-A I-A O B-A B-A B-B"),
        # IOB1: B only between two spans of one type.
        ("I-A I-A O I-B I-A B-A I-A", "B-A I-A O B-B B-A B-A I-A"),
        # BIOES and BILOU.
        ("B-A I-A E-A S-A O S-B", "B-A I-A I-A B-A O B-B"),
        ("B-A L-A U-A U-A O", "B-A I-A B-A B-A O"),
        ("E-A I-A", "B-A B-A"),
        ("B-first-name I-first-name", "B-first-name I-first-name"),
    ],
)
def test_other_schemes_become_iob2(given, expected):
    assert " ".join(as_iob2(given.split())) == expected


TAGS = st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), max_size=8)


@given(tags=TAGS)
def test_iob2_stays_as_it_is(tags):
    once = as_iob2(tags)
    assert as_iob2(once) == once


def brute_spans(tags):
    """Every run of words that begins a span and goes on with it as far as it can, by definition of conlleval."""
    found = []
    for start, stop in product(range(len(tags)), range(1, len(tags) + 1)):
        kinds = {tag[2:] for tag in tags[start:stop]}
        if start >= stop or len(kinds) > 1 or "O" in tags[start:stop]:
            continue
        kind = kinds.pop()
        begins = tags[start][0] == "B" or start == 0 or tags[start - 1][2:] != kind
        goes_on = all(tag[0] == "I" for tag in tags[start + 1 : stop])
        ends = stop == len(tags) or tags[stop] != f"I-{kind}"
        if begins and goes_on and ends:
            found.append(Span(kind, start, stop))
    return sorted(found, key=lambda span: span.start)


@given(tags=TAGS)
def test_spans_are_those_of_a_search_over_all_runs_of_words(tags):
    assert spans_of(tags) == brute_spans(tags)


def table_of(*labels):
    numbers = list(map(str, range(len(labels))))
    return pd.DataFrame({"part": "", "group": numbers, "option": None, "label": labels})


def scores(labels, answers):
    return {metric: score_rows(TASK, metric, table_of(*labels), answers) for metric in OF_TAG_COUNTS}


def test_scores_of_spans_are_those_worked_out_by_hand():
    labels = ["B-PER I-PER O B-LOC", "O B-LOC O", "O"]
    # One whole span right; one cut short; one too many; one missed. Of 8 words 6 are right.
    answers = ["B-PER O O B-LOC", "O O B-PER", "O"]
    found = scores(labels, answers)
    assert found == {
        "span_f1": pytest.approx(2 * 1 / (3 + 3)),
        "span_precision": pytest.approx(1 / 3),
        "span_recall": pytest.approx(1 / 3),
        "word_accuracy": pytest.approx(5 / 8),
    }
    assert found["span_f1"] == pytest.approx(1 / 3)


def test_the_example_of_seqeval_scores_as_there():
    """https://github.com/chakki-works/seqeval: F1 0.50, and 0.80 of the words."""
    labels = ["O O O B-MISC I-MISC I-MISC O", "B-PER I-PER O"]
    answers = ["O O B-MISC I-MISC I-MISC I-MISC O", "B-PER I-PER O"]
    assert scores(labels, answers)["span_f1"] == 0.5
    assert scores(labels, answers)["word_accuracy"] == pytest.approx(0.8)


def test_of_nothing_all_scores_but_that_of_words_are_zero():
    found = scores(["O O", "O"], ["O O", "O"])
    assert found == {"span_f1": 0.0, "span_precision": 0.0, "span_recall": 0.0, "word_accuracy": 1.0}


def test_an_answer_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"^1 tags are answered to 2 words: expected one for each$"):
        scores(["O O"], ["O"])


@given(
    rows=st.lists(TAGS.flatmap(lambda tags: st.tuples(st.just(tags), st.permutations(tags))), min_size=1, max_size=5)
)
def test_f1_is_that_of_sets_of_spans(rows):
    labelled = {(row, *span) for row, (tags, _) in enumerate(rows) for span in brute_spans(tags)}
    answered = {(row, *span) for row, (_, said) in enumerate(rows) for span in brute_spans(said)}
    expected = 2 * len(labelled & answered) / (len(labelled) + len(answered)) if labelled | answered else 0.0
    found = scores([" ".join(tags) for tags, _ in rows], [" ".join(said) for _, said in rows])
    assert found["span_f1"] == pytest.approx(expected)


def test_labels_are_told_one_by_one_and_found_whole():
    assert single_labels(Form.TOKENS, ["O B-A", "I-A"]) == ["O", "B-A", "I-A"]
    assert single_labels(Form.CLASSIFICATION, ["O B-A"]) == ["O B-A"]
    assert labels_found(Form.TOKENS, ["O B-B", "B-A O"]) == tags_of(["A", "B"]) == ("O", "B-A", "I-A", "B-B", "I-B")
    assert labels_found(Form.TOKENS, ["O O"]) == ("O",)
    assert labels_found(Form.CLASSIFICATION, ["no", "yes", "no"]) == ("no", "yes")
    assert everywhere(Form.TOKENS, ["O B-A", "I-A"], "O") == ["O O", "O"]
    assert everywhere(Form.CLASSIFICATION, ["a b", "c"], "c") == ["c", "c"]


def test_tags_are_told_from_other_labels():
    assert all(map(is_tag, ["O", "B-PER", "I-first-name", "S-x", "U-x", "L-x", "E-x"]))
    assert not any(map(is_tag, ["NN", "B-", "o", "", "B PER", "X-PER", 3, None, "B-a b"]))
