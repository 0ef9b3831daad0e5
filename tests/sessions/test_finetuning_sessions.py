"""Fine-tuning as a user runs it: official files, own files, killed and gone on with, refused."""

from __future__ import annotations

import json
import random
import signal

import pandas as pd
import pytest
import yaml

from bort_kedro.tasks.table import TASKS
from executed_notebooks import executed
from project_copy import SECONDS
from toy_tasks import examples_of

pytestmark = pytest.mark.session

FINETUNE = ("--pipelines", "finetune")
STATES = "06_models/training_states/finetune"
RIVALS = ["plain", "distilled", "random_augmentation"]
OFFICIAL = ["cola", "rte", "stsb", "copa", "mnli", "ax", "multirc", "wsc"]
ENTAILMENT = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")
PARSES = "promptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse"


@pytest.fixture
def fresh(smoke, tmp_path):
    return pretrained(smoke, tmp_path)


def pretrained(smoke, root):
    """A project that has a student and a teacher and has fine-tuned nothing."""
    return smoke.copied(root, *(f"06_models/{name}" for name in ("student_encoder", "teacher_encoder")))


def configure(project, **finetune):
    """Change parameters of the smoke environment; blocks are merged."""
    path = project.root / "conf" / "smoke" / "parameters_finetune.yml"
    parameters = yaml.safe_load(path.read_text())
    for name, value in finetune.items():
        block = parameters["finetune"].get(name)
        parameters["finetune"][name] = block | value if isinstance(block, dict) and value else value
    path.write_text(yaml.safe_dump(parameters))


def finetune(project, *words):
    status, output = project.run(*FINETUNE, *words)
    assert status == 0, output
    return output


def refused(project, *words):
    """What a run says that cannot go on."""
    status, output = project.run(*FINETUNE, *words)
    assert status == 1, output
    assert "Traceback" not in output
    return output


def texts(name):
    """A part of a file, on one line of a TSV or as JSON."""
    return [f"the {name} sailors rode the {place} waves home" for place in range(8)]


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content), "utf-8"
    )


def tsv(header, rows):
    return "".join("\t".join(map(str, row)) + "\n" for row in [header.split("\t"), *rows])


def write_cola(folder):
    lines = "".join(f"gj04\t{place % 2}\t\t{text}\n" for place, text in enumerate(texts("cola")))
    write(folder, "CoLA/train.tsv", lines)
    write(folder, "CoLA/dev.tsv", lines.replace("home", "back"))
    write(folder, "CoLA/test.tsv", tsv("index\tsentence", enumerate(texts("hidden"))))


def write_glue(folder):
    """CoLA, RTE, STS-B, MNLI and its diagnostic, as their archives have them."""
    write_cola(folder)
    pairs = list(zip(texts("first"), texts("second"), strict=True))
    source = ["main", "file", 2012, 1, "a", "b"]
    for split in ("train", "dev", "test"):
        is_test = split == "test"
        rte = [[place, *pair, ENTAILMENT[place % 2]][: 3 if is_test else 4] for place, pair in enumerate(pairs)]
        write(folder, f"RTE/{split}.tsv", tsv("index\tsentence1\tsentence2" + "\tlabel" * (not is_test), rte))
        stsb = [[place, *source, *pair, place / 2][: 9 if is_test else 10] for place, pair in enumerate(pairs)]
        header = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
        write(folder, f"STS-B/{split}.tsv", tsv(header + "\tscore" * (not is_test), stsb))
        for part in ("matched", "mismatched"):
            name = "MNLI/train.tsv" if split == "train" else f"MNLI/{split}_{part}.tsv"
            mnli = [
                [place, *"abcdefg", *pair, *([] if is_test else [NLI[place % 3]])] for place, pair in enumerate(pairs)
            ]
            header = f"index\t{PARSES}\tsentence1\tsentence2" + "\tgold_label" * (not is_test)
            write(folder, name, tsv(header, mnli))
    labelled = [["x", "y", *pair, NLI[place % 3]] for place, pair in enumerate(pairs)]
    write(folder, "AX/diagnostic-full.tsv", tsv("Lexical Semantics\tDomain\tPremise\tHypothesis\tLabel", labelled))


def write_superglue(folder):
    """COPA, MultiRC and WSC; the test files have no labels."""
    for name, split in (("train", "train"), ("val", "dev"), ("test", "test")):
        copa, multirc, wsc = [], [], []
        for place, text in enumerate(texts(split)):
            label = {} if split == "test" else {"label": place % 2}
            choices = {"choice1": "they slept", "choice2": "they sang", "question": ("cause", "effect")[place % 2]}
            copa.append({"premise": text, **choices, "idx": place, **label})
            answers = [
                {"text": word, "idx": 2 * place + number} | ({} if split == "test" else {"label": number})
                for number, word in enumerate(("boats", "waves"))
            ]
            questions = [{"question": "What was ridden?", "answers": answers, "idx": place}]
            multirc.append({"idx": place, "passage": {"text": text, "questions": questions}})
            spans = {"span1_text": "sailors", "span1_index": 2, "span2_text": "waves", "span2_index": 6}
            is_same = {} if split == "test" else {"label": bool(place % 2)}
            wsc.append({"text": text, "target": spans, "idx": place, **is_same})
        for title, rows in (("COPA", copa), ("MultiRC", multirc), ("WSC", wsc)):
            write(folder, f"superglue/{title}/{name}.jsonl", rows)


# Rows of train, of both halves of dev and of the official test.
SIZES = {
    "cola": (8, 4, 4, 8),
    "rte": (8, 4, 4, 8),
    "stsb": (8, 4, 4, 8),
    "copa": (16, 8, 8, 16),
    # All of the mismatched part is in test.
    "mnli": (8, 4, 12, 16),
    "multirc": (16, 8, 8, 16),
    "wsc": (8, 4, 4, 8),
}


def test_official_files_of_every_form_go_from_the_archive_to_predictions(fresh):
    folder = fresh.root / "data" / "01_raw" / "tasks"
    write_glue(folder)
    write_superglue(folder)
    configure(fresh, tasks=OFFICIAL, training={"learning_rates": [1e-3]})
    output = finetune(fresh)
    assert "UserWarning" not in output
    for task in OFFICIAL:
        predictions = pd.read_csv(fresh.latest(f"07_model_output/predictions/{task}.csv"), dtype=str)
        report = fresh.read(f"07_model_output/finetuning_report/{task}.json")
        reading = fresh.read(f"08_reporting/examples_report/{task}.json")
        counts = predictions["split"].value_counts().to_dict()
        assert predictions["prediction"].notna().all()
        assert report["task"] == task
        if task == "ax":
            assert report["method"] == "diagnostic"
            assert counts == {"test": 8}
            assert reading["test"]["source"] == "official test"
            continue
        train, dev, test, submission = SIZES[task]
        assert counts == {"dev": dev, "test": test, "submission": submission}
        assert report["num_examples"] == {"train": train, **counts}
        assert report["method"] in ("plain", "agora")
        assert reading["dev"]["source"].startswith("half of the official dev")
        assert reading["test"]["source"].startswith("the other half of the official dev")
        assert reading["submission"]["source"] == "official test, whose labels are hidden"
        labels = set(predictions["prediction"])
        assert task == "stsb" or labels <= set(TASKS[task].labels)
        assert (fresh.latest(f"06_models/finetuned/{task}") / "model.safetensors").exists()
        teacher = fresh.read(f"06_models/finetuned_teachers/{task}_report.json")["check"]
        assert (report["method"] == "agora") is teacher["is_over"]
    sources = fresh.read("08_reporting/examples_report/mnli.json")
    assert sources["dev"]["source"] == "half of the official dev (matched), stratified by label, seed 0"
    assert sources["test"]["source"] == (
        "the other half of the official dev (matched), stratified by label, seed 0; and all of the official dev "
        "(mismatched)"
    )
    stsb = fresh.read("08_reporting/examples_report/stsb.json")
    assert stsb["dev"]["source"] == "half of the official dev, stratified by tenth of the label, seed 0"


def write_own(project, **options):
    """Files of a task `mine` that a word of each text decides, and their place in the configuration."""
    folder = project.root / "data" / "01_raw" / "own"
    folder.mkdir(parents=True)
    for split, rows in examples_of(**options).groupby("split"):
        rows[["text", "label"]].to_csv(folder / f"{split}.csv", index=False)
    files = {split: f"data/01_raw/own/{split}.csv" for split in ("train", "dev", "test")}
    return {"mine": {"files": files, "columns": {"text": "text", "label": "label"}}}


def separable(project):
    """A task that the teacher learns well enough to teach."""
    configure(
        project,
        tasks=["mine"],
        own_tasks=write_own(project, num_train=96, num_dev=32, num_test=32),
        rivals=RIVALS,
        training={"num_epochs": 2},
        teacher={"training": {**QUICK_TEACHER, "learning_rates": [3e-3], "num_epochs": 10}},
    )


QUICK_TEACHER = {"max_tokens": 32, "batch_tokens": [256], "num_threads": 1}


@pytest.fixture(scope="module")
def taught(smoke, tmp_path_factory):
    """A project that has fine-tuned a task by Agora, and by its rivals, in peace."""
    copy = pretrained(smoke, tmp_path_factory.mktemp("taught"))
    separable(copy)
    status, output = copy.run_typed(*FINETUNE)
    assert status == 0, output
    return copy


def results(project):
    """Predictions as text, and reports without seconds."""
    names = ("mine", "mine_teacher", "mine_rivals")
    predictions = [project.latest(f"07_model_output/predictions/{name}.csv").read_text() for name in names]
    reports = [
        project.read("07_model_output/finetuning_report/mine.json"),
        project.read("08_reporting/finetuning_report/mine_rivals.json"),
        project.read("06_models/finetuned_teachers/mine_report.json"),
    ]
    return predictions, untimed(reports)


def untimed(report):
    """Without seconds, wherever they stand."""
    if isinstance(report, dict):
        return {name: untimed(value) for name, value in report.items() if name != "seconds"}
    return [untimed(value) for value in report] if isinstance(report, list) else report


def test_a_strong_teacher_teaches_by_agora_beside_every_rival(taught):
    assert taught.read("06_models/finetuned_teachers/mine_report.json")["check"]["is_over"]
    report = taught.read("07_model_output/finetuning_report/mine.json")
    rivals = taught.read("08_reporting/finetuning_report/mine_rivals.json")
    assert report["method"] == "agora"
    assert report["rounds"][1]["points"]["num_kept"] > 0
    assert list(rivals) == RIVALS
    for rival in rivals.values():
        assert (rival["num_trials"], rival["num_steps"]) == (report["num_trials"], report["num_steps"])
    answers = pd.read_csv(taught.latest("07_model_output/predictions/mine_rivals.csv"))
    assert answers.groupby(["method", "split"]).size().to_dict() == {
        (method, split): 32 for method in RIVALS for split in ("dev", "test")
    }


@pytest.mark.nightly
def test_the_notebook_of_agora_shows_the_points_that_were_made(taught):
    asked = """{
        "task": task,
        "rounds": rounds.to_dict("list"),
        "sample": sample[["round", "source", "text", "answer"]].to_dict("list"),
        "counts": counts.to_dict("index"),
        "sureness": sureness.to_dict(),
        "answers": answers.to_dict("index"),
    }"""
    found = executed(taught, "look_into_agora", asked)
    report = taught.read("07_model_output/finetuning_report/mine.json")
    points = pd.read_csv(taught.latest("07_model_output/points/mine.csv"))
    rounds = [each["plan"]["number"] for each in report["rounds"]]
    assert (found["task"], found["rounds"]["round"]) == ("mine", rounds)
    best = [max(trial["dev_score"] for trial in each["trials"]) for each in report["rounds"]]
    assert found["rounds"]["best on dev"] == best
    assert max(best) == report["best"]["dev_score"]
    kept = [each["points"]["num_kept"] if each["points"] else 0 for each in report["rounds"]]
    assert found["rounds"]["points"] == kept
    assert [int((points["round"] == number).sum()) for number in rounds] == kept
    assert sum(kept) > 0
    # What each round shows of its own is the first five.
    assert found["sample"]["text"] == [
        text for number in rounds for text in points[points["round"] == number]["text"].head(5)
    ]
    assert sum(sum(row.values()) for row in found["counts"].values()) == sum(kept)
    for name, rows in points.groupby("made_by"):
        assert found["sureness"][name] == pytest.approx(rows.filter(like="probability_").max(axis=1).mean())
    for number, rows in points.groupby("round"):
        assert found["answers"][str(number)] == {
            label: int((rows["answer"] == label).sum()) for label in found["answers"][str(number)]
        }


def test_trials_are_tracked_below_their_task_and_tasks_below_the_run(taught):
    runs = taught.tracked_runs()
    parents = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in runs}
    (kedro_run,) = [run for run in runs if parents[run.info.run_id] is None]
    (task_run,) = [run for run in runs if parents[run.info.run_id] == kedro_run.info.run_id]
    trials = [run for run in runs if parents[run.info.run_id] == task_run.info.run_id]
    assert len(runs) == 2 + len(trials)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert task_run.data.tags["task"] == "mine"
    report = taught.read("07_model_output/finetuning_report/mine.json")
    by_method = pd.Series([run.data.tags["method"] for run in trials]).value_counts().to_dict()
    # Of every method one trial is that which learns dev too.
    expected = {"teacher": 1, **{f"teacher without fold {fold}": 1 for fold in (1, 2, 3, 4)}}
    for method in ("agora", *RIVALS):
        expected |= {method: report["num_trials"] - 1, f"{method} with dev": 1}
    assert by_method == expected
    scores = [run.data.metrics["dev_score"] for run in trials if run.data.tags["method"] == "agora"]
    assert max(scores) == pytest.approx(report["best"]["dev_score"])


def num_states(project):
    return sum(1 for _ in (project.root / "data" / STATES).glob("*/step-*.safetensors"))


def trainings(project):
    """Names of all trainings and draws of points, each with a hash of what it depends on."""
    return {folder.name for folder in (project.root / "data" / STATES).iterdir()}


def test_a_fine_tuning_killed_again_and_again_ends_where_one_in_peace_does(taught, smoke, tmp_path):
    expected = results(taught)
    total = num_states(taught)
    project = pretrained(smoke, tmp_path)
    separable(project)
    for count in sorted(random.Random(2).sample(range(1, 3 * total // 4), 2)):
        process = project.start(*FINETUNE)
        project.wait(process, lambda count=count: num_states(project) >= count, f"{count} states")
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=SECONDS)
        assert process.returncode == -signal.SIGKILL
    finetune(project)
    assert results(project) == expected
    assert trainings(project) == trainings(taught)


def test_a_weak_teacher_that_is_to_stop_the_run_says_what_can_be_done(fresh):
    # Half of the labels of dev are wrong, so that no teacher can be over its bar.
    own = write_own(fresh, num_train=16, num_dev=24, num_test=8, flipped=0.5)
    configure(fresh, tasks=["mine"], own_tasks=own, weak_teacher="stop")
    output = refused(fresh)
    assert "Task `mine`: the teacher reaches " in output
    assert (
        "on dev and must be over 66.7% by that standard error to label new points (chance 50.0%), and ahead of the "
        "best constant answer, 50.0%, by "
    ) in output.replace("\n", " ")
    assert (
        "the standard error of the lead. Give it more examples or "
        "epochs (params:finetune.teacher.training), name a stronger one (params:finetune.teacher.encoder), or set "
        "params:finetune.weak_teacher to `plain`, which fine-tunes such tasks without Agora."
    ) in output.replace("\n", " ")
    assert not (fresh.root / "data" / "07_model_output").exists()


def test_a_malformed_row_is_refused_before_the_first_node_or_left_out_and_counted(fresh):
    folder = fresh.root / "data" / "01_raw" / "tasks"
    write_cola(folder)
    with (folder / "CoLA" / "train.tsv").open("a") as file:
        file.write("gj04\t7\t\tThis has a label that there is not.\n")
    configure(fresh, tasks=["cola"])
    fault = "data/01_raw/tasks/CoLA/train.tsv, line 9, column `label`: '7', expected one of '0', '1'"
    assert fault in refused(fresh).replace("\n", " ")
    assert not (fresh.root / "data" / "05_model_input").exists()
    assert not (fresh.root / "data" / "06_models" / "training_states").exists()
    finetune(fresh, "--nodes", "tasks.cola.read_examples_node", "--params", "finetune.skip_bad_rows=true")
    report = fresh.read("08_reporting/examples_report/cola.json")
    assert list(report["num_rows_skipped"].values()) == [1]
    (told,) = report["first_faults"]
    assert told.endswith(fault)
    assert report["train"]["num_rows"] == 8
