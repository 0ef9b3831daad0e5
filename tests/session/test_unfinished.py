"""What is said of a run that does not end: what it leaves, and the command that goes on."""

import errno
import os
from types import SimpleNamespace

import pytest
import torch
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from bort_kedro.cli import cli
from bort_kedro.datasets.atomic import AtomicJSONDataset
from bort_kedro.datasets.training_states import TrainingStatesDataset
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.errors import FailedTrainingError, TaskError
from bort_kedro.session.runners import RunnerHook
from bort_kedro.session.unfinished import UnfinishedHook
from bort_kedro.training.saved_state import SavedState

SHAPE = BertShape(2, 4, 96, 128)
RUN = ["run", "--env", "smoke", "--params", "search.budget=4"]
COMMAND = "kedro run --env smoke --params search.budget=4"
DIVERGED = FailedTrainingError("the student (2, 4, 96, 128)", "the loss is nan at step 401", "Lower learning_rate.")
TRACEBACK_HINT = "(Set BORT_KEDRO_TRACEBACK=1 to see where it was raised.)"


def put(states, name, num_steps, *steps, **record):
    optimization = {"optimization": {"num_steps": num_steps}}
    identity = optimization if name.startswith("finetune") else {"settings": optimization, "shape": SHAPE.to_row()}
    for step in steps:
        states.of(name, identity).put(SavedState(step, {"model.bias": torch.zeros(1)}, record))


def nothing(*inputs):
    return 0


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, caplog):
    """Type `kedro run` where a node does as it is told, and read what is printed and how it ended."""
    monkeypatch.setattr("sys.argv", ["kedro", *RUN])
    monkeypatch.setattr("shutil.which", lambda name: name)
    states = TrainingStatesDataset(str(tmp_path / "states"))
    put(states.load(), "pretrain_distill/student-before", 100, 40)
    (old,) = tmp_path.glob("states/*/*/step-*")
    os.utime(old, (0, 0))

    def typed(last, **entries):
        nodes = [
            Node(nothing, "raw", "text", name="split_node", namespace="corpus"),
            Node(nothing, "text", "shape", name="select_node", namespace="search"),
            Node(last, ["shape", "training_states"], "student", name="train_node", namespace="pretrain_distill"),
        ]
        pipeline = Pipeline(nodes)
        student = AtomicJSONDataset(filepath=str(tmp_path / "student.json"))
        catalog = DataCatalog({"raw": MemoryDataset(0), "training_states": states, "student": student, **entries})
        hook, hooks = UnfinishedHook(), _create_hook_manager()
        hooks.register(hook)
        monkeypatch.setattr("bort_kedro.cli.settings", SimpleNamespace(HOOKS=(hook,)))

        def run_them(**options):
            RunnerHook().before_pipeline_run({"runner": "SequentialRunner"}, pipeline)
            hook.after_context_created()
            hook.before_pipeline_run(pipeline=pipeline, catalog=catalog)
            SequentialRunner().run(pipeline, catalog, hooks)
            hook.after_pipeline_run()

        monkeypatch.setattr("bort_kedro.cli._KEDRO_RUN", run_them)
        with pytest.raises((SystemExit, ZeroDivisionError)) as ended:
            cli.main(RUN)
        # Kedro's own advice.
        assert "--from-nodes" not in caplog.text
        return ended.value, "".join(capsys.readouterr())

    return typed


def raising(error, *trainings):
    """A node that trains so far and then fails."""

    def train(shape, states):
        for name, num_steps, steps, record in trainings:
            put(states, name, num_steps, *steps, **record)
        raise error

    return train


def test_a_fault_of_the_user_is_followed_by_what_is_kept_and_the_same_command(run):
    fault = TaskError("my_files/labelled.jsonl, line 7: `label` is missing.")
    stopped, said = run(raising(fault))
    assert stopped.code == 1
    assert said == (
        f"Error: my_files/labelled.jsonl, line 7: `label` is missing.\n{TRACEBACK_HINT}\n"
        "The run stopped in pretrain_distill.train_node, after 2 of 3 nodes. Kept are:\n"
        "  results of nodes, by stage: corpus 1 of 1, search 1 of 1\n"
        f"Once that is mended, go on with: {COMMAND}\n"
    )


def test_a_training_that_came_apart_is_told_with_the_step_that_it_is_kept_at(run):
    kept = [
        ("search/D2-A4-H96-I128", 60, (60,), {"has_ended": True}),
        ("search/scores/D2-A4-H96-I128", 60, (60,), {"has_ended": True}),
        ("search/begun", 60, (60,), {"has_ended": True}),
        ("pretrain_distill/undistilled-D2-A4-H96-I128", 8000, (200, 8000), {"has_ended": True}),
        ("pretrain_distill/student-D2-A4-H96-I128", 8000, (200, 400), {}),
    ]
    _, said = run(raising(DIVERGED, *kept))
    assert said == (
        f"Error: the student (2, 4, 96, 128): the loss is nan at step 401. Lower learning_rate.\n{TRACEBACK_HINT}\n"
        "The run stopped in pretrain_distill.train_node, after 2 of 3 nodes. Kept are:\n"
        "  results of nodes, by stage: corpus 1 of 1, search 1 of 1\n"
        "  the student (2, 4, 96, 128) at step 400 of 8,000\n"
        "  2 finished trainings\n"
        f"Once that is mended, go on with: {COMMAND}\n"
    )


def test_a_full_disk_leaves_the_node_that_could_not_save_undone(run, monkeypatch, tmp_path):
    def no_room(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bort_kedro.datasets.pending.os.replace", no_room)
    _, said = run(lambda shape, states: {"loss": 1.0})
    assert said.startswith(f"Error: {tmp_path / 'student.json'} cannot be written: the disk is full; free some space")
    assert said.endswith(
        "The run stopped in pretrain_distill.train_node, after 2 of 3 nodes. Kept are:\n"
        "  results of nodes, by stage: corpus 1 of 1, search 1 of 1\n"
        f"Once that is mended, go on with: {COMMAND}\n"
    )


def test_a_node_whose_input_cannot_be_read_is_the_one_that_stopped(run):
    class Unreadable(MemoryDataset):
        def load(self):
            raise TaskError("shape.json is no JSON.")

    _, said = run(nothing, shape=Unreadable())
    assert said == (
        f"Error: shape.json is no JSON.\n{TRACEBACK_HINT}\n"
        "The run stopped in pretrain_distill.train_node, after 2 of 3 nodes. Kept are:\n"
        "  results of nodes, by stage: corpus 1 of 1, search 1 of 1\n"
        f"Once that is mended, go on with: {COMMAND}\n"
    )


@pytest.mark.parametrize(
    ("stop", "status", "end"), [(KeyboardInterrupt(), 1, "\n\nAborted!\n"), (SystemExit(143), 143, "\n")]
)
def test_a_signal_is_followed_by_the_same_without_a_fault_to_mend(run, stop, status, end):
    many = [(f"search/D{depth}-A4-H96-I128", 60, (20,), {}) for depth in range(1, 6)]
    stopped, said = run(raising(stop, *many, ("finetune/library", 700, (100,), {})))
    assert stopped.code == status
    assert said == (
        "\nThe run stopped in pretrain_distill.train_node, after 2 of 3 nodes. Kept are:\n"
        "  results of nodes, by stage: corpus 1 of 1, search 1 of 1\n"
        "  a fine-tuning of library at step 100 of 700\n"
        "  the candidate (2, 4, 96, 128) at step 20 of 60\n"
        "  the candidate (2, 4, 96, 128) at step 20 of 60\n"
        "  3 more trainings under way\n"
        f"Go on with: {COMMAND}{end}"
    )


def test_a_fault_of_the_program_has_it_beneath_its_traceback(run):
    fault, said = run(raising(ZeroDivisionError("division by zero")))
    assert said == ""
    (note,) = fault.__notes__
    assert note.startswith("The run stopped in pretrain_distill.train_node, after 2 of 3 nodes. Kept are:\n")
    assert note.endswith(f"Once that is mended, go on with: {COMMAND}")


def test_nothing_is_said_of_a_run_that_was_refused_or_has_ended():
    hook = UnfinishedHook()
    assert hook.said(COMMAND, is_fault=True) == ""
    hook.before_node_run(Node(nothing, "raw", "text", name="split_node"))
    hook.after_pipeline_run()
    assert hook.said(COMMAND, is_fault=False) == ""


def test_a_run_that_stops_in_its_first_node_has_kept_nothing():
    hook, node = UnfinishedHook(), Node(nothing, "raw", "text", name="split_node")
    hook.before_pipeline_run(Pipeline([node]), DataCatalog())
    hook.before_node_run(node)
    assert hook.said(COMMAND, is_fault=False) == (
        f"The run stopped in split_node, after 0 of 1 nodes. Nothing was kept of it.\nGo on with: {COMMAND}"
    )


@pytest.mark.parametrize(
    ("program", "is_found", "named"),
    [
        ("bin/kedro", True, "kedro run"),
        (".venv/bin/kedro", False, ".venv/bin/kedro run"),
        ("/elsewhere/kedro", False, "/elsewhere/kedro run"),
        ("site-packages/bort_kedro/__main__.py", True, "python -m bort_kedro run"),
    ],
)
def test_the_program_is_named_as_the_shell_finds_it(run, monkeypatch, tmp_path, program, is_found, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: name if is_found else None)
    monkeypatch.setattr("sys.argv", [str(tmp_path / program), *RUN])
    _, said = run(raising(TaskError("Bad.")))
    assert said.endswith(f"go on with: {named} --env smoke --params search.budget=4\n")


def test_a_program_that_kedro_has_named_keeps_the_name(run, monkeypatch):
    monkeypatch.setattr("sys.argv", ["python -m kedro", *RUN])
    _, said = run(raising(TaskError("Bad.")))
    assert said.endswith("go on with: python -m kedro run --env smoke --params search.budget=4\n")
