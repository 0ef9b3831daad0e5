"""What an earlier run left under another version, number of threads or number of steps."""

import logging
import pickle

import pytest
import torch

from bort_kedro.datasets.teacher_cache import TeacherCaches
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.training.loop import train
from bort_kedro.training.saved_state import SavedState
from toy_pretraining import settings as settings_of_a_pretraining

NAME = "search/D1-A2-H4-I8"
# As that of a masked-LM training: circumstances stand at several depths.
IDENTITY = {
    "shape": {"depth": 1},
    "settings": {"num_threads": 2, "optimization": {"num_steps": 20, "seed": 0}},
    "versions": {"bort_kedro": "0.1.0", "torch": "2.13.0"},
}
WHOLE = {"model.weight": torch.ones(2), "generator.cpu": torch.get_rng_state()}
UNDER_WAY = SavedState(5, WHOLE, {"has_ended": False})
ENDED = SavedState(20, {"model.weight": torch.ones(2)}, {"has_ended": True})


def changed(**circumstances):
    settings, versions = IDENTITY["settings"], IDENTITY["versions"]
    optimization = settings["optimization"] | {k: v for k, v in circumstances.items() if k in ("num_steps", "seed")}
    threads = {k: v for k, v in circumstances.items() if k == "num_threads"}
    return IDENTITY | {
        "settings": settings | threads | {"optimization": optimization},
        "versions": versions | {k: v for k, v in circumstances.items() if k in versions},
    }


def found_after(tmp_path, state, now, accepted):
    """What a run finds that asks for another identity than the run before it."""
    TrainingStates(tmp_path, keep=2).of(NAME, IDENTITY).put(state)
    return TrainingStates(tmp_path, keep=2, accepted=accepted).of(NAME, changed(**now)).latest()


@pytest.mark.parametrize("state", [UNDER_WAY, ENDED], ids=["under way", "ended"])
@pytest.mark.parametrize(
    ("now", "path", "there"),
    [
        ({"torch": "2.14.0"}, "versions.torch", "2.13.0"),
        ({"bort_kedro": "0.2.0"}, "versions.bort_kedro", "0.1.0"),
        ({"num_threads": 8}, "settings.num_threads", "2"),
    ],
    ids=str,
)
def test_a_changed_circumstance_is_named_and_what_is_accepted_is_taken(tmp_path, caplog, state, now, path, there):
    ((name, value),) = now.items()
    assert found_after(tmp_path, state, now, ()) is None
    (folder,) = (tmp_path / "search").iterdir()
    assert caplog.messages == [
        f"{folder} was made under another {path} ({there} there, {value} now), so all that was made so begins anew. To "
        f"take it nevertheless, set `accepted_changes: [{name}]` in conf/local/parameters.yml; a training that has "
        "ended is taken for more num_steps under the schedule warmup_stable_decay alone, from before its decay."
    ]
    assert found_after(tmp_path, state, now, ("num_steps",)) is None
    taken = found_after(tmp_path, state, now, (name,))
    assert (taken.step, taken.tensors.keys(), taken.record) == (state.step, state.tensors.keys(), state.record)


@pytest.mark.parametrize(
    ("state", "num_steps", "step"), [(UNDER_WAY, 40, 5), (UNDER_WAY, 6, 5), (UNDER_WAY, 5, None), (ENDED, 40, None)]
)
def test_other_num_steps_are_taken_of_what_has_not_come_to_its_end(tmp_path, state, num_steps, step):
    found = found_after(tmp_path, state, {"num_steps": num_steps}, ("num_steps",))
    assert (found.step if found else None) == step


def test_all_that_differs_must_be_accepted_and_nothing_else_may_differ(tmp_path, caplog):
    both = {"torch": "2.14.0", "num_threads": 8}
    assert found_after(tmp_path, UNDER_WAY, both, ("torch",)) is None
    assert "settings.num_threads (2 there, 8 now), versions.torch (2.13.0 there, 2.14.0 now)" in caplog.text
    assert found_after(tmp_path, UNDER_WAY, both, ("torch", "num_threads")).step == 5
    caplog.clear()
    assert found_after(tmp_path, UNDER_WAY, {"seed": 1}, ("torch", "num_threads", "num_steps", "bort_kedro")) is None
    assert caplog.messages == []


def test_what_goes_on_does_so_in_a_folder_of_its_own(tmp_path):
    TrainingStates(tmp_path, keep=2).of(NAME, IDENTITY).put(UNDER_WAY)
    states = TrainingStates(tmp_path, keep=2, accepted=("torch",))
    states.of(NAME, changed(torch="2.14.0")).put(SavedState(10, WHOLE, {}))
    assert states.of(NAME, changed(torch="2.14.0")).latest().step == 10
    assert states.of(NAME, IDENTITY).latest().step == 5
    # What stands in it needs no acceptance.
    assert TrainingStates(tmp_path, keep=2).of(NAME, changed(torch="2.14.0")).latest().step == 10


def test_those_that_differ_alike_are_told_once_and_what_a_run_makes_itself_not_at_all(tmp_path, caplog):
    for name in ("a", "b"):
        TrainingStates(tmp_path, keep=2).of(name, IDENTITY).put(UNDER_WAY)
    states = TrainingStates(tmp_path, keep=2)
    for name in ("a", "b"):
        assert states.of(name, changed(num_threads=8)).latest() is None
    assert len(caplog.messages) == 1
    states.of("c", IDENTITY).latest()
    states.of("c", IDENTITY).put(UNDER_WAY)
    assert states.of("c", changed(num_threads=4)).latest() is None
    assert len(caplog.messages) == 1


def test_what_is_accepted_travels_to_workers(tmp_path):
    TrainingStates(tmp_path, keep=2).of(NAME, IDENTITY).put(UNDER_WAY)
    travelled = pickle.loads(pickle.dumps(TrainingStates(tmp_path, keep=2, accepted=("torch",))))  # noqa: S301
    assert travelled.of(NAME, changed(torch="2.14.0")).latest().step == 5


def test_a_teachers_answers_are_taken_where_the_change_is_accepted(tmp_path, caplog):
    before = {"teacher": "t0", "versions": {"torch": "2.13.0"}}
    now = {"teacher": "t0", "versions": {"torch": "2.14.0"}}
    folder = tmp_path / TeacherCaches(tmp_path).of(before)._folder.name
    folder.mkdir()
    (folder / "identity.json").write_text(TeacherCaches(tmp_path).of(before)._identity)
    assert TeacherCaches(tmp_path).of(now)._folder != folder
    assert "under another versions.torch (2.13.0 there, 2.14.0 now)" in caplog.text
    with caplog.at_level(logging.INFO):
        assert TeacherCaches(tmp_path, accepted=("torch",)).of(now)._folder == folder
    assert "since `accepted_changes` has torch" in caplog.text
    assert TeacherCaches(tmp_path, accepted=("torch",)).of(now | {"teacher": "t1"})._folder != folder


def test_a_training_goes_on_towards_more_steps_from_where_it_stood(tmp_path):
    settings = settings_of_a_pretraining().optimization
    asked = []

    def batch_at(step):
        asked.append(step)
        return {"x": torch.ones(1, 1)}

    def run(num_steps, accepted=(), **others):
        kept = TrainingStates(tmp_path, keep=2, accepted=accepted).of(NAME, changed(num_steps=num_steps))
        model = torch.nn.Linear(1, 1)
        changes = settings.changed(num_steps=num_steps)
        return train(
            model, lambda net, batch: {"loss": net(batch["x"]).sum()}, batch_at, changes, states=kept, **others
        )

    run(6, stop_at=4)
    assert [row["step"] for row in run(8, accepted=("num_steps",)).history] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert asked == [0, 1, 2, 3, 4, 5, 6, 7]
    # What has ended is no beginning of another.
    run(9, accepted=("num_steps",))
    assert asked[8:] == [4, 5, 6, 7, 8]


@pytest.mark.parametrize("longer", [11, 20])
def test_a_stable_training_that_has_ended_goes_on_from_before_its_decay_as_one_at_once(tmp_path, longer):
    # Without a warm-up, since that is a share of the steps.
    settings = settings_of_a_pretraining().optimization.changed(schedule="warmup_stable_decay", warmup_share=0.0)
    points, asked = torch.randn(32, 4, 3, generator=torch.Generator().manual_seed(0)), []

    def batch_at(step):
        asked.append(step)
        return {"x": points[step]}

    def run(num_steps, root=tmp_path):
        asked.clear()
        model = torch.nn.Linear(3, 1)
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, 0.5)
        states = TrainingStates(root, keep=2, accepted=("num_steps",)).of(NAME, changed(num_steps=num_steps))
        how = settings.changed(num_steps=num_steps)
        result = train(
            model, lambda net, batch: {"loss": net(batch["x"]).square().mean()}, batch_at, how, states=states
        )
        return result.history, [parameter.detach().clone() for parameter in model.parameters()]

    run(10)
    gone_on, weights = run(longer)
    # The last fifth of the ten steps was the decay.
    assert asked == list(range(8, longer))
    at_once, expected = run(longer, root=tmp_path / "other")
    assert gone_on == at_once
    assert all(torch.equal(left, right) for left, right in zip(weights, expected, strict=True))
    # To fewer steps it begins anew.
    run(9)
    assert asked == list(range(9))


def test_what_outlives_its_training_is_no_part_of_it(tmp_path):
    folder = TrainingStates(tmp_path, keep=2).of(NAME, IDENTITY)
    folder.put(SavedState(8, WHOLE, {"is_kept": True}))
    assert folder.latest() is None
    folder.put(ENDED)
    assert folder.latest().step == 20
    assert len(list((tmp_path / "search").rglob("*.safetensors"))) == 2


@pytest.mark.parametrize("harm", [lambda text: text[:20], lambda text: text.replace("20", "21")])
def test_a_damaged_identity_is_told_and_stands_in_nobodys_way(tmp_path, caplog, harm):
    TrainingStates(tmp_path, keep=2).of(NAME, IDENTITY).put(ENDED)
    (file,) = tmp_path.rglob("identity.json")
    file.write_text(harm(file.read_text()))
    states = TrainingStates(tmp_path, keep=2, accepted=("torch", "num_steps"))
    assert states.of(NAME, changed(torch="2.14.0", num_steps=21)).latest() is None
    assert caplog.messages == [
        f"{file} is truncated or altered. What lies beside it is taken under its own settings alone."
    ]
    assert list(states.kept()) == []
    assert states.of(NAME, IDENTITY).latest().step == 20
