"""The forecast as `kedro plan` and `kedro run` tell it, of what the catalog holds."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset

from bort_kedro import __version__
from bort_kedro.datasets.text_sources import TextFilesDataset
from bort_kedro.datasets.token_blocks import TokenBlocksDataset
from bort_kedro.datasets.training_states import TrainingStatesDataset
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.errors import ConfigurationError, StorageError
from bort_kedro.forecast.limits import Room
from bort_kedro.pipeline_registry import build_pipelines
from bort_kedro.session import plan as planning
from bort_kedro.session.plan import PlanHook, plan_of, print_plan
from bort_kedro.text.tokens import TokenBlocks, Tokens, Vocabulary
from bort_kedro.training.devices import named_data_sheet
from bort_kedro.training.saved_state import SavedState
from bort_kedro.training.threads import resolve_precision
from project_parameters import parameters, raw_parameters

SMOKE = parameters("smoke")
V100 = named_data_sheet("V100")
CHOSEN = BertShape(2, 2, 32, 32)


@pytest.fixture
def catalog(tmp_path):
    """A corpus of 700 ids, a chosen shape, 30 examples to learn, and no training."""
    vocabulary = Vocabulary(700, mask_id=4, pad_id=1, special_ids=(0, 1, 2, 3, 4), fingerprint="made up")
    blocks = TokenBlocks.from_blocks([[0, *range(5, 35), 2]] * 10, vocabulary_size=700)
    tokens = TokenBlocksDataset(str(tmp_path / "tokens"))
    tokens.save(Tokens(vocabulary, dict.fromkeys(("train", "validation", "test"), blocks)))
    examples = pd.DataFrame(
        {"split": ["train"] * 30 + ["dev"] * 10, "group": np.arange(40), "text": "four words here too"}
    ).assign(text_pair=None)
    return DataCatalog(
        {
            "parameters": MemoryDataset(raw_parameters("smoke")),
            "tokens": tokens,
            "training_states": TrainingStatesDataset(str(tmp_path / "states")),
            "selected_shape": MemoryDataset(CHOSEN.to_row()),
            "library.examples": MemoryDataset(examples),
        }
    )


def test_rows_of_a_file_of_recorded_labels_are_counted(catalog, tmp_path):
    labels = tmp_path / "labels.jsonl"
    steps = {}
    # The ten of dev have to be among them; thirty more are as many as there are of train.
    for num_rows in (10, 40):
        labels.write_text("{}\n" * num_rows)
        recorded = {"library": {"file": str(labels)}}
        finetune = {"tasks": ["library"], "method": "weak_supervision", "ends_with_dev": False}
        asked = parameters("smoke", finetune=finetune | {"teacher": {"recorded": recorded}})
        found = plan_of(asked, build_pipelines(asked)["finetune"], catalog, data=tmp_path, sheet=V100)
        (work,) = (work for work in found.works if work.stage == "finetune")
        steps[num_rows] = work.num_steps
    assert steps[40] == pytest.approx(2 * steps[10], abs=1)


def plan(catalog, tmp_path, pipeline="__default__", **options):
    return plan_of(SMOKE, build_pipelines(SMOKE)[pipeline], catalog, data=tmp_path, **{"sheet": V100} | options)


def work(found, node):
    return next(each for each in found.works if each.node == node)


def test_facts_of_the_catalog_take_the_place_of_assumptions(catalog, tmp_path):
    found = plan(catalog, tmp_path, "pretrain_distill")
    student = work(found, "pretrain_distill.distill_student_node").step.encoder
    assert (student.shape, student.vocabulary_size) == (CHOSEN, 700)
    assert found.assumptions == []
    # 30 examples of four words, which are twelve tokens here, in batches of 512.
    tuned = work(plan(catalog, tmp_path, "finetune"), "finetune.library.fine_tune_teacher_node")
    assert tuned.step.length == 12
    assert tuned.passes[0].tokens == tuned.num_looks * 10 * 12


def test_finished_trainings_are_found_by_the_headers_of_their_states(catalog, tmp_path):
    states, manifest = catalog.load("training_states"), catalog.get("tokens").manifest()
    maximum = work(plan(catalog, tmp_path), "search.train_maximum_point_node")
    identity = {
        "settings": SMOKE.search.maximum_point_training().identity(),
        "shape": maximum.step.encoder.shape.to_row(),
        "tokens": TokenBlocksDataset.fingerprint(manifest),
        "versions": {"bort_kedro": __version__, "torch": torch.__version__},
    }
    store = states.of("search/maximum-point-x", identity)
    weights = {"model.x": torch.zeros(2)}
    store.put(SavedState(30, weights, {"has_ended": False}))
    assert work(plan(catalog, tmp_path), maximum.node).num_finished == 0
    store.put(SavedState(60, weights, {"has_ended": True}))
    done = work(plan(catalog, tmp_path), maximum.node)
    assert (maximum.num_finished, done.num_finished, done.trainings_left) == (0, 1, 0)
    assert catalog.load("tokens").fingerprint == identity["tokens"]
    # One that cannot be read is none.
    next((tmp_path / "states/search").glob("*/step-000000060*")).write_bytes(b"torn")
    assert work(plan(catalog, tmp_path), maximum.node).num_finished == 0


@pytest.mark.parametrize("other", ["versions", "settings"])
def test_tokens_of_another_corpus_count_for_nothing_where_the_run_replaces_them(catalog, tmp_path, other):
    (tmp_path / "mine.txt").write_text("Some text.", "utf-8")
    catalog["raw_corpus"] = TextFilesDataset(paths=[str(tmp_path / "*.txt")])
    made = {"versions": {"mine.txt": "10 bytes"}, "settings": SMOKE.corpus.model_dump(mode="json")}
    catalog["corpus.corpus_manifest"] = MemoryDataset(made)
    assert plan(catalog, tmp_path).assumptions == []
    catalog["corpus.corpus_manifest"] = MemoryDataset(made | {other: {"changed": "since"}})
    found = plan(catalog, tmp_path)
    assert found.assumptions == [
        "Other text, or other params:corpus, than the tokens that are there were made of: sequences count as full, "
        "tokens of tasks are guessed from words, and what scores trainings on held-out text is not counted."
    ]
    # Not the 700 of the tokens that are there, which are not made anew by the pretraining alone.
    student = "pretrain_distill.distill_student_node"
    assert work(found, student).step.encoder.vocabulary_size == SMOKE.corpus.tokenizer.vocabulary_size == 600
    assert work(plan(catalog, tmp_path, "pretrain_distill"), student).step.encoder.vocabulary_size == 700


def test_a_table_has_a_row_for_each_kind_of_training_and_their_sum(catalog, tmp_path):
    found = plan(catalog, tmp_path, "pretrain_distill")
    *rows, whole = found.rows()
    assert [row[1] for row in rows] == [
        "the teacher (2, 4, 64, 128)",
        "the student (2, 2, 32, 32) (as the last search chose it)",
        "its twin, to compare",
    ]
    assert [row[2:6] for row in rows] == [("1", "–", "40", "20.5 k")] * 3
    assert whole[5] == "61.4 k"
    assert found.notes()[0].startswith("Times are those on V100, assumed to reach 0.3 of the peak of its data sheet. ")
    assert found.short()[0].startswith("pretrain_distill: 3 trainings, 61.4 k tokens, ")


def test_what_may_end_early_is_said_with_the_least_that_it_takes(catalog, tmp_path):
    found = plan(catalog, tmp_path, "finetune")
    tuned = work(found, "finetune.library.fine_tune_student_node")
    # Of Agora at the least its first round, and a training that learns dev too.
    assert (tuned.num_trainings, tuned.least.num_trainings) == (5, 3)
    assert found.notes()[0].startswith(
        "≤ means at most: if all that can end early does so as soon as it can, the run takes "
    )
    assert " at the least, " in found.short()[0]


def test_a_fine_tuning_that_is_repeated_finds_the_trials_of_its_last_run(catalog, tmp_path):
    states = catalog.load("training_states")
    student, teacher = SMOKE.finetune.training, SMOKE.finetune.teacher.training
    trials = [
        ("teacher", teacher, teacher.learning_rates[0]),
        *(("student", student, each) for each in student.learning_rates),
    ]
    for encoder, settings, rate in trials:
        optimization = {
            "num_steps": 4,
            "learning_rate": rate,
            "weight_decay": settings.weight_decays[0],
            "warmup_share": settings.warmup_shares[0],
            "mixed_precision": resolve_precision(settings.mixed_precision),
            **settings.model_dump(include={"adam_beta2", "adam_epsilon", "max_gradient_norm"}),
        }
        identity = {
            "encoder": encoder,
            "optimization": optimization,
            "batch_tokens": settings.batch_tokens[0],
            "patience_after_warmup": settings.patience,
            "versions": {"bort_kedro": __version__, "torch": torch.__version__},
            **settings.model_dump(include={"looks_per_epoch", "class_weights", "dropout", "num_threads"}),
        }
        states.of("finetune/library", identity).put(SavedState(4, {}, {"has_ended": True}))
    catalog["finetune.library.finetuning_report"] = MemoryDataset({"num_trials": 2})
    catalog["finetune.library.rivals_report"] = MemoryDataset({})
    found = plan(catalog, tmp_path, "finetune", sheet=None)
    tuned = work(found, "finetune.library.fine_tune_student_node")
    assert (tuned.num_trainings, tuned.num_finished, tuned.is_limit) == (2, 2, False)
    assert "finetune.library.fine_tune_rivals_node" not in [each.node for each in found.works]


def run(catalog, tmp_path, pipeline="pretrain_distill"):
    PlanHook().before_pipeline_run({"project_path": str(tmp_path)}, build_pipelines(SMOKE)[pipeline], catalog)


def test_a_run_says_its_plan_before_its_first_node(catalog, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run(catalog, tmp_path)
    assert "What the trainings of this run take" in caplog.text
    assert "pretrain_distill: 3 trainings, 61.4 k tokens" in caplog.text


def test_a_run_that_trains_nothing_says_nothing(catalog, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run(catalog, tmp_path, "corpus")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("room", "error", "text"),
    [
        (Room(1000, is_shared=True), ConfigurationError, "pretrain_distill: a step of the teacher .* of memory"),
        (Room(10**12, is_shared=True, disk_bytes=1000), StorageError, "whose disk has 0.00 GB free"),
    ],
    ids=["memory", "disk"],
)
def test_a_run_that_cannot_fit_is_refused(catalog, tmp_path, monkeypatch, room, error, text):
    monkeypatch.setattr(planning, "_room", lambda data, sheet: replace(room, disk=data))
    with pytest.raises(error, match=text):
        run(catalog, tmp_path)


def test_an_encoder_that_is_opened_is_known_by_its_folder_or_its_name(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps(CHOSEN.to_row() | {"vocab_size": 99, "max_position_embeddings": 64, "model_type": "bert"})
    )
    found = planning._encoder(str(tmp_path))
    assert (found.shape, found.vocabulary_size, found.max_positions) == (CHOSEN, 99, 64)
    assert planning._encoder("FacebookAI/roberta-large").shape == BertShape(24, 16, 1024, 4096)
    assert planning._encoder("nobody/nothing") is None
    assert planning._encoder("no such/folder/at all") is None


@pytest.mark.parametrize("shape", ["4,8,1024", "4,8,1024,x"])
def test_a_shape_that_is_none_is_refused(shape):
    with pytest.raises(ConfigurationError, match=rf"`--shape` is `{shape}`, allowed are the four sizes"):
        print_plan({}, device=None, shape=shape)
