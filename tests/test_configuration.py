"""All parameters are checked at once, and the message says what to do."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader

from bort_kedro.configuration import check_dataset_names, check_parameters, configuration_hash
from bort_kedro.errors import ConfigurationError
from bort_kedro.search.space import enumerate_shapes

CONF = Path(__file__).parent.parent / "conf"


def load(environment: str) -> dict[str, Any]:
    loader = OmegaConfigLoader(
        str(CONF),
        env=environment,
        base_env="base",
        default_run_env="local",
        merge_strategy={"parameters": "soft"},
    )
    return dict(loader["parameters"])


@pytest.fixture
def raw() -> dict[str, Any]:
    return copy.deepcopy(load("smoke"))


def fault(raw: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check_parameters(raw)
    return str(caught.value)


@pytest.mark.parametrize("environment", ["base", "bench", "paper", "smoke"])
def test_every_environment_gives_complete_parameters(environment):
    parameters = check_parameters(load(environment))
    assert parameters.corpus.sequence_length <= parameters.corpus.max_positions


def test_published_space_has_three_hundred_candidates_and_sixty_tuples_that_cannot_be_built():
    space = enumerate_shapes(check_parameters(load("paper")).search.space)
    assert (len(space.shapes), len(space.invalid)) == (300, 60)
    assert {(d, a, h) for d, a, h, _ in space.invalid} == {
        (d, a, h) for d in (2, 4, 6, 8, 10, 12) for a, h in [(12, 512), (12, 1024)]
    }


def test_mistyped_stage_names_the_likely_one(raw):
    raw["serach"] = raw.pop("search")
    message = fault(raw)
    assert "`serach` is unknown" in message
    assert "Did you mean `search`?" in message
    assert "`search` is missing" in message


def test_mistyped_nested_key_names_its_path_and_the_likely_one(raw):
    raw["search"]["training"]["optimization"]["num_step"] = 7
    message = fault(raw)
    assert "`search.training.optimization.num_step` is unknown (value 7)" in message
    assert "Did you mean `num_steps`?" in message


def test_examples_longer_than_positions_are_refused(raw):
    raw["finetune"]["training"]["max_tokens"] = 65
    assert "finetune.training.max_tokens 65 is over corpus.max_positions 64" in fault(raw)


def test_examples_of_a_teacher_longer_than_the_positions_are_refused_unless_it_is_the_users_own(raw):
    raw["finetune"]["teacher"]["training"]["max_tokens"] = 65
    assert (
        "finetune.teacher.training.max_tokens 65 is over corpus.max_positions 64: an encoder has no embedding for the "
        "positions beyond. Set max_tokens to at most 64, or raise max_positions"
    ) in fault(raw)
    named = copy.deepcopy(raw)
    named["finetune"]["teacher"]["pretrained"] = "somewhere/encoder"
    assert check_parameters(named).finetune.teacher.training.max_tokens == 65
    raw["pretrain_distill"]["pretrained_teacher"] = "somewhere/encoder"
    assert check_parameters(raw).finetune.teacher.training.max_tokens == 65


def test_exports_timed_on_more_tokens_than_there_are_positions_are_refused(raw):
    raw["evaluate"]["export"]["sequence_length"] = 65
    assert (
        "evaluate.export.sequence_length 65 is over corpus.max_positions 64: exports are timed on inputs of that "
        "length. Set it to at most 64, or raise max_positions"
    ) in fault(raw)
    raw["evaluate"]["export"]["formats"] = []
    assert check_parameters(raw).evaluate.export.sequence_length == 65


def test_files_of_a_task_that_is_read_from_the_hub_are_refused(raw):
    raw["finetune"] |= {"tasks": ["cola"], "files": {"cola": {"dev": "a.tsv"}}, "read_from": "hub"}
    assert "files names ['cola'], and read_from is hub, which reads no file; set it to files" in fault(raw)


def test_files_of_a_task_that_is_not_run_are_refused(raw):
    raw["finetune"] |= {"tasks": ["cola", "rte"], "files": {"cola": {"dev": "a.tsv"}, "rta": {"dev": "b.tsv"}}}
    assert "files names ['rta'], which tasks does not hold (cola, rte)" in fault(raw)


def test_a_rival_that_stands_twice_is_refused(raw):
    raw["finetune"]["rivals"] = ["plain", "distilled", "plain"]
    assert "rivals is ['plain', 'distilled', 'plain']; each may stand once" in fault(raw)


def test_a_warmup_of_all_steps_is_refused(raw):
    raw["finetune"]["training"]["warmup_shares"] = [0.1, 1.0]
    assert "`finetune.training.warmup_shares.1` (value 1.0): Input should be less than 1" in fault(raw)


def test_mistyped_task_lists_the_known_ones(raw):
    raw["finetune"]["tasks"] = ["libary"]
    assert (
        "tasks holds ['libary'], which are neither in the table of tasks (cola, sst2, mrpc, stsb, qqp, mnli, qnli, "
        "rte, wnli, ax, boolq, cb, copa, multirc, record, superglue_rte, wic, wsc, axb, axg, race_middle, race_high, "
        "library, order, adjacent) nor in own_tasks (none)"
    ) in fault(raw)


@pytest.mark.parametrize("tasks", [["cola", "cola"], ["my-task"]])
def test_task_that_stands_twice_or_is_no_identifier_is_refused(raw, tasks):
    raw["finetune"]["tasks"] = tasks
    assert (
        f"tasks holds {tasks}; each name must stand once and be letters, digits and underscores, since it becomes part "
        "of dataset names"
    ) in fault(raw)


def test_own_task_may_not_take_the_name_of_a_known_one(raw):
    files = {"train": "train.csv", "dev": "dev.csv"}
    raw["finetune"]["own_tasks"] = {"rte": {"files": files, "columns": {"text": "text", "label": "label"}}}
    assert "own_tasks holds ['rte'], which the table of tasks has already; choose other names" in fault(raw)


@pytest.mark.parametrize(("task", "needed"), [("ax", "mnli"), ("axg", "superglue_rte or rte")])
def test_diagnostic_without_the_task_whose_model_answers_it_is_refused(raw, task, needed):
    raw["finetune"]["tasks"] = ["cola", task]
    assert f"tasks holds {task}, which is scored with the model of {needed}; add it to tasks" in fault(raw)


def test_transformation_that_never_draws_anything_is_refused(raw):
    raw["finetune"]["agora"]["transformation"]["weights"] = {"masked_lm": 0}
    assert "none below 0 and one at least above it" in fault(raw)


def test_all_faults_come_at_once(raw):
    raw["corpus"]["seed"] = "one"
    raw["search"]["budget"] = 0
    message = fault(raw)
    assert message.startswith("2 parameter(s) cannot be used")
    assert "`corpus.seed` (value 'one')" in message
    assert "`search.budget` (value 0): Input should be greater than 0" in message


def test_sequence_longer_than_positions_is_refused(raw):
    raw["corpus"].update(sequence_length=128, max_positions=64)
    assert "sequence_length 128 is over max_positions 64" in fault(raw)


def test_heads_that_do_not_divide_hidden_size_are_refused(raw):
    raw["search"]["maximum_point"].update(num_attention_heads=3, hidden_size=64)
    assert "hidden_size 64 leaves a remainder of 1 when split over 3 heads" in fault(raw)


def test_space_without_any_buildable_shape_is_refused(raw):
    raw["search"]["space"].update(num_attention_heads=[3], hidden_size=[16, 32])
    assert "no number of heads in [3] divides a hidden_size in [16, 32]" in fault(raw)


def test_maximum_point_below_the_space_is_refused(raw):
    raw["search"]["maximum_point"]["num_hidden_layers"] = 1
    assert "maximum_point.num_hidden_layers is 1, below the space's largest 2" in fault(raw)


def test_unknown_strategy_lists_the_known_ones(raw):
    raw["search"]["strategy"] = "genetic"
    assert "strategy is `genetic`, allowed are fptas, surrogate, successive_halving, random, exhaustive." in fault(raw)


def test_unknown_answer_lists_the_known_ones(raw):
    raw["search"]["answer"] = "smallest"
    assert "answer is `smallest`, allowed are largest_w, pareto_front, smallest_error, knee." in fault(raw)


def test_unknown_source_of_errors_and_unknown_engine_list_the_known_ones(raw):
    raw["search"] |= {"error_source": "recorded", "engine": "threads"}
    message = fault(raw)
    assert "`search.error_source` (value 'recorded'): Input should be 'training' or 'table'." in message
    assert "`search.engine` (value 'threads'): Input should be 'sequential', 'loky', 'dask' or 'ray'." in message


def test_a_cap_of_nothing_is_refused(raw):
    raw["search"]["caps"]["max_parameters"] = 0
    assert "`search.caps.max_parameters` (value 0): Input should be greater than 0" in fault(raw)


def test_mistyped_hyperparameter_names_the_set_and_the_key(raw):
    raw["search"]["hyperparameter_sets"] = [{}, {"learning_rates": 0.1}]
    assert (
        "`search.hyperparameter_sets.1.learning_rates` is unknown (value 0.1). Did you mean `learning_rate`? Allowed "
        "here: learning_rate, warmup_share, weight_decay, batch_tokens, dropout."
    ) in fault(raw)


def test_splits_that_leave_nothing_to_train_on_are_refused(raw):
    raw["corpus"]["splits"] = {"validation": 0.4, "test": 0.3, "tasks": 0.3}
    assert "validation + test + tasks is 1; it must stay below 1" in fault(raw)


def test_configuration_hash_follows_every_value_and_nothing_else(raw):
    before = configuration_hash(check_parameters(raw))
    assert configuration_hash(check_parameters(dict(reversed(raw.items())))) == before
    raw["corpus"]["seed"] += 1
    assert configuration_hash(check_parameters(raw)) != before


def test_parameters_cannot_be_changed_once_built(raw):
    parameters = check_parameters(raw)
    with pytest.raises(ValueError, match="frozen"):
        parameters.corpus.seed = 3


def test_entries_of_an_older_catalog_are_refused_by_name_with_what_they_are_called_now():
    old = [
        "raw_corpus",
        "candidate_costs",
        "{task}.metrics",
        "cola.history",
        "library.finetuned_model",
        "teacher_cache",
    ]
    with pytest.raises(ConfigurationError) as caught:
        check_dataset_names(old)
    assert str(caught.value) == (
        "4 catalog entry(s) have a name of an older version, which nothing reads now:\n"
        "  - `candidate_costs` is called `search.candidate_costs`\n"
        "  - `{task}.metrics` is called `evaluate.{task}.metrics`\n"
        "  - `cola.history` is called `finetune.cola.history`\n"
        "  - `teacher_cache` is called `pretrain_distill.teacher_cache`\n"
        "Rename them in conf/local/catalog*.yml, or in the environment given by --env."
    )


def test_the_catalog_of_the_project_has_no_entry_of_an_older_one():
    loader = OmegaConfigLoader(str(CONF), env="smoke", base_env="base")
    check_dataset_names(loader["catalog"])
