"""Whatever YAML says of a parameter, it can be used as it is read, or one error names parameter, value and file."""

from __future__ import annotations

import datetime
import re

from hypothesis import given
from hypothesis import strategies as st

from bort_kedro import settings
from bort_kedro.configuration import (
    ConfigurationLoader,
    check_parameters,
    configuration_hash,
)
from bort_kedro.params import Parameters
from project_parameters import raw_parameters
from spoiling import JSON, places_in, read_or_refused, spoiled_bytes

RAW = raw_parameters("smoke")
PLACES = list(places_in(RAW))
WHERE = "Change them where they are set: in conf/local, --params, the environment given by --env, or conf/base."
# What YAML reads beside what JSON has, and what people write where a number, a list or a shape is meant.
VALUES = JSON | st.sampled_from(
    [
        datetime.date(2026, 1, 1),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        b"\x00",
        {1: 2, None: True},
        {"a", "b"},
        [[2, 4, 96, 128]],
        [2, 4, 96, 128],
        [[2, 4, 96]],
        {"head_size": 64},
        {"times_hidden_size": [2, "4"]},
        {"source": "random"},
        "auto",
        "paper",
        [1, 1],
        [[]],
    ]
)


def value_below(block, place, value):
    """The parameters with another value somewhere; only what is on the way there is made anew."""
    if not place:
        return value
    copied = dict(block) if isinstance(block, dict) else list(block)
    copied[place[0]] = value_below(block[place[0]], place[1:], value)
    return copied


@given(place=st.sampled_from(PLACES), value=VALUES)
def test_any_value_is_used_or_refused_by_its_name(place, value):
    parameters, refusal = read_or_refused(lambda: check_parameters(value_below(RAW, place, value)), WHERE)
    if parameters is not None:
        assert re.fullmatch("[0-9a-f]{16}", configuration_hash(parameters))
        assert Parameters.model_validate(dict(parameters)) == parameters or has_nan(value)
        return
    last = next((str(part) for part in reversed(place) if isinstance(part, str)), "")
    assert last in refusal
    assert len(refusal) <= 4200


STATED = """# What a user states.
search:
  budget: 12
  caps: {max_error: 0.5, max_parameters: "300000"}
finetune: {tasks: [library, order], agora: {patience: 1e-3}}
"""


@given(data=st.data())
def test_a_spoiled_file_of_parameters_is_read_or_refused_by_its_name(tmp_path_factory, data):
    conf = tmp_path_factory.mktemp("conf")
    for folder in ("base", "local"):
        (conf / folder).mkdir()
    (conf / "base" / "parameters.yml").write_text(STATED)
    path = conf / "local" / "parameters.yml"
    path.write_bytes(data.draw(spoiled_bytes(STATED.encode())))
    loader = ConfigurationLoader(str(conf), **settings.CONFIG_LOADER_ARGS)
    stated, refusal = read_or_refused(lambda: loader["parameters"], conf)
    if not refusal:
        assert isinstance(stated, dict)


def has_nan(value):
    return "nan" in repr(value)
