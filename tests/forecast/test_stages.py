"""What the parameters of the environments ask for, held against what they say."""

import pytest

from bort_kedro.encoders.shapes import BERT_LARGE, BORT, BertShape
from bort_kedro.forecast.facts import KNOWN_ENCODERS, Examples, Facts
from bort_kedro.forecast.stages import Forecaster, typical
from bort_kedro.forecast.task_trials import most_of_agora
from bort_kedro.pipeline_registry import build_pipelines
from project_parameters import parameters


def works(environment="base", facts=None, stated=None, **changes):
    """By node and what is trained."""
    asked = parameters(environment, **changes)
    nodes = frozenset(node.name for node in build_pipelines(asked)["__default__"].nodes)
    return {(work.node, work.what): work for work in Forecaster(asked, facts or Facts(), stated).works(nodes)}


def of_node(found, name):
    return [work for (node, _), work in found.items() if node.endswith(name)]


def test_the_default_trains_a_maximum_point_24_candidates_a_student_and_its_twin():
    found = works()
    (maximum,), (candidates,) = of_node(found, "train_maximum_point_node"), of_node(found, "measure_errors_node")
    assert (maximum.num_trainings, maximum.num_steps, maximum.step.tokens) == (1, 600, 512)
    assert maximum.step.encoder.shape == BertShape(4, 4, 256, 1024)
    assert (candidates.num_trainings, candidates.num_steps, candidates.side_by_side) == (24, 100, 2)
    assert len(candidates.shapes) == 24
    (student,), (twin,) = of_node(found, "distill_student_node"), of_node(found, "train_without_teacher_node")
    assert student.tokens == twin.tokens == 8000 * 512
    # No teacher runs beside it.
    assert student.flops == twin.flops
    assert "until the search has chosen" in student.what


def test_every_environment_has_a_forecast():
    for environment in ("smoke", "theory", "encoder", "bench", "paper", "released"):
        assert all(work.flops > 0 for work in works(environment).values())


def test_sets_and_seeds_multiply_the_trainings():
    found = works(search={"hyperparameter_sets": [{}, {"learning_rate": 0.1}], "num_seeds": 3, "budget": 5})
    assert of_node(found, "measure_errors_node")[0].num_trainings == 5 * 6
    assert of_node(found, "train_maximum_point_node")[0].num_trainings == 6


def test_what_scores_a_training_is_counted_by_the_tokens_of_its_split():
    facts = Facts(split_tokens={"train": 10**6, "validation": 3000, "test": 500})
    changes = {"search": {"error_measure": "divergence"}, "pretrain_distill": {"teacher_cache": {"top_k": 8}}}
    found = works("smoke", facts, **changes)
    (candidates,) = of_node(found, "measure_errors_node")
    # By the candidate, and by T, which it is compared with.
    seen = [(each.encoder.shape, each.tokens, each.learns) for each in candidates.passes]
    assert seen == [(candidates.step.encoder.shape, 3000, False), (BertShape(2, 4, 64, 128), 3000, False)]
    (student,), (twin,) = of_node(found, "distill_student_node"), of_node(found, "train_without_teacher_node")
    # One look on the way, student and teacher scored, and what the teacher says of 40 steps, asked beforehand.
    assert [each.tokens for each in student.passes] == [3000, 500, 500, 40 * 512]
    assert [each.tokens for each in twin.passes] == [3000, 500]
    assert (student.num_states, student.keeps_whole) == (4, False)


def test_a_schedule_that_can_be_gone_on_with_keeps_a_whole_state():
    longer = {"student": {"optimization": {"schedule": "warmup_stable_decay"}}}
    (usual,), (kept,) = (
        of_node(works("smoke", pretrain_distill=changes), "train_without_teacher_node") for changes in ({}, longer)
    )
    assert kept.kept_bytes == usual.kept_bytes + 3 * kept.step.encoder.weight_bytes


def test_a_teacher_runs_beside_the_student_alone_and_a_cache_takes_its_place():
    (student,) = of_node(works("smoke"), "distill_student_node")
    assert student.step.teacher.shape == BertShape(2, 4, 64, 128)
    cached = works("smoke", pretrain_distill={"teacher_cache": {"top_k": 8}})
    (with_cache,) = of_node(cached, "distill_student_node")
    assert with_cache.step.teacher is None
    # 0.3 of 40 steps of 512 tokens; 8 ids of two bytes, as many ratios and the tail.
    assert with_cache.other_bytes - student.other_bytes == round(0.3 * 40 * 512) * (8 * 4 + 4)


def test_a_student_that_is_stated_or_was_chosen_takes_the_place_of_a_typical_candidate():
    shape = BertShape(3, 4, 160, 256)
    (stated,) = of_node(works(stated=shape), "distill_student_node")
    assert stated.step.encoder.shape == shape
    asked = parameters()
    nodes = frozenset(node.name for node in build_pipelines(asked)["pretrain_distill"].nodes)
    forecast = Forecaster(asked, Facts(selected=shape, vocabulary_size=777)).works(nodes)
    assert {work.step.encoder.shape for work in forecast} == {shape}
    assert {work.step.encoder.vocabulary_size for work in forecast} == {777}


def test_a_student_that_is_opened_is_forecast_as_its_files_have_it():
    bort, pair = KNOWN_ENCODERS["bort"], {"rte": Examples(1000, 300, words=30)}
    known, unknown = (works("released", Facts(student=student, examples=pair)) for student in (bort, None))
    assert {node.partition(".")[0] for node, _ in known} == {"finetune", "evaluate"}
    (trials,) = of_node(known, "rte.fine_tune_student_node")
    assert trials.step.encoder.shape == BORT
    assert of_node(unknown, "rte.fine_tune_student_node")[0].step.encoder.shape == BERT_LARGE
    said = Forecaster(parameters("released"), Facts()).assumptions(frozenset())
    assert said[0] == "`data/01_raw/bort` is not on this machine, and is taken to be (24, 16, 1024, 4096)."


def test_the_typical_shape_is_nearest_to_the_mean_of_the_weights():
    shapes = [BertShape(depth, 1, 8, 8) for depth in (1, 2, 9)]  # mean depth 4
    assert typical(shapes) == BertShape(2, 1, 8, 8)


@pytest.mark.parametrize(
    ("sets", "replays", "share", "trials", "passes"),
    [
        (1, 2, 1.0, 1, 1.0),  # dropped in its first round
        (2, 0, 1.0, 3, 2 + 1 * 2.0),
        (2, 1, 1.0, 4, 2 + 2 * 2.0),
        (3, 1, 0.5, 8, 3 + 2 * 2 * 1.5 + 1 * 2.0),
    ],
)
def test_the_most_that_agora_takes(sets, replays, share, trials, passes):
    assert most_of_agora(sets, replays, share) == (trials, passes)


def test_trials_of_a_task_see_its_examples_as_often_as_the_epochs_ask():
    facts = Facts(vocabulary_size=50000, examples={"library": Examples(1000, 300, words=30, num_others=40)})
    changes = {"finetune": {"tasks": ["library"], "method": "plain", "rivals": []}}
    (trials,) = of_node(works(facts=facts, **changes), "library.fine_tune_student_node")
    # 30 words are 44 tokens here; six epochs of 1000 examples in batches of 1024 tokens, with two learning rates, and
    # then of 1300, since dev is learned too.
    per_epoch = 1000 * 44 / 1024
    assert (trials.num_trainings, trials.least_trainings, trials.is_limit) == (3, 3, True)
    assert trials.num_steps == round(6 * per_epoch * (2 + 1.3) / 3)
    # The warm-up and the patience, each look at the end of an epoch; the last one goes on to its end.
    stopped = int(0.1 * round(6 * per_epoch)) + 3 * int(per_epoch)
    assert trials.least_steps == round((2 * stopped + 6 * per_epoch * 1.3) / 3)
    # A look an epoch and one at the end, of the last one at the end alone, at 300 examples of dev; 40 others are
    # predicted by one of the three.
    assert (trials.num_looks, trials.passes[0].tokens) == (1 + round((2 * 6 + 1) / 3), (5 * 300 + 13) * 44)
    assert not trials.passes[0].learns


def test_a_task_of_glue_that_is_not_there_is_as_large_as_it_was_published():
    changes = {"finetune": {"tasks": ["mnli", "ax"], "method": "plain"}}
    (trials,) = of_node(works("released", **changes), "fine_tune_student_node")
    # 48 sets; 171 characters are 28.5 words, and these 42 tokens; batches of 4096 and 8192 tokens, 50 epochs.
    assert (trials.num_trainings, trials.step.length) == (48, 42)
    assert trials.num_steps == pytest.approx(50 * 392_702 * 41.9 / 6144, rel=1e-3)
    said = Forecaster(parameters("released", **changes), Facts()).assumptions(
        frozenset({"finetune.mnli.fine_tune_student_node"})
    )
    assert said[-1] == "Examples are not there yet, and taken to be as many as are published: mnli."


def test_what_is_not_known_is_said():
    asked = parameters("paper", finetune={"tasks": ["race_high"]})
    said = Forecaster(asked, Facts()).assumptions(frozenset({"finetune.race_high.fine_tune_student_node"}))
    assert said[0] == "`roberta-large` is not on this machine, and is taken to be (24, 16, 1024, 4096)."
    assert said[-1] == (
        "Not counted, since their examples are not there yet: race_high; each has 48 trials or more. "
        "`kedro run --pipelines tasks` makes them."
    )
