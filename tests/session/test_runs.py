"""Runs found on the disk, and `kedro compare`."""

import json

import pytest
from click.testing import CliRunner

from bort_kedro.errors import MissingInputError, StorageError
from bort_kedro.reporting.comparison import RunRecord
from bort_kedro.reporting.stage_costs import StageCost
from bort_kedro.session.runs import REPORTING, compare, read_run, versions

ONE, TWO = "2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"


def saved(folder, name, version, text):
    path = folder / name / version / name
    path.parent.mkdir(parents=True)
    path.write_text(text, "utf-8")


def manifest(**changes):
    return {"datasets_read": {}, "datasets_written": {}, "packages": {"torch": "2.13.0"}} | changes


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The first run timed the shape, the second read that and has another torch."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / REPORTING
    saved(folder, "run_manifest.json", ONE, json.dumps(manifest(datasets_written={"stage_costs": ONE})))
    second = manifest(datasets_read={"stage_costs": ONE}, packages={"torch": "2.14.0"})
    saved(folder, "run_manifest.json", TWO, json.dumps(second))
    saved(
        folder,
        "stage_costs.csv",
        ONE,
        "stage,what,purpose,seconds,device_hours,tokens\nsearch,2 candidates,model,90.0,0.025,\n",
    )
    return folder


def called(*words):
    return CliRunner().invoke(compare, words)


def test_versions_are_those_of_runs_that_ended(project):
    (project / "run_manifest.json" / "2026-01-03T00.00.00.000Z").mkdir()
    assert versions(project) == [ONE, TWO]


def test_a_run_has_what_it_made_or_read_of_another(project):
    costs = [
        StageCost(stage="search", what="2 candidates", purpose="model", seconds=90.0, device_hours=0.025, tokens=None)
    ]
    assert read_run(project, ONE) == RunRecord(manifest(datasets_written={"stage_costs": ONE}), costs=costs)
    assert read_run(project, TWO).costs == costs
    assert read_run(project, TWO).search is None


def test_an_unknown_version_is_told_with_those_there_are(project):
    with pytest.raises(MissingInputError) as caught:
        read_run(project, "yesterday")
    assert str(caught.value) == f"{project} has no run of version `yesterday`. There are: {ONE}, {TWO}."


def test_a_broken_file_is_named(project):
    path = project / "run_manifest.json" / TWO / "run_manifest.json"
    path.write_text("{", "utf-8")
    with pytest.raises(StorageError) as caught:
        read_run(project, TWO)
    assert str(caught.value) == (
        f"{path} cannot be read: Expecting property name enclosed in double quotes: line 1 column 2 (char 1). Compare "
        "other versions, or run that stage again."
    )


def test_without_versions_the_last_two_are_compared(project):
    done = called()
    assert done.exit_code == 0
    assert done.output.startswith(f"# What changed between {ONE} and {TWO}\n")
    assert "| `package.torch` | 2.13.0 | 2.14.0 |\n" in done.output
    assert "| search | 1 min 30 s | 1 min 30 s |\n" in done.output
    assert done.output == called(ONE, TWO).output


@pytest.mark.parametrize("words", [[ONE], [ONE, ONE]])
def test_one_run_cannot_be_compared(project, words):
    done = called(*words)
    assert done.exit_code == 1
    assert done.output == (
        f"Error: A comparison needs two different runs, given: {', '.join(words)}. There are: {ONE}, {TWO}.\n"
    )


def test_where_nothing_ran_there_is_nothing_to_compare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert called().output == (
        "Error: A comparison needs two different runs, given: none. There are: none; `kedro run` makes the first.\n"
    )


def test_an_unknown_version_ends_the_command_with_one_line(project):
    done = called(ONE, "yesterday")
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert done.output.count("\n") == 1


def test_the_comparison_is_written_as_markdown_or_html(project, tmp_path):
    page = called().output
    for name in ("changes.md", "changes.html"):
        assert called("--output", name).output == f"Written to {name}.\n"
    assert (tmp_path / "changes.md").read_text("utf-8") == page.removesuffix("\n")
    assert "<td>search</td>" in (tmp_path / "changes.html").read_text("utf-8").replace(' style="text-align:left"', "")


def test_another_ending_is_refused(project, tmp_path):
    assert called("--output", "changes.txt").output == (
        "Error: --output is changes.txt, allowed are files that end in .md or .html.\n"
    )
    assert not (tmp_path / "changes.txt").exists()


def test_a_place_that_cannot_be_written_is_one_line(project, tmp_path):
    (tmp_path / "taken").write_text("a file")
    done = called("--output", "taken/changes.md")
    assert done.exit_code == 1
    assert done.output.startswith("Error: taken/changes.md cannot be written: ")
    assert done.output.endswith(". Give --output another place.\n")
    assert done.output.count("\n") == 1
