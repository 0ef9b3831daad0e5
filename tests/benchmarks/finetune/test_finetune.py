"""What the fine-tuning benchmark says of its outcomes, and the whole of it on tiny encoders."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.configured import raw_parameters
from benchmarks.finetune import __main__ as benchmark
from benchmarks.finetune import builtin, real, real_page, students
from benchmarks.finetune.builtin import Answered, Outcome
from benchmarks.finetune.equal_time import within
from benchmarks.finetune.leads import lead_over
from benchmarks.finetune.page import METHODS, WITH_DEV, builtin_part
from benchmarks.finetune.real_page import real_part
from benchmarks.finetune.variants import VARIANTS, AlikePoints, with_representative_dev
from benchmarks.real.setting import quick
from bort_kedro.agora.rivals import ScheduledRound
from bort_kedro.agora.teacher_bar import TeacherCheck, TeacherReport
from bort_kedro.configuration import check_parameters
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.finetuning.rounds import Round
from bort_kedro.pipelines.corpus.nodes import split_documents
from bort_kedro.tasks.units import Unit
from tiny_benchmarks import tiny_text, written
from tiny_real_tasks import tiny_cola, tiny_copa, tiny_encoder
from toy_tasks import examples_of

CHECK = TeacherCheck(score=0.9, error=0.01, bar=2 / 3, chance=0.5, majority=0.5, lead_error=0.02, is_over=True)
TEACHER = TeacherReport(
    check=CHECK,
    method="teacher",
    task="order",
    form="classification",
    metrics=("accuracy",),
    labels=("intact", "shuffled"),
    num_examples={},
    num_units={},
    truncated_share=0.0,
)


def outcome(seed, *, agora, other, is_over=True):
    """Four test examples of the task `order`; all rivals answer alike."""
    both = [*METHODS, *WITH_DEV]
    right = {method: np.array(agora if method.startswith("agora") else other, dtype=bool) for method in both}
    before = {method: 10.0 if method.startswith("agora") else 0.0 for method in both}
    steps = {method: Answered(right[method], 40, 20.0, before[method]) for method in both}
    time = {method: Answered(right[method], 60, 30.0, 0.0) for method in WITH_DEV}
    return Outcome(
        "order",
        seed,
        TEACHER.model_copy(update={"check": replace(CHECK, is_over=is_over)}),
        0.75,
        steps,
        time,
        dict.fromkeys(VARIANTS, steps["agora"]),
        {"constant": 0.5, "tfidf": 0.625},
        [{"points": None}, {"points": {"num_made": 8, "num_copies": 2}}],
    )


@pytest.fixture
def found():
    return [
        outcome(0, agora=[1, 1, 1, 0], other=[1, 0, 0, 0]),
        outcome(1, agora=[1, 1, 1, 1], other=[1, 0, 1, 1], is_over=False),
    ]


def test_a_lead_is_paired_by_seed(found):
    lead = lead_over("plain", [{name: each.right for name, each in one.at_equal_steps.items()} for one in found])
    assert lead.by_seed == (0.5, 0.25)
    assert (lead.value, lead.error) == (0.375, pytest.approx(0.125))
    assert lead.is_above_noise
    assert lead.smallest_seen == pytest.approx(2.84 * 0.125)


def test_a_lead_on_the_same_examples_is_paired_by_example_too(found):
    answers = [{name: each.right for name, each in one.at_equal_steps.items()} for one in found]
    lead = lead_over("plain", answers, same_examples=True)
    # By example 0, 1, 0.5 and 0.
    assert lead.examples_error == pytest.approx(np.std([0, 1, 0.5, 0], ddof=1) / 2)
    assert lead.error == pytest.approx(np.hypot(0.125, lead.examples_error))
    assert not lead.is_above_noise


def test_the_page_tells_scores_leads_and_costs(found):
    part = builtin_part(found, 2)
    assert "| `order` | 90.0 %, 1 of 2 | 75.0 % | 50.0 % | 62.5 % |" in part.text
    assert "| `order` + dev | 87.5 ± 12.5 % | 50.0 ± 25.0 % |" in part.text
    assert "| `order` + dev | +37.5 ± 12.5 |" in part.text
    assert "on `order` one of 35.5 points." in part.text
    assert "| `order` | Agora | 40 | 20 | 10 | 60 | 30 |" in part.text
    assert "In as many seconds Agora is ahead of every rival by more than two standard errors on `order`, of plain" in (
        part.text
    )
    assert "Of 16 points that Agora made of mistakes on dev, 4 (25.0 %) were thrown away" in part.text
    figures = {each.name: each for each in part.figures}
    assert figures["order: accuracy of agora, equal steps"].value == 0.875
    assert figures["order: Agora's lead over plain, dev learned, equal time"].value == 0.375
    assert figures["order: Agora's lead over plain, dev learned, equal time, seed 1"].value == 0.25
    won = figures["built-in tasks where Agora leads every rival by two standard errors in as many seconds"]
    assert (won.value, won.target, won.met) == (1, None, None)


def trial(seconds):
    return SimpleNamespace(seconds=seconds)


def plan(number, *settings):
    return Round(number, settings, is_replay=False, draws=(), mistakes_of=None)


SCHEDULE = [
    ScheduledRound(plan(0, 0, 1), (10, 20), (1, 2), None),
    ScheduledRound(plan(1, 1), (40,), (4,), 6),
]
# Two trials of 4 seconds, then one of 8.
DONE = SimpleNamespace(rounds=[SimpleNamespace(trials=[trial(4), trial(4)]), SimpleNamespace(trials=[trial(8)])])


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        # The first trial is done in any case.
        (1, [(0, (0,), (10,))]),
        (7, [(0, (0,), (10,))]),
        (15, [(0, (0, 1), (10, 20))]),
        (19, [(0, (0, 1), (10, 20)), (1, (1,), (40,))]),
        # What is left is spent on trials of the first round, of 4 seconds each.
        (24, [(0, (0, 1), (10, 20)), (1, (1,), (40,)), (2, (0,), (10,)), (3, (1,), (20,))]),
    ],
)
def test_a_method_has_the_trials_that_it_can_afford(seconds, kept):
    found = within(SCHEDULE, DONE, seconds=seconds)
    assert [(each.plan.number, each.plan.settings, each.num_steps) for each in found] == kept
    assert all(len(each.look_every) == len(each.num_steps) for each in found)


def test_points_too_distinct_from_their_source_are_none():
    texts = {
        "a b c d e f": ["a b c d e x", "a b x d e f", "p q r s t u"],
    }
    sources = [Unit(((text, None),)) for text in texts]
    made = lambda units, *, copies, seed: [Unit(((text, None),)) for text in texts[units[0].rows[0][0]]]  # noqa: E731
    points = AlikePoints(made, ngram_words=3)
    assert points.overlap(sources[0], made(sources, copies=3, seed=0)[0]) == 3 / 5
    # Of the second's four runs of three words one is shared: 1 / 7.
    kept = [unit.rows[0][0] for unit in points(sources, copies=3, seed=0)]
    assert kept == ["a b c d e x", "a b c d e f", "a b c d e f"]


def test_a_representative_dev_is_as_large_and_leaves_test_alone():
    examples = examples_of(num_train=60, num_dev=20, num_test=12)
    dealt = with_representative_dev(examples, seed=0)
    assert dealt["split"].value_counts().to_dict() == {"train": 60, "dev": 20, "test": 12}
    assert dealt[dealt["split"] == "test"].equals(examples[examples["split"] == "test"])
    assert (dealt["split"] != examples["split"]).any()
    assert dealt.drop(columns="split").equals(examples.drop(columns="split"))


@pytest.mark.parametrize(
    ("changes", "teacher"),
    [
        ({}, "student_encoder"),
        ({"finetune": {"teacher": {"encoder": "teacher"}}}, "maximum_point_encoder"),
    ],
)
def test_the_encoders_are_those_that_a_run_makes_for_its_tasks(monkeypatch, changes, teacher):
    monkeypatch.setattr(students, "raw_parameters", lambda: raw_parameters(**changes))
    monkeypatch.setattr(students, "latest", lambda pattern: pattern)
    monkeypatch.setattr(students, "PretrainedDataset", lambda path: SimpleNamespace(load=lambda: path))
    assert students.encoders() == tuple(f"06_models/{name}/*/{name}" for name in (teacher, "student_encoder"))


@pytest.mark.session
def test_builtin_tasks_are_made_fine_tuned_and_written(monkeypatch, tmp_path, tiny_tokenizer):
    def student(seed, states):
        config = bert_config(BertShape(1, 2, 16, 32), vocabulary_size=len(tiny_tokenizer), max_positions=32)
        return Pretrained(build_masked_lm(config, seed=seed), tiny_tokenizer)

    def smoke_finetuning(**changes):
        return check_parameters(raw_parameters("smoke", finetune=changes)).finetune

    documents, _ = split_documents(tiny_text(), check_parameters(raw_parameters("smoke")).corpus)
    documents.to_parquet(tmp_path / "documents.parquet")
    # Another process would see nothing of what is put in place here.
    monkeypatch.setattr(builtin, "fresh_processes", lambda count, environment: ThreadPoolExecutor(1))
    monkeypatch.setattr(builtin, "pretrained_student", student)
    monkeypatch.setattr(builtin, "latest", lambda pattern: tmp_path / "documents.parquet")
    monkeypatch.setattr(builtin, "base_finetuning", smoke_finetuning)
    words = ["--builtin", "order", "--num-seeds", "2", "--name", "finetune-short"]
    benchmark.main([*words, "--folder", str(tmp_path / "docs"), "--states", str(tmp_path / "states")])
    page, figures = written(tmp_path / "docs", "finetune-short")
    assert "Written by `make bench-finetune-short` on " in page
    assert "Accuracy on the unseen test split, means over 2 seeds." in page
    assert "built-in tasks where Agora leads every rival by two standard errors in as many seconds" in figures
    assert 0 <= figures["order: accuracy of plain_with_dev, equal time"]["value"] <= 1


@pytest.mark.session
def test_a_real_encoder_teaches_real_tasks_and_the_page_says_who_stands_at_the_floor(monkeypatch, tmp_path):
    monkeypatch.setattr(real, "SHAPE", BertShape(1, 4, 48, 64))
    monkeypatch.setattr(real_page, "SHAPE", real.SHAPE)
    encoder = tiny_encoder(tmp_path / "encoder")
    tasks = tiny_copa(tiny_cola(tmp_path / "tasks"))
    found = [
        real.outcome_of(name, encoder, tasks, tmp_path / "states", replace(quick(1), learning_rates=(1e-3, 2e-3)))
        for name in ("cola", "copa")
    ]
    assert [each.name for each in found] == ["cola", "copa"]
    for each in found:
        # Drawn weights are under every bar, so the student is fine-tuned plainly.
        assert not each.check["is_over"]
        assert (each.report["method"], set(each.rivals)) == ("plain", {"teacher"})
        assert each.rivals["teacher"].lead == pytest.approx(each.score.score.value - each.rivals["teacher"].score)
    part = real_part(found, "encoder")
    assert "`encoder` teaches a student of the shape (1, 4, 48, 64)" in part.text
    low = [each for each in found if not each.score.floors["constant"].is_beaten]
    assert [each.name for each in low] == ["cola", "copa"]
    assert (
        "by two standard errors: cola with 16 examples, copa with 16 examples to learn from. The teacher itself is"
        in (part.text)
    )
    assert {each.name for each in part.figures} >= {"cola: of teacher", "copa: of the best constant answer"}


def test_real_tasks_ask_for_an_encoder(capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--builtin", "--tasks", "folder"])
    assert "real tasks take a folder with a BERT encoder, which teaches" in capsys.readouterr().err
