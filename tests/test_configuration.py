"""All parameters are checked at once, and the message says what to do."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.validation.type_extractor import TypeExtractor

from bort_kedro import settings
from bort_kedro.agora.settings import PointSettings
from bort_kedro.configuration import (
    MOVED,
    SHARED,
    ConfigurationLoader,
    check_dataset_names,
    check_parameters,
    configuration_hash,
    load_parameters,
)
from bort_kedro.errors import ConfigurationError
from bort_kedro.finetuning.theta import build_theta
from bort_kedro.finetuning.trials import trial_optimization
from bort_kedro.latency.settings import LatencySettings
from bort_kedro.params import FinetuneParams
from bort_kedro.pipeline_registry import build_pipelines
from bort_kedro.pretraining.pretrain import definite
from bort_kedro.search.settings import SearchSettings
from bort_kedro.search.space import enumerate_shapes
from project_parameters import parameters as parameters_of
from project_parameters import raw_parameters

CONF = Path(__file__).parent.parent / "conf"


@pytest.fixture
def raw() -> dict[str, Any]:
    return raw_parameters("smoke")


def fault(raw: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check_parameters(raw)
    return str(caught.value)


@pytest.mark.parametrize("environment", ["base", "bench", "paper", "released", "smoke", "theory"])
def test_every_environment_gives_complete_parameters(environment):
    parameters = parameters_of(environment)
    assert parameters.corpus.sequence_length <= parameters.corpus.max_positions


def test_published_space_has_three_hundred_candidates_and_sixty_tuples_that_cannot_be_built():
    space = enumerate_shapes(parameters_of("paper").search.space)
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


def test_mistyped_key_of_what_a_map_holds_names_its_path_and_those_allowed(raw):
    raw["finetune"]["files"] = {"stsb": {"train": {"path": "a.csv", "heder": ["a"]}}}
    raw["finetune"]["own_tasks"] = {"mine": {"files": {}, "columns": {}, "lables": ["a", "b"]}}
    message = fault(raw)
    assert (
        "`finetune.own_tasks.mine.lables` is unknown (value ['a', 'b']). Did you mean `labels`? Allowed here: files, "
        "columns, form, labels, metrics, truncation." in message
    )
    assert (
        "`finetune.files.stsb.train.heder` is unknown (value ['a']). Did you mean `header`? Allowed here: path, "
        "header, trailing, format, id_file, in_id_file." in message
    )


def laid_over(tmp_path, text, **changes):
    """The parameters of a project whose conf/local holds this text."""
    shutil.copytree(CONF, tmp_path / "conf", dirs_exist_ok=True)
    (tmp_path / "conf" / "local").mkdir(exist_ok=True)
    (tmp_path / "conf" / "local" / "parameters_mine.yml").write_text(text, "utf-8")
    return check_parameters(load_parameters(tmp_path / "conf", **changes))


def loader_of(tmp_path, environment, files, **changes):
    """That of a run, over files below ``conf`` by their names."""
    for name, text in {"base/.keep": "", "paper/.keep": "", **files}.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).write_text(text, "utf-8")
    return ConfigurationLoader(
        str(tmp_path / "conf"), env=environment, runtime_params=changes, **settings.CONFIG_LOADER_ARGS
    )


STATED = {
    "base/catalog.yml": "raw_corpus: {type: documentation, packages: [numpy]}",
    "base/globals.yml": "folder: base",
    "base/mlflow.yml": "server: {mlflow_tracking_uri: base}",
    "base/parameters.yml": "{a: 1, b: {c: 1, d: 1, e: 1}, f: '${globals:folder}'}",
    "paper/catalog.yml": "raw_corpus: {type: files, paths: [paper]}\nother: {type: csv}",
    "paper/parameters.yml": "b: {c: 2, d: 2}",
    "local/catalog.yml": "raw_corpus: {type: hub, dataset_id: mine}",
    "local/credentials.yml": "hub: {token: mine}",
    "local/globals.yml": "folder: mine",
    "local/mlflow.yml": "server: {mlflow_tracking_uri: mine}",
    "local/parameters.yml": "b: {d: 3}",
}


def test_what_is_stated_locally_wins_over_every_environment(tmp_path):
    loader = loader_of(tmp_path, "paper", STATED, b={"e": 4})
    assert loader["catalog"] == {"raw_corpus": {"type": "hub", "dataset_id": "mine"}, "other": {"type": "csv"}}
    assert loader["parameters"] == {"a": 1, "b": {"c": 2, "d": 3, "e": 4}, "f": "mine"}
    assert loader["credentials"] == {"hub": {"token": "mine"}}
    assert loader["mlflow"] == {"server": {"mlflow_tracking_uri": "mine"}}
    files = sorted(f"conf/{name}" for name in STATED if name.startswith("local"))
    assert sorted(loader.local_files) == files
    assert loader.said() == f"Laid over the environment paper: {', '.join(files)}."


def test_without_an_environment_it_is_read_as_ever_and_not_told(tmp_path):
    loader = loader_of(tmp_path, None, STATED)
    assert loader["parameters"] == {"a": 1, "b": {"c": 1, "d": 3, "e": 1}, "f": "mine"}
    assert loader["catalog"] == {"raw_corpus": {"type": "hub", "dataset_id": "mine"}}
    assert loader.local_files
    assert loader.said() == ""


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """The configuration of a wheel, which lies below a folder that is hidden."""
    folder = tmp_path / ".venv" / "conf"
    for name, text in {"base": "{a: 1, b: {c: 1}}", "paper": "b: {c: 2}", "local": ""}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "parameters.yml").write_text(text, "utf-8")
        (folder / name / ".parameters.yml").write_text("a: hidden", "utf-8")
    monkeypatch.setattr("bort_kedro.configuration.PACKAGED", folder)


def packaged_loader(tmp_path, environment):
    return ConfigurationLoader(str(tmp_path / "conf"), env=environment, **settings.CONFIG_LOADER_ARGS)


def test_where_a_project_has_no_configuration_it_is_the_packages(tmp_path, packaged):
    assert packaged_loader(tmp_path, None)["parameters"] == {"a": 1, "b": {"c": 1}}
    assert packaged_loader(tmp_path, "paper")["parameters"] == {"a": 1, "b": {"c": 2}}


def test_folders_of_the_project_come_before_those_of_the_package(tmp_path, packaged):
    for name, text in {"local": "a: 3", "mine": "b: {c: 4}"}.items():
        (tmp_path / "conf" / name).mkdir(parents=True)
        (tmp_path / "conf" / name / "parameters.yml").write_text(text, "utf-8")
    assert packaged_loader(tmp_path, "paper")["parameters"] == {"a": 3, "b": {"c": 2}}
    assert packaged_loader(tmp_path, "mine")["parameters"] == {"a": 3, "b": {"c": 4}}
    with pytest.raises(ConfigurationError, match=r"has no such folder\. There are: base, local, mine, paper\.$"):
        packaged_loader(tmp_path, "theirs")


def test_a_parameter_may_take_the_place_of_one_of_another_form(tmp_path):
    files = STATED | {
        "base/parameters.yml": "{a: [1], b: [1], f: '${globals:folder}'}",
        "local/parameters.yml": "b: [3]",
    }
    loader = loader_of(tmp_path, "paper", files, a={"c": 4})
    assert loader["parameters"] == {"a": {"c": 4}, "b": [3], "f": "mine"}
    files |= {"local/parameters.yml": "c: 1"}
    assert loader_of(tmp_path, "paper", files)["parameters"] == {"a": [1], "b": {"c": 2, "d": 2}, "f": "mine", "c": 1}


def test_an_environment_is_as_it_is_where_nothing_is_stated_locally(tmp_path):
    loader = loader_of(tmp_path, "paper", {name: text for name, text in STATED.items() if "local" not in name})
    assert loader["parameters"] == {"a": 1, "b": {"c": 2, "d": 2, "e": 1}, "f": "base"}
    assert loader.said() == ""
    with pytest.raises(MissingConfigException, match="credentials"):
        loader["credentials"]


def test_an_environment_that_is_not_there_is_a_fault_whatever_is_stated_locally(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        loader_of(tmp_path, "papr", STATED)
    assert str(caught.value) == (
        f"`--env` names `papr`, and {tmp_path / 'conf'} has no such folder. Did you mean `paper`? There are: base, "
        "local, paper."
    )


def test_the_folder_of_the_project_may_have_any_name(tmp_path):
    odd = tmp_path / "odd [a]%20?b#c"
    loader = loader_of(odd, "paper", STATED)
    assert loader["parameters"] == {"a": 1, "b": {"c": 2, "d": 3, "e": 1}, "f": "mine"}
    assert loader["catalog"] == {"raw_corpus": {"type": "hub", "dataset_id": "mine"}, "other": {"type": "csv"}}
    assert load_parameters(odd / "conf", "paper") == {"a": 1, "b": {"c": 2, "d": 2, "e": 1}, "f": "base"}


def masked_lm_trainings(parameters):
    pretraining = parameters.pretrain_distill
    return parameters.search.training, *([pretraining.teacher] if pretraining.teacher else []), pretraining.student


def test_a_training_takes_what_it_does_not_state_from_the_shared_block():
    trainings = masked_lm_trainings(parameters_of("base"))
    assert [each.optimization.num_steps for each in trainings] == [100, 8000]
    assert [each.optimization.learning_rate for each in trainings] == [2e-3, 2.5e-3]
    assert [each.optimization.seed for each in trainings] == [0, 0]
    assert [each.num_threads for each in trainings] == [1, 2]
    assert {each.masked_share for each in trainings} == {0.3}
    student, teacher = parameters_of("base").finetune.training, parameters_of("base").finetune.teacher.training
    assert (student.patience, teacher.patience, student.num_epochs, teacher.num_epochs) == (3, 2, 6, 6)


def test_a_value_of_the_shared_block_reaches_every_training_that_does_not_state_its_own(tmp_path):
    text = "masked_lm: {num_threads: 7, optimization: {weight_decay: 0.5}}"
    for given in (laid_over(tmp_path, text), parameters_of("base", **yaml.safe_load(text))):
        trainings = masked_lm_trainings(given)
        assert [each.num_threads for each in trainings] == [1, 7]
        assert {each.optimization.weight_decay for each in trainings} == {0.5}


def test_what_is_learned_of_a_teacher_is_shared_and_may_be_stated_for_each_stage(tmp_path):
    given = laid_over(
        tmp_path, "distillation: {relations: {weight: 0.5}}\nsearch: {distillation: {logits: {weight: 2}}}"
    )
    shared, own = given.pretrain_distill.distillation, given.search.distillation
    assert {name: kind.weight for name, kind in shared.kinds.items()} == {"relations": 0.5}
    assert {name: kind.weight for name, kind in own.kinds.items()} == {"relations": 0.5, "logits": 2}
    published = parameters_of("paper")
    assert published.search.distillation.kinds == {}
    assert published.pretrain_distill.distillation.kinds.keys() == {"logits"}


def test_a_value_that_a_training_states_wins_wherever_it_was_given(tmp_path):
    text = "search: {training: {dropout: 0.25, optimization: {num_steps: 5}}}"
    for given in (
        laid_over(tmp_path, text, masked_lm={"dropout": 0.1}),
        laid_over(tmp_path, "masked_lm: {dropout: 0.1}", **yaml.safe_load(text)),
    ):
        trainings = masked_lm_trainings(given)
        assert [each.dropout for each in trainings] == [0.25, 0.1]
        assert [each.optimization.num_steps for each in trainings] == [5, 8000]


def test_parameters_of_before_there_were_shared_blocks_are_whole(raw):
    assert check_parameters({name: value for name, value in raw.items() if name not in SHARED}) is not None
    assert check_parameters(raw).model_dump().keys().isdisjoint(SHARED)


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        (
            {"masked_lm": {"optimization": {"num_step": 7}}},
            "1 parameter(s) cannot be used:\n  - `masked_lm.optimization.num_step` is unknown (value 7). Did you mean "
            "`num_steps`?",
        ),
        (
            {"masked_lm": {"dropout": 2}},
            "1 parameter(s) cannot be used:\n  - `masked_lm.dropout` (value 2): Input should be less than 1.",
        ),
        (
            {"search": {"training": {"dropuot": 0.5}}},
            "1 parameter(s) cannot be used:\n  - `search.training.dropuot` is unknown (value 0.5). Did you mean "
            "`dropout`?",
        ),
        (
            {"task_training": {"num_epochs": 0}},
            "1 parameter(s) cannot be used:\n  - `task_training.num_epochs` (value 0): Input should be greater than 0.",
        ),
    ],
)
def test_a_fault_is_told_once_and_where_it_was_written(changes, faults):
    assert fault(raw_parameters("base", **changes)).startswith(faults)


@pytest.mark.parametrize("path", MOVED)
def test_a_parameter_of_an_older_version_is_answered_with_what_takes_its_place(path):
    names = path.split(".")
    changes: Any = 0.5
    for name in reversed(names[1:]):
        changes = {name: changes}
    told = fault(raw_parameters("base", **{names[0]: changes}))
    assert told.startswith(
        f"1 parameter(s) cannot be used:\n  - `{path}` (value 0.5) is a parameter of an older version. Write "
        f"{MOVED[path]} instead.\n"
    )


def test_a_parameter_of_an_older_version_in_a_shared_block_is_answered_there():
    told = fault(raw_parameters("base", distillation={"temperature": 4.0}))
    assert told.startswith(
        "1 parameter(s) cannot be used:\n  - `distillation.temperature` (value 4.0) is a parameter of an older "
        "version. Write `distillation.logits.temperature` instead.\n"
    )


def test_a_student_that_is_opened_takes_the_place_of_the_teacher_of_the_pretraining():
    opened = {"finetune": {"student": "a/hub-id", "training": {"max_tokens": 4096}}}
    assert parameters_of("released").finetune.student == "data/01_raw/bort"
    # How long its inputs may be is for its files to say.
    assert parameters_of("base", **opened).finetune.training.max_tokens == 4096
    told = fault(raw_parameters("smoke", **opened))
    assert (
        "`finetune`: teacher.encoder is teacher, that of the pretraining, and student is a/hub-id, which takes the "
        "place of the pretraining; name a hub id or a folder as teacher.encoder, such as roberta-large, or set student "
        "to null."
    ) in told


# SHA-256 of what saved states are told apart by; it changes where settings of trainings come or go, and only there.
IDENTITIES = {
    "base": (
        "6b2d66cbeb7c",
        "725e5d5e4a46",
        "9f7f5925788a",
        "b2196158aa2a",
        "b2196158aa2a",
        "a25b3aac4338",
        "86c9d283be5a",
        "b26e64cd90f9",
    ),
    "paper": (
        "4aeed7a0bb07",
        "5d88cc68a681",
        "f6d906e331ca",
        "97c34c04cc12",
        "bde4d46e5fdd",
        "ae92bb0bc0cc",
        "2874092fb8cc",
        "b26e64cd90f9",
    ),
}


@pytest.mark.parametrize("environment", IDENTITIES)
def test_what_tells_saved_states_apart_has_not_changed_unseen(environment):
    """Of the searched trainings, T, the teacher and the students, fine-tuning, its points, and latency."""
    given = parameters_of(environment)
    search, finetune, agora = given.search, given.finetune, given.finetune.agora
    pretrainings = search.training, search.maximum_point_training(), *masked_lm_trainings(given)[1:]
    finetunings = finetune.training, finetune.teacher.training
    parts = [
        *(definite(each).identity() for each in pretrainings),
        *(optimization_of(build_theta(each, draw_seed=0)[0], each) for each in finetunings),
        agora.model_dump(include=set(PointSettings.model_fields)),
        agora.transformation.model_dump(),
        search.latency.model_dump(include=set(LatencySettings.model_fields)),
    ]
    found = [hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:12] for part in parts]
    assert tuple(found) == IDENTITIES[environment]


def optimization_of(hyperparameters, settings):
    optimization = trial_optimization(hyperparameters, settings, 77)
    return optimization.model_dump(exclude={"checkpoint_every_steps"}, exclude_defaults=True)


def test_processes_that_would_read_a_stream_several_times_are_refused(raw):
    raw["pretrain_distill"] |= {"launch": {"num_processes": 6, "sharding": "none"}}
    check_parameters(raw)
    assert (
        "stream.num_readers is 8 with launch.num_processes 6, which does not divide it, so that processes would read "
        "and tokenise the same text several times; set num_readers to a multiple of 6"
    ) in fault(raw | {"pretrain_distill": raw["pretrain_distill"] | {"training_data": "stream"}})


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
    named["finetune"]["teacher"]["encoder"] = "somewhere/encoder"
    assert check_parameters(named).finetune.teacher.training.max_tokens == 65
    raw["search"]["maximum_point"] = "somewhere/encoder"
    assert check_parameters(raw).finetune.teacher.training.max_tokens == 65
    raw["finetune"]["teacher"]["encoder"] = "student"
    assert "finetune.teacher.training.max_tokens 65 is over corpus.max_positions 64" in fault(raw)


def test_recorded_labels_are_of_a_task_that_is_run_and_taught(raw):
    labels = {"file": "labels.jsonl"}
    raw["finetune"] |= {"tasks": ["rte", "axb"]}
    raw["finetune"]["teacher"]["recorded"] = {"cola": labels}
    assert "teacher.recorded names ['cola'], which tasks does not hold (rte, axb)" in fault(raw)
    raw["finetune"]["teacher"]["recorded"] = {"axb": labels}
    assert "teacher.recorded names axb, a diagnostic, which nothing is taught; name superglue_rte or rte" in fault(raw)
    raw["finetune"]["teacher"]["recorded"] = {"rte": {"file": "labels.jsonl", "columns": {"probability": "p"}}}
    assert "probability" in fault(raw)


def test_labels_of_a_form_that_cannot_be_recorded_are_refused(raw):
    files = {"train": "a.conll", "dev": "b.conll"}
    raw["finetune"] |= {"tasks": ["mine"], "own_tasks": {"mine": {"files": files, "form": "token_classification"}}}
    raw["finetune"]["teacher"]["recorded"] = {"mine": {"file": "labels.jsonl"}}
    assert (
        "teacher.recorded names mine (token_classification); labels can be recorded for classification, regression, "
        "multiple_choice"
    ) in fault(raw)


def test_where_all_labels_are_recorded_nothing_is_asked_of_the_encoder_that_teaches(raw):
    raw["finetune"] |= {"tasks": ["rte", "axb"], "student": "an/encoder"}
    raw["finetune"]["teacher"]["encoder"] = "teacher"
    assert "teacher.encoder is teacher" in fault(raw)
    raw["finetune"]["teacher"]["recorded"] = {"rte": {"file": "labels.jsonl"}}
    raw["finetune"]["teacher"]["training"]["max_tokens"] = 65
    assert not check_parameters(raw).finetune.has_encoder_as_teacher


def test_a_student_whose_head_nothing_trains_replaces_no_words(raw):
    raw["finetune"] |= {"method": "agora"}
    raw["finetune"]["teacher"]["encoder"] = "student"
    kinds = raw["pretrain_distill"]["distillation"]
    kinds |= {"masked_lm_weight": 0.0, "logits": kinds["logits"] | {"weight": 0.0}}
    kinds["relations"] |= {"weight": 1.0}
    assert (
        "finetune.teacher.encoder is student, which Agora asks for words, and nothing trains its masked-LM head: "
        "masked_lm_weight and logits.weight of pretrain_distill.distillation are 0. Raise one of them, set "
        "finetune.agora.transformation.weights.masked_lm to 0, or name another teacher"
    ) in fault(raw)
    raw["finetune"]["agora"]["transformation"]["weights"] = {"swap_words": 1.0}
    assert check_parameters(raw).finetune.teacher.encoder == "student"


def test_an_encoder_as_the_maximum_point_brings_the_only_tokenizer(raw):
    raw["search"]["maximum_point"] = "somewhere/encoder"
    raw["corpus"]["tokenizer"]["pretrained"] = "roberta-base"
    assert (
        "corpus.tokenizer.pretrained is roberta-base and search.maximum_point the encoder somewhere/encoder, whose "
        "tokenizer all encoders take. Set corpus.tokenizer.pretrained to null"
    ) in fault(raw)


@pytest.mark.parametrize(
    ("cost", "latency", "said"),
    [
        (
            "exported_latency",
            {},
            "cost is exported_latency, and latency.runtime is null, which exports nothing; name the runtime there",
        ),
        (
            "operations",
            {"runtime": "onnx", "device": "cuda"},
            "latency.device is cuda, and exports to latency.runtime onnx run on the CPU; set device to auto or cpu, or "
            "runtime to null",
        ),
        (
            "measured_latency",
            {"runtime": "tflite"},
            "search.latency.runtime is `tflite`, allowed are onnx, onnx_int8, openvino_int8, and null",
        ),
    ],
)
def test_a_cost_that_no_runtime_here_has_is_refused(raw, cost, latency, said):
    raw["search"]["cost"] = cost
    raw["search"]["latency"] |= latency
    assert said in fault(raw)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (None, "error_measure is task, and task is null; name it there, as finetune.tasks does"),
        (
            "rte",
            "search.task is `rte`, allowed are mnli, ax, order; a task of another name stands in finetune.tasks first",
        ),
        (
            "ax",
            "search.task is `ax`, a diagnostic that has no train and no dev split to learn and score on; name another "
            "of finetune.tasks",
        ),
    ],
)
def test_a_searched_task_that_cannot_be_learned_is_refused(raw, task, said):
    raw["finetune"]["tasks"] = ["mnli", "ax", "order"]
    raw["search"] |= {"error_measure": "task", "task": task}
    assert said in fault(raw)
    raw["search"]["task"] = "order"
    assert check_parameters(raw).search.searched_task == "order"


def test_a_search_for_the_error_of_a_task_brings_its_examples():
    search = {"error_measure": "task", "task": "order"}
    pipeline = build_pipelines(parameters_of("base", search=search))["search"]
    readers = {node.name for node in pipeline.nodes if "order.examples" in node.inputs}
    names = ("train_maximum_point", "measure_errors", "score_baselines")
    assert readers == {f"search.{name}_node" for name in names}
    assert not {name for name in pipeline.inputs() if name.endswith(".examples")}
    plain = build_pipelines(parameters_of("base"))["search"]
    assert not {name for name in plain.datasets() if name.endswith(".examples")}
    of_table = build_pipelines(parameters_of("base", search=search | {"task": "mine", "error_source": "table"}))
    assert not {name for name in of_table["search"].datasets() if name.endswith(".examples")}


@pytest.mark.parametrize("search", [{}, {"error_measure": "task", "task": "order"}])
def test_nodes_want_each_block_of_one_type(caplog, search):
    found = TypeExtractor(build_pipelines(parameters_of("base", search=search))).extract_types_from_pipelines()
    assert (found["search"], found["finetune"]) == (SearchSettings, FinetuneParams)
    # Kedro warns of others.
    assert caplog.records == []


def test_latencies_of_another_device_are_taken_in_the_place_of_timing():
    search = build_pipelines(parameters_of("base", search={"cost": "recorded_latency"}))["search"]
    assert "recorded_latencies" in search.inputs()
    assert "search.measure_latency_node" not in {node.name for node in search.nodes}
    assert "recorded_latencies" not in build_pipelines(parameters_of("base"))["search"].inputs()


def test_results_of_earlier_searches_are_asked_for_where_they_are_wanted():
    for how, is_asked in {"none": False, "checked": True, "stated": True}.items():
        search = build_pipelines(parameters_of("base", search={"earlier_candidates": how}))["search"]
        assert ("earlier_candidates" in search.inputs()) == is_asked


def test_a_recorded_table_opens_no_encoder(raw):
    raw["search"] |= {"maximum_point": "somewhere/encoder", "error_source": "table"}
    assert (
        "maximum_point is the encoder somewhere/encoder with error_source table, which opens none; state its shape, or "
        "set error_source to training"
    ) in fault(raw)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"hiden_size": 3}, "`search.maximum_point.hiden_size` is unknown (value 3). Did you mean `hidden_size`?"),
        (7, "`search.maximum_point` (value 7): "),
    ],
)
def test_a_fault_of_the_maximum_point_names_the_parameter_as_it_is_written(raw, value, said):
    raw["search"]["maximum_point"] = raw["search"]["maximum_point"] | value if isinstance(value, dict) else value
    assert said in fault(raw)


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


@pytest.mark.parametrize("asked", [{"method": "weak_supervision"}, {"rivals": ["plain", "weak_supervision"]}])
def test_weak_supervision_without_recorded_labels_is_refused(raw, asked):
    """A diagnostic learns nothing, so that it needs none."""
    raw["finetune"] |= {"tasks": ["library", "superglue_rte", "axb", "order"], **asked}
    raw["finetune"]["teacher"]["recorded"] = {"order": {"file": "labels.jsonl"}}
    assert (
        "method or rivals name weak_supervision, which learns recorded labels, and teacher.recorded has none for "
        "library, superglue_rte; name a file there, or another method"
    ) in fault(raw)
    raw["finetune"]["tasks"] = ["order"]
    assert not check_parameters(raw).finetune.has_encoder_as_teacher


def test_a_table_is_searched_alone_under_the_parameters_as_they_are():
    parameters = parameters_of("base", search={"error_source": "table"})
    # Who runs more is told of the encoders that such a search does not make.
    assert "selected_encoder" not in build_pipelines(parameters)["search"].all_outputs()
    assert "selected_encoder" in build_pipelines(parameters)["__default__"].inputs()


def test_a_warmup_of_all_steps_is_refused(raw):
    raw["finetune"]["training"]["warmup_shares"] = [0.1, 1.0]
    assert "`finetune.training.warmup_shares.1` (value 1.0): Input should be less than 1" in fault(raw)


def test_mistyped_task_lists_the_known_ones(raw):
    raw["finetune"]["tasks"] = ["libary"]
    assert (
        "tasks holds ['libary'] (did you mean library?), which are neither in the table of tasks (cola, sst2, mrpc, "
        "stsb, qqp, mnli, qnli, rte, wnli, ax, boolq, cb, copa, multirc, record, superglue_rte, wic, wsc, axb, axg, "
        "race_middle, race_high, library, order, adjacent, arguments) nor in own_tasks (none)"
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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": [32, 32]}, "`search.space.hidden_size` (value [32, 32]): 32 stands there twice, allowed are"),
        (
            {"hidden_size": [32, 0]},
            "`search.space.hidden_size.1` (value 0): Input should be greater than or equal to 1.",
        ),
        (
            {"num_attention_heads": {"head_size": 12}},
            "`search.space`: hidden_size 16 cannot be split into heads of size 12, allowed are its multiples.",
        ),
        (
            {"intermediate_size": {"times_hidden_size": [2, 0.3]}},
            "`search.space`: intermediate_size is 0.3 times hidden_size 16, which is 4.8; allowed is what gives whole",
        ),
        (
            {"intermediate_size": {"multiples": [2]}},
            "`search.space.intermediate_size.multiples` is unknown (value [2]). Allowed here: times_hidden_size.",
        ),
        (
            {"intermediate_multiples": [2]},
            "`search.space.intermediate_multiples` is unknown (value [2]). Did you mean `intermediate_size`? Allowed "
            "here: num_hidden_layers, num_attention_heads, hidden_size, intermediate_size, without.",
        ),
        (
            {"without": [{"num_hidden_layers": 1}, {"num_hidden_layers": 2, "hidden_size": 64}]},
            "`search.space`: without.1 is {num_hidden_layers: 2, hidden_size: 64}, and no combination of the space has "
            "these sizes; allowed are sizes of the space.",
        ),
        ({"without": [{}]}, "`search.space`: without.0 gives no size; allowed are one or more of num_hidden_layers, "),
        (
            {"without": [{"layers": 1}]},
            "`search.space.without.0.layers` is unknown (value 1). Allowed here: num_hidden_layers, num_attention_",
        ),
        (
            {"without": [{"num_attention_heads": 2}]},
            "`search.space`: without leaves out every candidate that can be built; allowed is what leaves one or more.",
        ),
    ],
)
def test_a_space_that_says_something_else_than_it_means_is_refused(raw, changes, words):
    raw["search"]["space"].update(changes)
    assert words in fault(raw)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([], "`search.space` (value []): Tuple should have at least 1 item"),
        (
            [[2, 4, 96]],
            "`search.space.0` (value [2, 4, 96]): a shape has four sizes: [num_hidden_layers, num_attention_",
        ),
        (
            [[1, 2, 16, 32], [1, 3, 16, 32]],
            "`search.space.1`: hidden_size 16 leaves a remainder of 1 when split over 3 ",
        ),
        ([[1, 2, 16, 32], [1, 2, 0, 32]], "`search.space.1.hidden_size` (value 0): Input should be greater than or"),
        ([[1, 2, 16, 32]] * 2, "(1, 2, 16, 32) stands there twice, allowed are different ones."),
        ([[1, 2, 16, 32], [3, 2, 16, 32]], "maximum_point.num_hidden_layers is 2, below the space's largest 3; the"),
    ],
)
def test_a_list_of_shapes_names_the_one_that_cannot_be_used(raw, shapes, words):
    raw["search"]["space"] = shapes
    assert words in fault(raw)


def test_a_space_of_another_form_takes_the_place_of_that_of_the_environment(tmp_path):
    space = laid_over(tmp_path, "search: {space: [[2, 4, 96, 128], [1, 2, 32, 64]]}").search.space
    assert [str(shape) for shape in space] == ["(2, 4, 96, 128)", "(1, 2, 32, 64)"]
    rules = "search: {space: {num_attention_heads: {head_size: 32}, hidden_size: [64, 96]}}"
    space = laid_over(tmp_path, rules).search.space
    assert (space.num_attention_heads.head_size, space.hidden_size) == (32, (64, 96))
    # Of conf/base, as ever.
    assert (space.num_hidden_layers, space.intermediate_size) == ((2, 3), (128, 256))
    given = laid_over(tmp_path, rules, search={"space": {"intermediate_size": {"times_hidden_size": [2]}}}).search.space
    assert len(enumerate_shapes(given).shapes) == 4


def test_parameters_with_any_space_are_read_again_as_they_were_kept(raw):
    for space in ([[1, 2, 16, 32]], raw["search"]["space"] | {"num_attention_heads": {"head_size": 16}}):
        raw["search"]["space"] = space
        search = check_parameters(raw).search
        assert type(search).from_json(search.to_json()) == search


def test_maximum_point_below_the_space_is_refused(raw):
    raw["search"]["maximum_point"]["num_hidden_layers"] = 1
    assert "maximum_point.num_hidden_layers is 1, below the space's largest 2" in fault(raw)


def test_maximum_point_with_fewer_heads_than_a_candidate_is_refused(raw):
    # Three heads divide no hidden size, so two are the most that a candidate has.
    raw["search"]["maximum_point"]["num_attention_heads"] = 2
    check_parameters(raw)
    raw["search"]["maximum_point"]["num_attention_heads"] = 1
    assert (
        "maximum_point.num_attention_heads is 1, below the space's largest 2; the maximum point must be at least as "
        "large as every candidate"
    ) in fault(raw)


def test_unknown_strategy_lists_the_known_ones(raw):
    raw["search"]["strategy"] = "genetic"
    assert "strategy is `genetic`, allowed are fptas, surrogate, successive_halving, random, exhaustive." in fault(raw)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"always_train": [[1, 2, 16, 32], [2, 2, 16, 32]], "budget": 1},
            "always_train has 2 shapes, and budget is 1, which they are part of; allowed is one that is no smaller.",
        ),
        (
            {"always_train": [[1, 2, 16, 256]]},
            "maximum_point.intermediate_size is 128, below always_train's largest 256; the maximum point must be",
        ),
        ({"always_train": [[1, 2, 16]]}, "`search.always_train.0` (value [1, 2, 16]): a shape has four sizes: ["),
        ({"max_minutes": 0}, "`search.max_minutes` (value 0): Input should be greater than 0"),
        (
            {"min_expected_gain": 0.01, "strategy": "fptas"},
            "min_expected_gain is 0.01 with strategy `fptas`, which expects none; allowed is null, or the strategy "
            "surrogate.",
        ),
        (
            {"error_source": "table", "earlier_candidates": "stated"},
            "earlier_candidates is stated with error_source table, which trains nothing that they could be like; set "
            "it to none, or error_source to training.",
        ),
        (
            {"interval": 2},
            "budget is 4 and interval 2, each of which says how many are trained; allowed is one of them, the other "
            "being null.",
        ),
        ({"budget": None}, "budget and interval are null; allowed is one of them, from which the other follows."),
        ({"budget": None, "interval": 0}, "`search.interval` (value 0): Input should be greater than 0"),
        (
            {"budget": None, "interval": 4, "epsilon": 0.05, "strategy": "fptas"},
            "epsilon is 0.05 and interval 4, which ask for 10 steps, and training.optimization.num_steps is 60; "
            "allowed is that number, or null in the place of one of the two.",
        ),
        (
            {"budget": None, "interval": 4, "epsilon": 0.05},
            "epsilon is 0.05 with strategy `surrogate` and interval 4; it is an input of fptas, beside an interval.",
        ),
        (
            {"epsilon": 0.05, "strategy": "fptas"},
            "epsilon is 0.05 with strategy `fptas` and interval null; it is an input of fptas, beside an interval.",
        ),
        ({"min_expected_gain": 1.0}, "`search.min_expected_gain` (value 1.0): Input should be less than 1"),
    ],
)
def test_what_a_search_can_neither_begin_with_nor_end_by_is_refused(raw, changes, words):
    raw["search"] |= changes
    assert words in fault(raw)


def test_the_environment_of_the_theory_trains_all_by_plain_descent_in_a_box():
    search = parameters_of("theory").search
    for training in (search.training, search.maximum_point_training()):
        optimization = training.optimization
        assert (optimization.optimizer, optimization.max_weight, optimization.weight_decay) == ("sgd", 1.0, 0.0)
        # 1 / (0.004 * 1.414) is 176.8.
        assert (optimization.num_steps, optimization.learning_rate) == (177, 1.0)
    assert (search.strategy, search.start, search.budget, search.trainings(4)) == ("fptas", "random", None, 2)
    # Nobody else does: what was trained before is found again.
    others = parameters_of("base").search.training, parameters_of("paper").search.training
    assert {(each.optimization.optimizer, each.optimization.max_weight) for each in others} == {("adamw", None)}
    assert all("optimizer" not in each.identity()["optimization"] for each in others)
    assert search.training.identity()["optimization"].items() >= {"optimizer": "sgd", "max_weight": 1.0}.items()


def test_steps_and_trainings_follow_from_epsilon_and_interval(raw):
    raw["search"] |= {"strategy": "fptas", "budget": None, "interval": 3, "epsilon": 0.01}
    raw["search"]["training"]["optimization"]["num_steps"] = None
    search = check_parameters(raw).search
    # 1 / (0.01 * 1.732) is 57.7.
    assert search.training.optimization.num_steps == 58
    assert [search.trainings(count) for count in (1, 3, 4, 300)] == [1, 1, 2, 100]
    assert type(search).from_json(search.to_json()) == search
    assert type(search).model_validate(search) == search
    raw["search"]["epsilon"] = None
    assert "`search.training.optimization.num_steps` (value None): Input should be a valid integer" in fault(raw)


def test_unknown_answer_lists_the_known_ones(raw):
    raw["search"]["answer"] = "smallest"
    assert "answer is `smallest`, allowed are largest_w, pareto_front, smallest_error, knee." in fault(raw)


def test_an_unknown_cost_lists_the_known_ones_but_of_a_table_it_names_a_column(raw):
    raw["search"]["cost"] = "joules"
    assert (
        "cost is `joules`, allowed are operations, modelled_latency, measured_latency, exported_latency, "
        "recorded_latency; with error_source table also the name of a column of numbers."
    ) in fault(raw)
    raw["search"]["error_source"] = "table"
    assert check_parameters(raw).search.cost_column == "joules"


def test_unknown_measure_of_the_error_lists_the_known_ones(raw):
    raw["search"]["error_measure"] = "accuracy"
    assert "error_measure is `accuracy`, allowed are error, loss, divergence, distance, task." in fault(raw)


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


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("search: {budget: !!python/object:os.system x}", "line 1: could not determine a constructor for the tag"),
        ("search:\n\tbudget: 1", "line 2: found character that cannot start any token"),
        ("search: {budget: 1}\nsearch: {budget: 2}", "line 2: found duplicate key search"),
        ("- 1\n- 2", "it is a list, and names with values are expected"),
        ("2", "Invalid loaded object type: int"),
        ("~: 2", "Incompatible key type 'NoneType'"),
        ("search: {budget: !!set {a}}", "Value 'set' is not a supported primitive type"),
        ("search: {budget: *twelve}", "line 1: found undefined alias"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_fault(tmp_path, text, why):
    with pytest.raises(ConfigurationError) as caught:
        loader_of(tmp_path, "local", {"local/parameters_mine.yml": text})["parameters"]
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/conf/local/parameters_mine.yml cannot be read: {why}")
    assert said.endswith(" Mend it there; texts with signs such as `:` stand in quotes.")


def test_a_value_that_stands_for_another_which_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        loader_of(tmp_path, "local", {"local/parameters.yml": "search: {budget: '${twelve}'}"})["parameters"]
    assert str(caught.value) == (
        f"`search.budget` of the parameters in {tmp_path}/conf cannot be put together: Interpolation key 'twelve' not "
        "found. Mend it in the file that states it."
    )


def test_a_name_that_is_a_number_is_unknown(raw):
    assert "`1` is unknown (value 2). Allowed here: corpus, search, " in fault(raw | {1: 2})
