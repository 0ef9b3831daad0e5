"""Runs on the versions of earlier runs."""

import pytest

pytestmark = [pytest.mark.session, pytest.mark.nightly, pytest.mark.timeout(580)]


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
