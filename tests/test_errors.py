"""What users are shown is never longer than a screen."""

from bort_kedro.errors import LONGEST_SAID, LONGEST_TEXT, FailedTrainingError, TaskError, said_by, shortened


def test_a_text_is_cut_in_its_middle_and_says_how_much_is_left_out():
    assert shortened("abcdefghi", 9) == "abcdefghi"
    assert shortened("abcdefghij", 9) == "abcdef [1 characters left out] hij"


def test_an_error_shows_its_start_and_its_end():
    assert str(TaskError("x" * LONGEST_TEXT)) == "x" * LONGEST_TEXT
    for long in (TaskError(f"file: {'x' * 10**6}. Mend it."), FailedTrainingError("file", "x" * 10**6, "Mend it.")):
        text = str(long)
        assert text.startswith("file: xxx")
        assert text.endswith("xxx. Mend it.")
        assert len(text) < LONGEST_TEXT + 50


def test_of_an_error_of_a_library_its_first_line_is_told():
    assert said_by(ValueError("It is wrong.\nSee there.")) == "It is wrong"
    assert said_by(KeyError("text")) == "KeyError: 'text'"
    assert said_by(OSError()) == "OSError: "
    assert len(said_by(ValueError("x" * 10**6))) < LONGEST_SAID + 50
