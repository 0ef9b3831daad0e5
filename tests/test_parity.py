"""What docs/parity.md names is there, and conf/paper states the published values that it tells of."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from bort_kedro.finetuning.theta import build_theta
from project_parameters import parameters

PROJECT = Path(__file__).parent.parent
DOCS = PROJECT / "docs"
PAGE = (DOCS / "parity.md").read_text()
HEADER = ["said", "by", "here", "held by", "verdict"]
SOURCES = {"paper", "theory", "Agora", "note", "code", "digest", "nobody"}
FEWEST_ROWS = 30


def table_rows():
    lines = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("|")]
    return [cells for cells in lines if cells != HEADER and set("".join(cells)) != {"-"}]


ROWS = table_rows()


def named(cell):
    """File and name of each `file::name` of a cell; the name is empty where the file alone is meant."""
    return re.findall(r"`([\w/.]+?)(?:::([\w.]+))?`", cell)


@cache
def names_in(path):
    """Functions, classes, their methods, and values of a module."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def place_of(file):
    return PROJECT / file if file.startswith("conf/") else PROJECT / "src" / "bort_kedro" / file


def test_every_row_has_its_cells_and_known_sources():
    assert len(ROWS) >= FEWEST_ROWS
    assert [cells for cells in ROWS if len(cells) != len(HEADER)] == []
    assert {source for cells in ROWS for source in cells[1].split(", ")} <= SOURCES
    statements = [cells[0] for cells in ROWS]
    assert len(set(statements)) == len(statements)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_a_row_names_is_there_and_its_verdict_is_told(row):
    _, _, here, held_by, verdict = row
    for cell in (here, held_by):
        assert cell == "–" or re.fullmatch(r"`[\w/.:]+`(, `[\w/.:]+`)*", cell), cell
    for file, name in named(here):
        assert place_of(file).is_file(), file
        assert not name or name in names_in(place_of(file)), (file, name)
    for file, name in named(held_by):
        assert name.startswith("test_"), held_by
        assert name in names_in(PROJECT / "tests" / file), (file, name)
    for link in re.findall(r"\]\(([^)]+)\)", verdict):
        assert (DOCS / link).is_file(), link
    kind, _, reason = verdict.partition(": ")
    assert kind in {"same", "differs", "open"}
    assert bool(reason) == (kind != "same"), verdict
    if kind != "open":
        assert named(here)
        assert named(held_by)
    if kind == "differs":
        assert "](" in reason, "a difference has a page that says why"


def test_conf_paper_states_the_published_search():
    search = parameters("paper").search
    assert (search.maximum_point, search.strategy, search.start) == ("roberta-large", "fptas", "random")
    assert search.error_measure == "error"
    assert search.training.optimization.learning_rate == 1e-4


def test_conf_paper_states_the_published_pretraining():
    published = parameters("paper").pretrain_distill
    student, optimization = published.student, published.student.optimization
    assert (student.masked_share, student.dropout, student.initialization) == (0.15, 0.1, "published")
    assert (optimization.learning_rate, optimization.adam_epsilon, optimization.weight_decay) == (1e-4, 1e-6, 0.01)
    assert (optimization.schedule, optimization.warmup_share, optimization.bias_correction) == ("linear", 0.01, False)
    assert (optimization.max_gradient_norm, optimization.mixed_precision) == (1.0, "fp16")
    taught = published.distillation
    assert (taught.masked_lm_weight, taught.logits.weight, taught.logits.temperature) == (0.1, 0.5, 2.0)
    assert (list(taught.kinds), published.student_start.source) == (["logits"], "random")


def test_the_published_grid_has_480_sets_of_which_a_tenth_is_drawn():
    training = parameters("paper").finetune.training
    assert len(build_theta(training.changed(max_sets=None), draw_seed=0)) == 480
    assert len(build_theta(training, draw_seed=0)) == 48
    assert training.max_tokens == 512


def test_conf_paper_states_the_published_agora():
    published = parameters("paper").finetune
    assert (published.method, published.weak_teacher, published.ends_with_dev) == ("agora", "stop", False)
    assert (published.agora.teacher_labels, published.teacher.encoder) == ("hard", "teacher")
