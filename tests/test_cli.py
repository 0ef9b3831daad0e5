"""Which errors are shown as text alone."""

from __future__ import annotations

import pytest
from kedro.io import DatasetError

from bort_kedro.cli import user_fault
from bort_kedro.errors import CorpusError


def test_an_error_of_ours_is_found_inside_what_kedro_wraps_around_it():
    wrapped = DatasetError("Failed while loading data from dataset ...")
    wrapped.__cause__ = CorpusError("a.txt is not UTF-8")
    assert user_fault(wrapped) == "a.txt is not UTF-8"


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), ValueError("bad value")])
def test_a_fault_of_the_program_keeps_its_traceback(error):
    assert user_fault(error) is None


def test_an_unknown_pipeline_is_a_user_fault():
    text = "Failed to find the pipeline named 'serach'. Did you mean one of these instead?\n    search"
    assert user_fault(ValueError(text)) == text
