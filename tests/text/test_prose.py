import pytest

from bort_kedro.text.prose import clean_markup, is_prose, prose_paragraphs, sentences, unseen, word_places

NUMPY_DOCSTRING = """Compute the *mean* of an array along
    the given axis, as `numpy.average` does.

    .. versionadded:: 1.7.0

    The average is taken over the **flattened** array by default [1]_,
    otherwise over the specified axis; see :func:`~numpy.median <x.median>` as well.

    Parameters
    ----------
    a : array_like
        Array containing numbers whose ``mean`` is desired.
    axis : None or int, optional
        Too short.

    Returns
    -------
    m : ndarray
        A new array that contains the mean values is returned.

    Examples
    --------
    >>> np.mean([1, 2])
    1.5

    It is the last paragraph of this documentation string.
"""


def test_prose_of_a_numpy_docstring_is_these_paragraphs():
    assert list(prose_paragraphs(NUMPY_DOCSTRING)) == [
        "Compute the mean of an array along the given axis, as numpy.average does.",
        "The average is taken over the flattened array by default, otherwise over the specified axis; "
        "see numpy.median as well.",
        "Array containing numbers whose mean is desired.",
        "A new array that contains the mean values is returned.",
        "It is the last paragraph of this documentation string.",
    ]


def test_a_heading_does_not_run_into_the_paragraph_under_it():
    text = "A heading of as many words as this.\n-----------\nThe text under it has seven words."
    assert list(prose_paragraphs(text)) == ["The text under it has seven words."]


@pytest.mark.parametrize(
    "line",
    [
        ">>> the_mean = compute(the_array, along=the_axis).",
        ":param array: the array whose mean is computed along it.",
        "| a table | of words | that could | be taken for prose | once more.",
        "import numpy as np and the rest of all of them.",
        "@decorator over a line that has many words in it.",
    ],
)
def test_a_line_of_code_or_markup_is_left_out(line):
    assert list(prose_paragraphs(line)) == []


def test_a_docstring_without_sentences_has_no_prose():
    assert list(prose_paragraphs("")) == []
    assert list(prose_paragraphs("Axis of the array along which to sum")) == []


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        (":class:`numpy.ndarray`", "numpy.ndarray"),
        (":py:func:`~scipy.stats.norm`", "scipy.stats.norm"),
        (":ref:`User Guide <linear_model>`", "User Guide"),
        ("``axis=0`` and `b`", "axis=0 and b"),
        ("an *important* and **grave** word", "an important and grave word"),
        ("as shown in [2]_ and [CIT2002]_.", "as shown in and."),
    ],
)
def test_markup_becomes_what_a_reader_sees(markup, text):
    assert clean_markup(markup) == text


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("One two three four five six.", True),
        ("One two three four five.", False),
        ("One two three four five six", False),
        ("Is this a sentence with a question?", True),
        ("x[0] + y[1] == z[2] gives the sum and the rest 1 2 3 4.", False),
    ],
)
def test_prose_is_enough_words_mostly_letters_ended_as_a_sentence(paragraph, expected):
    assert is_prose(paragraph) is expected


def test_unseen_keeps_the_first_of_paragraphs_that_differ_in_signs_only():
    seen = set()
    assert unseen(["The mean, of all.", "the mean of ALL", "Another one."], seen) == [
        "The mean, of all.",
        "Another one.",
    ]
    assert unseen(["Another one!", "A third."], seen) == ["A third."]


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("It stops. Then it goes on! Does it? Yes.", ["It stops.", "Then it goes on!", "Does it?", "Yes."]),
        ("Use e.g. NumPy for it. It is fast.", ["Use e.g. NumPy for it.", "It is fast."]),
        ("That is (i.e. Gaussian) noise.", ["That is (i.e. Gaussian) noise."]),
        ("Smith et al. The Art of it.", ["Smith et al. The Art of it."]),
        ("See Fig. A and Eq. B, cf. Knuth vs. Dijkstra.", ["See Fig. A and Eq. B, cf. Knuth vs. Dijkstra."]),
        ("It is the total. The rest is zero.", ["It is the total.", "The rest is zero."]),
        ("Version 2.5 is out. numpy follows.", ["Version 2.5 is out. numpy follows."]),
        ("It ends in 2 (or not). Then more.", ["It ends in 2 (or not).", "Then more."]),
        ("No end", ["No end"]),
        ("", []),
    ],
)
def test_a_paragraph_is_split_at_ends_of_sentences_and_not_at_abbreviations(paragraph, expected):
    assert sentences(paragraph) == expected


def test_words_stand_between_blanks_of_any_kind():
    assert word_places(" ab\tc\u00a0d\n") == [(1, 3), (4, 5), (6, 7)]
    assert word_places(" \n") == []
