import json
import os
import pickle
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bort_kedro.datasets.training_states import TrainingStates, TrainingStatesDataset
from bort_kedro.training.observer import SilentObserver, Training
from bort_kedro.training.saved_state import SavedState
from memory_states import NotingObserver


def state(step):
    return SavedState(step, {"model.weight": torch.full((2, 3), float(step))}, {"history": [{"step": step}]})


@pytest.fixture
def folder(tmp_path):
    return TrainingStates(tmp_path, keep=2).of("search/D1-A2-H4-I8", {"seed": 0})


def files(tmp_path, pattern="step-*.safetensors"):
    return sorted(tmp_path.rglob(pattern))


def test_latest_is_the_newest_state_with_its_tensors_and_record(folder):
    assert folder.latest() is None
    folder.put(state(1))
    folder.put(state(2))
    latest = folder.latest()
    assert latest.step == 2
    assert latest.record == {"history": [{"step": 2}]}
    torch.testing.assert_close(latest.tensors["model.weight"], torch.full((2, 3), 2.0))


def test_only_the_newest_states_are_kept(folder, tmp_path):
    for step in (1, 2, 3):
        folder.put(state(step))
    assert [path.name[:14] for path in files(tmp_path)] == ["step-000000002", "step-000000003"]


def test_a_finished_training_keeps_its_last_state_alone(folder, tmp_path):
    for step in (1, 2):
        folder.put(state(step))
    folder.put(replace(state(3), record={"has_ended": True}))
    assert [path.name[:14] for path in files(tmp_path)] == ["step-000000003"]


@pytest.mark.parametrize("harm", ["truncated", "altered"])
def test_a_damaged_state_is_set_aside_and_the_one_before_is_used(folder, tmp_path, caplog, harm):
    folder.put(state(1))
    folder.put(state(2))
    newest = files(tmp_path)[-1]
    data = bytearray(newest.read_bytes())
    if harm == "truncated":
        data = data[:-5]
    else:
        data[-1] ^= 1
    newest.write_bytes(data)
    assert folder.latest().step == 1
    assert "is truncated or altered" in caplog.text
    assert newest.name in caplog.text
    assert len(files(tmp_path, "*.damaged")) == 1


def test_a_state_that_a_run_beside_this_one_removes_is_looked_for_among_the_newer_ones(folder, tmp_path, monkeypatch):
    for step in (1, 2):
        folder.put(state(step))
    read_bytes, waiting = Path.read_bytes, [3, 4]

    def read_late(path):
        while waiting:
            folder.put(state(waiting.pop(0)))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read_late)
    assert folder.latest().step == 4


def test_changed_identity_leads_to_another_training(tmp_path):
    states = TrainingStates(tmp_path, keep=2)
    states.of("a", {"seed": 0}).put(state(5))
    assert states.of("a", {"seed": 1}).latest() is None
    assert states.of("a", {"seed": 0}).latest().step == 5


def test_identity_does_not_depend_on_the_order_of_keys(tmp_path):
    states = TrainingStates(tmp_path, keep=2)
    states.of("a", {"x": 1, "y": 2}).put(state(5))
    assert states.of("a", {"y": 2, "x": 1}).latest().step == 5


def test_a_write_that_was_killed_is_not_seen(folder, tmp_path):
    folder.put(state(1))
    part = files(tmp_path)[0].parent / ".step-000000002-0123456789abcdef.safetensors.77.part"
    part.write_bytes(b"half")
    assert folder.latest().step == 1


def test_dataset_loads_a_handle_and_refuses_to_save(tmp_path):
    dataset = TrainingStatesDataset(str(tmp_path))
    dataset.load().of("a", {}).put(state(3))
    assert dataset.load().of("a", {}).latest().step == 3
    with pytest.raises(Exception, match="written through the handle"):
        dataset.save("anything")


def test_each_catalogs_handles_carry_the_observer_of_their_session_alone(tmp_path):
    mine, yours = (TrainingStatesDataset(str(tmp_path)) for _ in range(2))
    mine.observer = NotingObserver()
    student = Training("student", "student", {})
    mine.load().observer.row_logged(student, {"step": 1.0, "loss": 0.5})
    yours.load().observer.row_logged(student, {"step": 2.0, "loss": 0.25})
    assert mine.observer.rows == [(student, {"step": 1.0, "loss": 0.5})]
    assert isinstance(yours.observer, SilentObserver)


def test_a_handle_that_travels_to_another_process_is_silent_and_finds_the_same_states(tmp_path):
    states = TrainingStates(tmp_path, keep=2, observer=NotingObserver())
    states.of("a", {"seed": 0}).put(state(1))
    travelled = pickle.loads(pickle.dumps(states))  # noqa: S301 - made here
    assert isinstance(travelled.observer, SilentObserver)
    assert travelled.of("a", {"seed": 0}).latest().step == 1


def test_names_are_those_of_a_folder_whatever_their_identity(tmp_path):
    states = TrainingStates(tmp_path, keep=2)
    for name, identity in (("a/one-b", {}), ("a/one-b", {"seed": 1}), ("a/two", {}), ("two/a", {})):
        states.of(name, identity).put(SavedState(1, {}))
    assert states.names("a") == {"one-b", "two"}
    assert states.names("b") == set()


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8, (2).to_bytes(8, "little") + b"[]"], ids=["empty", "huge", "list"]
)
def test_a_state_whose_header_is_none_has_not_ended(folder, tmp_path, content):
    folder.put(replace(state(1), record={"has_ended": True}))
    states = TrainingStates(tmp_path, keep=2)
    assert [kept.has_ended for kept in states.kept()] == [True]
    (path,) = files(tmp_path)
    path.write_bytes(content)
    assert [kept.has_ended for kept in states.kept()] == [False]


def test_a_training_that_is_asked_for_is_used_from_then_on(tmp_path):
    states = TrainingStates(tmp_path, keep=2)
    for seed in (1, 2):
        states.of("search/begun", {"seed": seed}).put(state(3))
    names = sorted(states.used())
    for name in names:
        os.utime(tmp_path / name, (5.0, 5.0))
    assert states.used() == dict.fromkeys(names, 5.0)
    asked = next(name for name in names if json.loads((tmp_path / name / "identity.json").read_text()) == {"seed": 2})
    before = time.time() - 1
    assert states.of("search/begun", {"seed": 2}).latest().step == 3
    assert states.of("search/begun", {"seed": 9}).latest() is None
    assert {name for name, used in states.used().items() if used > before} == {asked}
