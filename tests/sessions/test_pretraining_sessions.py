"""The pretraining stage as a user runs it: other teachers, a cache, a stream, shared by processes."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pandas as pd
import pytest

from bort_kedro.session.nested_runs import PARENT_TAG
from disturbed_encoders import with_trained_head
from project_copy import SECONDS

pytestmark = pytest.mark.session

STAGE = ("--pipelines", "pretrain_distill")
# Open the teacher of the finished run and train the student, nothing else.
DISTILL = (*STAGE, "--to-nodes", "pretrain_distill.distill_student_node")
STATES = "06_models/training_states/pretrain_distill"


@pytest.fixture
def project(smoke, tmp_path):
    """A project that has pretrained once, under its own teacher."""
    return smoke.copied(tmp_path)


def given(**parameters):
    """The words that change parameters of the stage."""
    changes = (f"pretrain_distill.{name.replace('__', '.')}={value}" for name, value in parameters.items())
    return "--params", ",".join(changes)


def pretrain(project, **parameters):
    """Run the stage with changed parameters; what it measured and what it printed."""
    status, output = project.run(*STAGE, *given(**parameters))
    assert status == 0, output
    return measured(project), output


def measured(project):
    return project.read("08_reporting/pretraining_metrics.json")


def history(project):
    """What the student's training told of each step, but for the clock."""
    told = pd.read_csv(project.latest("08_reporting/student_history.csv"))
    return told[["step", "num_tokens", "loss", "masked_lm_loss", "divergence", "learning_rate"]]


def without_states_of_the_student(project):
    for folder in (project.root / "data" / STATES).glob("distilled-*"):
        shutil.rmtree(folder)


def versions(project):
    return {path.name for path in (project.root / "data/06_models/student_encoder").iterdir()}


def test_a_training_tells_its_speed_and_its_losses(project):
    history = pd.read_csv(project.latest("08_reporting/student_history.csv"))
    told = {"validation_loss", "validation_masked_accuracy"}
    told |= {"loss", "masked_lm_loss", "divergence", "masked_accuracy", "learning_rate", "gradient_norm"}
    speed = {"tokens_per_second", "model_flop_utilization", "device_hours", "device_hours_forecast"}
    assert told | speed | {"step", "seconds", "num_tokens"} == set(history.columns)
    assert (history[list(speed)] > 0).all().all()
    assert history["loss"].to_numpy() == pytest.approx(
        (0.1 * history["masked_lm_loss"] + 0.5 * history["divergence"]).to_numpy(), rel=1e-5
    )


def test_a_whole_cache_trains_as_the_live_teacher_and_a_small_one_says_what_it_leaves_out(project):
    live = measured(project)
    whole, _ = pretrain(project, teacher_cache__top_k=600)
    assert whole["teacher_cache"]["relative_error"] == pytest.approx(0, abs=1e-3)
    assert whole["student"]["loss"] == pytest.approx(live["student"]["loss"], abs=0.01)
    small, output = pretrain(project, teacher_cache__top_k=4, teacher_cache__num_epochs=2)
    assert 0 < small["teacher_cache"]["divergence_with_cache"] < small["teacher_cache"]["divergence"]
    assert "The teacher cache will take" in output
    files = list((project.root / "data/06_models/teacher_cache").rglob("*.*"))
    assert files


def test_a_student_begins_with_layers_of_its_teacher_or_as_drawn(project):
    inherited = measured(project)
    drawn, _ = pretrain(project, student_start__source="random")
    assert drawn["student"]["loss"] != inherited["student"]["loss"]
    # Both start so, and differ in the teacher alone.
    assert drawn["undistilled"]["loss"] != inherited["undistilled"]["loss"]
    assert drawn["twin_lacks"] == inherited["twin_lacks"] == "distillation"


def test_two_processes_started_by_the_node_train_as_one_does(project):
    one = history(project)
    without_states_of_the_student(project)
    status, output = project.run_typed(*DISTILL, *given(launch__num_processes=2))
    assert status == 0, output
    pd.testing.assert_frame_equal(history(project), one, rtol=2e-3)


def test_two_processes_of_a_launcher_train_as_one_does_and_save_once(project):
    one, before = history(project), versions(project)
    without_states_of_the_student(project)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "bort_kedro"]
    done = subprocess.run(
        [sys.executable, *words, "--env", "smoke", *DISTILL],
        cwd=project.root,
        env=project.environment | {"PYTHONPATH": str(project.root / "src")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(versions(project) - before) == 1
    # One run of both processes, and below it those of the teacher, which is found, and of the student.
    runs = [run.data.tags for run in project.tracked_runs()]
    assert [tags["mlflow.runName"] for tags in runs if PARENT_TAG in tags] == ["student", "teacher"]
    assert len([tags for tags in runs if PARENT_TAG not in tags]) == 1
    pd.testing.assert_frame_equal(history(project), one, rtol=2e-3)


def test_a_stream_trains_without_the_documents_held_out(project):
    documents = pd.read_parquet(project.latest("02_intermediate/corpus_documents.parquet"))
    folder = project.root / "data" / "01_raw" / "text_stream"
    folder.mkdir(parents=True)
    documents[["text"]].to_json(folder / "documents.jsonl", orient="records", lines=True)
    metrics, _ = pretrain(project, training_data="stream")
    assert metrics["student"]["accuracy"] > 0


def test_a_roberta_of_a_folder_is_the_maximum_point_of_students_that_take_its_trimmed_tokenizer(fresh, tiny_tokenizer):
    from transformers import RobertaConfig, RobertaForMaskedLM

    project = fresh
    teacher = with_trained_head(
        RobertaForMaskedLM(
            RobertaConfig(
                vocab_size=len(tiny_tokenizer),
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                max_position_embeddings=66,
            )
        )
    )
    teacher.save_pretrained(project.root / "teacher")
    tiny_tokenizer.save_pretrained(project.root / "teacher")
    # Seen from the project, not from where the command is typed.
    teacher_name = "search.maximum_point=teacher,search.space=null,search.start=random"
    project.typed_in = project.root / "conf"
    status, output = project.run("--pipelines", "search", "--params", f"{teacher_name},corpus.tokenizer.min_count=1000")
    assert status == 0, output
    vocabulary = project.read("08_reporting/vocabulary_report.json")
    status, output = project.run(*STAGE, "--params", f"{teacher_name},corpus.tokenizer.min_count=1000")
    assert status == 0, output
    metrics = measured(project)
    trimming = metrics["trimming"]
    assert trimming["ids_kept"] + trimming["ids_dropped"] == len(tiny_tokenizer) == 300
    assert trimming["ids_dropped"] > 0
    assert 0 < trimming["teacher_mass_on_dropped"] < 1
    assert metrics["teacher"]["seconds"] == 0
    assert vocabulary
    assert not (project.root / "data/08_reporting/teacher_history.csv").exists()
    point = project.read("04_feature/maximum_point.json")
    assert (point["hidden_size"], point["seconds"], point["num_tokens"]) == (32, 0, 0)
    assert 0 < point["error"] <= 1


def test_an_encoder_without_a_head_is_searched_and_taught_by_its_layers_and_all_pages_tell_of_the_distance(
    fresh, tiny_tokenizer
):
    from transformers import BertConfig, BertModel

    project = fresh
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    encoder = BertModel(BertConfig(vocab_size=len(tiny_tokenizer), max_position_embeddings=64, **sizes))
    encoder.save_pretrained(project.root / "encoder")
    tiny_tokenizer.save_pretrained(project.root / "encoder")
    named = ["search.maximum_point=encoder", "search.space=null", "finetune.method=plain", "finetune.tasks=[library]"]
    status, output = project.run("--pipelines", "search", "--params", ",".join(named))
    assert status == 1
    assert "The encoder `encoder` has no masked-LM head, so it has no loss to measure candidates against." in output
    kinds = [f"{stage}.distillation.{key}" for stage in ("search", "pretrain_distill") for key in KINDS]
    status, output = project.run("--params", ",".join([*named, *kinds, "search.error_measure=distance"]))
    assert status == 0, output
    metrics = measured(project)
    assert metrics["student"]["distance"] < metrics["undistilled"]["distance"]
    assert metrics["student"]["accuracy"] is None
    report = project.latest("08_reporting/report.md").read_text("utf-8")
    assert "nats from T, where T's own shape comes back to" in report
    assert "nats nearer the teacher" in report


# No token is predicted.
KINDS = (
    *("masked_lm_weight=0", "logits.weight=0"),
    *("relations.weight=1", "relations.num_heads=2", "hidden_states.weight=1"),
)
