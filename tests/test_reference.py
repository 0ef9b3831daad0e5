"""The pages of docs/reference are those that `make reference` writes, and say what a person reads in code and conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from bort_kedro.configuration import check_parameters
from bort_kedro.errors import ConfigurationError
from project_parameters import raw_parameters
from reference.pages import PAGES
from reference.parameters import NAMES, as_written, parameters, value_at

FOLDER = Path(__file__).parent.parent / "docs" / "reference"


def cells(page, name):
    """Of the row of this name, without the name."""
    row = next(line for line in (FOLDER / page).read_text("utf-8").splitlines() if line.startswith(f"| `{name}` |"))
    return [cell.strip() for cell in row.split(" | ")[1:]]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_pages_are_as_written_anew(name):
    assert (FOLDER / name).read_text("utf-8") == PAGES[name](), f"`make reference` writes docs/reference/{name} anew"


def test_there_is_no_other_page():
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


def leaves(values, name=""):
    for key, value in values.items():
        path = f"{name}.{key}".removeprefix(".")
        yield from leaves(value, path) if isinstance(value, dict) and value else [path]


def test_every_value_of_every_environment_has_a_row():
    rows = {row.name for row in parameters()}
    for environment in ("base", "bench", "encoder", "paper", "released", "smoke", "theory"):
        for name in leaves(as_written(environment)):
            # Weights by their names are a map, which has one row, as has a block where the base says null.
            parents = {name.rsplit(".", number)[0] for number in range(name.count("."))}
            is_null = any(value_at(as_written("base"), parent) is None for parent in parents & rows)
            assert name in rows or is_null or "finetune.agora.transformation.weights" in parents, (environment, name)


def test_every_parameter_has_a_meaning_and_one_row():
    rows = list(parameters())
    assert [row.name for row in rows if not row.description] == []
    assert len({row.name for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "search.epsilon",
            ["number or null", "`null`", "> 0 and ≤ 1"],
        ),
        ("search.seed", ["integer", "`0`", "≥ 0 and < 4294967296"]),
        ("search.space.hidden_size", ["list of integers", "`[96, 128, 160]`", "at least 1 of them; ≥ 1"]),
        (
            "search.training.optimization.warmup_share",
            ["number", "as `masked_lm.optimization.warmup_share`", "≥ 0 and < 1"],
        ),
        ("masked_lm.optimization.mixed_precision", ["text", "`'no'`", "`'no'`, `bf16`, `fp16`, `auto`"]),
        ("finetune.own_tasks.<name>.files", ["map", "must be stated", "`train`, `dev`, `test`"]),
        ("pretrain_distill.twin", ["true or false", "`true`", ""]),
    ],
)
def test_type_default_and_bounds_are_those_of_the_model(name, expected):
    assert cells("parameters.md", name)[:3] == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("corpus.max_positions", "bench: `16`; paper: `512`; smoke: `64`"),
        ("search.maximum_point", "paper: `roberta-large`"),
        ("search.space", "encoder: `null`"),
        ("search.epsilon", "theory: `0.004`"),
        ("finetune.student", "released: `data/01_raw/bort`"),
        ("corpus.seed", ""),
    ],
)
def test_what_other_environments_say_stands_beside_it(name, expected):
    assert cells("parameters.md", name)[4].removesuffix(" |").strip("|").strip() == expected


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("search.strategy", {"search": {"strategy": "?"}}),
        ("search.answer", {"search": {"answer": "?"}}),
        ("search.cost", {"search": {"cost": "?"}}),
        ("search.error_measure", {"search": {"error_measure": "?"}}),
        ("search.latency.runtime", {"search": {"latency": {"runtime": "?"}}}),
        ("evaluate.export.formats", {"evaluate": {"export": {"formats": ["?"]}}}),
        ("evaluate.speed.compare_with", {"evaluate": {"speed": {"compare_with": ["?"]}}}),
        ("finetune.agora.transformation.weights", {"finetune": {"agora": {"transformation": {"weights": {"?": 1}}}}}),
        ("finetune.tasks", {"finetune": {"tasks": ["nope"]}}),
    ],
)
def test_names_said_to_be_allowed_are_those_that_a_refusal_names(name, change):
    with pytest.raises(ConfigurationError) as refused:
        check_parameters(raw_parameters(**change))
    assert ", ".join(NAMES[name]) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("raw_corpus", ["", "no", "you", "corpus"]),
        ("tokens", ["`data/05_model_input/tokens`", "yes", "corpus", "search, pretrain_distill"]),
        (
            "pretrain_distill.pretraining_metrics",
            ["`data/08_reporting/pretraining_metrics.json`", "yes", "pretrain_distill", "evaluate"],
        ),
        (
            "training_states",
            ["`data/06_models/training_states`", "no", "whoever reads it", "search, pretrain_distill, finetune"],
        ),
        ("run_manifest", ["`data/08_reporting/run_manifest.json`", "yes", "every run", ""]),
        ("{task}.finetuned_model", ["`data/06_models/finetuned/{task}`", "yes", "finetune", "evaluate"]),
    ],
)
def test_the_catalog_says_where_a_dataset_is_and_who_uses_it(name, expected):
    assert cells("catalog.md", name)[1:5] == expected


def test_a_pattern_says_what_it_stands_for():
    stands_for = cells("catalog.md", "search.{name}_history")[5].removesuffix(" |")
    assert stands_for == "`candidate_history`, `maximum_point_history`"


def test_commands_have_their_own_options():
    page = (FOLDER / "command-line.md").read_text("utf-8")
    assert "| `--shape TEXT` | The student's, such as 4,8,1024,768, before the search has chosen it. |" in page
    assert [line for line in page.splitlines() if line.startswith("## ")][:1] == ["## kedro compare"]
