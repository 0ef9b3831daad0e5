"""Variables of the environment for the time of a block."""

import os

from bort_kedro.environment import environment_variables


def test_variables_are_as_before_after_the_block(monkeypatch):
    monkeypatch.setenv("MINE", "1")
    monkeypatch.delenv("YOURS", raising=False)
    with environment_variables({"MINE": "2", "YOURS": "3"}):
        assert (os.environ["MINE"], os.environ["YOURS"]) == ("2", "3")
    assert os.environ["MINE"] == "1"
    assert "YOURS" not in os.environ
