"""Runs on the versions of earlier runs."""

import pytest

pytestmark = [pytest.mark.session, pytest.mark.nightly]


def test_a_run_on_the_versions_of_another_makes_the_same_bytes(smoke, tmp_path):
    project = smoke.copied(tmp_path / "versions", "02_intermediate", "05_model_input", "08_reporting")
    examples = "05_model_input/tasks/library.parquet"
    first, manifest = project.latest(examples), project.latest("08_reporting/run_manifest.json")
    version = manifest.parent.name
    status, output = project.run("--pipelines", "corpus", "--params", "corpus.seed=1")
    assert status == 0, output
    for words in (["--from-run", version], ["--from-run", str(manifest)]):
        status, output = project.run("--pipelines", "tasks", *words)
        assert status == 0, output
        assert project.read("08_reporting/run_manifest.json")["datasets_read"] == {"corpus_documents": version}
        assert project.latest(examples) != first
        assert project.latest(examples).read_bytes() == first.read_bytes()
    status, output = project.run("--pipelines", "tasks")
    assert status == 0, output
    assert project.latest(examples).read_bytes() != first.read_bytes()


def states_of(project):
    """When each state of a training was written, by its path."""
    root = project.root / "data/06_models/training_states"
    return {path.relative_to(root).as_posix(): path.stat().st_mtime for path in root.rglob("*.safetensors")}


def trainings_in(states):
    return {path.rpartition("/")[0] for path in states}


def test_what_is_pruned_is_trained_anew_by_no_run_whose_models_stay(smoke, tmp_path):
    project = smoke.copied(tmp_path / "pruned")
    first = project.read("08_reporting/run_manifest.json")
    again = ("--pipelines", "finetune", "--params", "task_training.num_epochs=2")
    status, output = project.run(*again)
    assert status == 0, output
    second, before = project.read("08_reporting/run_manifest.json"), states_of(project)
    assert trainings_in(before) == {*first["trainings"], *second["trainings"]}
    status, output = project.command("versions", "--env", "smoke", "--prune", "--keep", "1", "--yes")
    assert status == 0, output
    pretrained = {name for name in first["trainings"] if not name.startswith("finetune/")}
    left = states_of(project)
    assert trainings_in(left) == {*second["trainings"], *pretrained} < trainings_in(before)
    expected = set(first["datasets_written"]) - set(second["datasets_written"]) | {"run_manifest"}
    root = project.root / "data"
    assert len(list(root.rglob(first["run_id"]))) == len(expected)
    for words in (again, ("--pipelines", "search,pretrain_distill")):
        status, output = project.run(*words)
        assert status == 0, output
        assert states_of(project) == left
