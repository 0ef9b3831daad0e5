"""`kedro versions`: what is listed and what goes, of runs that are made by hand."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import yaml
from click.testing import CliRunner

from bort_kedro.session.pruning import seconds_of
from bort_kedro.session.versions import versions
from version_folders import DOCUMENTS, EXAMPLES, MANIFESTS, STUDENT, TOKENS, day, empty_project, ended, saved

CANDIDATES = "data/08_reporting/candidate_table.csv"
STATES = "data/06_models/training_states"


def trained(root, name, number):
    """States of a training that was last asked for an hour after a run of this day began."""
    folder = root / STATES / name
    folder.mkdir(parents=True)
    (folder / "identity.json").write_text("{}")
    (folder / "step-000000004-0123456789abcdef.safetensors").write_bytes(bytes(98))
    os.utime(folder, (seconds_of(day(number)) + 3600,) * 2)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Six runs; with two that ended kept, the third and fourth day's stay, and the fifth's, which is under way."""
    root = empty_project(tmp_path, monkeypatch)
    for place, numbers in {DOCUMENTS: (0, 1, 2, 5), TOKENS: (0, 1, 2), STUDENT: (0, 1), EXAMPLES: (1,)}.items():
        for number in numbers:
            saved(root, place, day(number), "x" * 10)
    saved(root, CANDIDATES, day(3))
    before = ["corpus_documents", "tokens", "student_encoder"]
    candidates, student = "search/D2-0123456789ab", "pretrain_distill/student-0123456789ab"
    ended(root, day(0), wrote=before, trainings=["finetune/library-000000000000"])
    ended(root, day(1), wrote=[*before, "library.examples"], trainings=[candidates, student])
    ended(root, day(2), wrote=["corpus_documents", "tokens"], trainings=[])
    ended(root, day(3), read={"tokens": day(1)}.items(), wrote=["search.candidate_table"], trainings=[])
    ended(root, day(4), read={"student_encoder": day(1)}.items(), trainings=["search/D4-0123456789ab"])
    for name, number in {
        "finetune/library-000000000000": 0,
        candidates: 1,
        student: 1,
        "search/D4-0123456789ab": 2,
        "search/D8-0123456789ab": 5,
    }.items():
        trained(root, name, number)
    half = root / STUDENT / day(2)
    half.mkdir()
    (half / ".student_encoder.17.part").write_text("half")
    return root


GONE = {
    f"{DOCUMENTS}/{day(0)}",
    f"{TOKENS}/{day(0)}",
    f"{STUDENT}/{day(0)}",
    f"{MANIFESTS}/{day(0)}",
    f"{DOCUMENTS}/{day(1)}",
    f"{STUDENT}/{day(2)}",
    f"{STATES}/finetune/library-000000000000",
    f"{STATES}/search/D2-0123456789ab",
}


def folders(root):
    """Of versions and trainings."""
    return {
        path.relative_to(root).as_posix()
        for path in (root / "data").rglob("*")
        if path.is_dir() and (path.name.startswith("2026-") or path.name[-13:-12] == "-")
    }


def called(*words, answer=None):
    done = CliRunner().invoke(versions, words, input=answer)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def pruned(root, *words):
    """What goes."""
    before = folders(root)
    status, output = called("--prune", "--yes", *words)
    assert status == 0, output
    return before - folders(root)


def test_what_nothing_needs_goes_and_nothing_else(project):
    assert pruned(project, "--keep", "2") == GONE
    assert pruned(project, "--keep", "2") == set()
    assert called("--prune", "--keep", "2")[1] == (
        "Nothing goes: all that is there is of the last 2 runs that ended or since, or is needed.\n"
    )


def test_it_is_said_what_goes_and_how_much_is_freed_before_somebody_agrees(project):
    before = folders(project)
    status, output = called("--prune", "--keep", "2", answer="n\n")
    assert (status, folders(project)) == (1, before)
    manifest = (project / MANIFESTS / day(0) / "run_manifest.json").stat().st_size
    assert output.splitlines()[:6] == [
        f"{day(0)}: 4 datasets, {(30 + manifest) / 1000:.1f} kB",
        f"{day(1)}: 1 datasets, 0.0 kB; 4 that are needed stay",
        f"{day(2)}: 1 datasets, 0.0 kB; 3 that are needed stay",
        f"Its saving was interrupted: {STUDENT}/{day(2)}",
        "States of 2 trainings of 5: 0.2 kB",
        f"{(30 + manifest + 10 + 4 + 200) / 1000:.1f} kB are freed. Tracked runs in MLflow stay as they are.",
    ]
    assert called("--prune", "--keep", "2", answer="y\n")[0] == 0
    assert before - folders(project) == GONE


def test_with_more_runs_kept_nothing_of_theirs_goes(project):
    assert pruned(project) == set()
    assert pruned(project, "--keep", "4") == {
        f"{place}/{day(0)}" for place in (DOCUMENTS, TOKENS, STUDENT, MANIFESTS)
    } | {f"{STATES}/finetune/library-000000000000"}


def test_a_folder_that_parameters_name_stays(project):
    (project / "conf/local/parameters.yml").write_text(f"finetune: {{student: {STUDENT}/{day(0)}/student_encoder}}")
    stays = {f"{STUDENT}/{day(0)}", f"{MANIFESTS}/{day(0)}"}
    assert pruned(project, "--keep", "2") >= GONE - stays - {f"{STATES}/finetune/library-000000000000"}
    assert stays <= folders(project)


def test_what_a_kept_run_was_told_to_open_stays(project):
    path = project / MANIFESTS / day(4) / "run_manifest.json"
    opened = {"parameters": {"search": {"maximum_point": f"{project}/{STUDENT}/{day(0)}/student_encoder"}}}
    path.write_text(json.dumps(json.loads(path.read_text()) | opened))
    pruned(project, "--keep", "2")
    assert {f"{STUDENT}/{day(0)}", f"{MANIFESTS}/{day(0)}"} <= folders(project)


def test_what_is_read_under_a_name_that_the_catalog_has_no_more_stays_wherever_it_lies(project):
    path = project / MANIFESTS / day(4) / "run_manifest.json"
    path.write_text(path.read_text().replace("student_encoder", "my_encoder").replace(day(1), day(0)))
    gone = pruned(project, "--keep", "2")
    assert not {path for path in gone if path.endswith(day(0))}


def test_a_run_that_lists_no_trainings_keeps_them_all_as_long_as_a_model_of_it_stays(project):
    path = project / MANIFESTS / day(1) / "run_manifest.json"
    told = json.loads(path.read_text())
    del told["trainings"]
    path.write_text(json.dumps(told))
    assert pruned(project, "--keep", "2") == {path for path in GONE if STATES not in path}


@pytest.mark.parametrize("measure", ["loss", "task"])
def test_a_search_for_the_error_of_a_task_keeps_its_fine_tunings(project, measure):
    trained(project, "finetune/library-111111111111", 1)
    saved(project, "data/06_models/selected_encoder", day(1))
    path = project / MANIFESTS / day(1) / "run_manifest.json"
    told = json.loads(path.read_text())
    told["trainings"].append("finetune/library-111111111111")
    path.write_text(json.dumps(told | {"parameters": {"search": {"error_measure": measure}}}))
    gone = pruned(project, "--keep", "2")
    assert f"{STATES}/search/D2-0123456789ab" not in gone
    assert (f"{STATES}/finetune/library-111111111111" in gone) == (measure == "loss")


def test_links_what_they_lead_to_and_names_that_somebody_gave_stay(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.move(project / TOKENS / day(0), elsewhere / day(0))
    (project / TOKENS / day(0)).symlink_to(elsewhere / day(0))
    (project / DOCUMENTS / "2026-01-01T00.00.00.000Z").symlink_to(project / DOCUMENTS / day(0))
    shutil.move(project / STUDENT, elsewhere / "student_encoder")
    (project / STUDENT).symlink_to(elsewhere / "student_encoder")
    saved(project, EXAMPLES, "mine")
    (project / "data/05_model_input/tokens/notes.txt").write_text("mine")
    pruned(project, "--keep", "1")
    assert (elsewhere / day(0) / "tokens").is_file()
    assert (elsewhere / "student_encoder" / day(0) / "student_encoder").is_file()
    assert (project / DOCUMENTS / day(0)).is_dir()
    assert (project / EXAMPLES / "mine").is_dir()
    assert (project / EXAMPLES / day(1)).is_dir()
    assert (project / "data/05_model_input/tokens/notes.txt").is_file()


def test_data_may_be_a_link_as_a_whole(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "data"
    shutil.move(project / "data", elsewhere)
    (project / "data").symlink_to(elsewhere)
    assert called("--prune", "--yes", "--keep", "2")[0] == 0
    assert not (elsewhere.parent / f"{TOKENS}/{day(0)}").exists()


def test_what_lies_on_a_store_is_named_and_left_alone(project):
    entry = yaml.safe_load((project / "conf/base/catalog.yml").read_text())["corpus_documents"]
    moved = {"corpus_documents": entry | {"filepath": "memory://bucket/corpus_documents.parquet"}}
    (project / "conf/local/catalog.yml").write_text(yaml.safe_dump(moved))
    assert "On stores, and not counted: corpus_documents." in called()[1]
    assert pruned(project, "--keep", "2") == {path for path in GONE if DOCUMENTS not in path}


def test_a_removal_that_is_cut_short_leaves_nothing_half_for_kedro_to_find(project, monkeypatch):
    def cut(path):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr("bort_kedro.session.pruning.shutil.rmtree", cut)
    status, output = called("--prune", "--yes", "--keep", "2")
    assert status == 1
    assert "cannot be removed: Input/output error. Mend that, then go on." in output
    monkeypatch.undo()
    monkeypatch.chdir(project)
    partial = [path for path in folders(project) if path.endswith(day(0)) and not any((project / path).glob("[!.]*"))]
    assert len(partial) == 1


def test_runs_are_listed_with_what_is_there_of_them(project):
    saved(project, "data/06_models/selected_encoder", day(2))
    status, output = called()
    assert status == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if line.startswith("│")]
    assert [(row[0], *row[2:5]) for row in rows] == [
        (day(5), "did not end", "–", "1"),
        (day(4), "__default__", "local", "0"),
        (day(3), "__default__", "local", "1"),
        (day(2), "__default__", "local", "3"),
        (day(1), "__default__", "local", "4"),
        (day(0), "__default__", "local", "3"),
    ]
    assert "States of 5 trainings: 0.5 kB." in output
    assert f"Its saving was interrupted, and no run sees it: {STUDENT}/{day(2)} (0.0 kB)" in output


def test_the_datasets_of_a_run_are_listed_whoever_made_them(project):
    def rows(run):
        lines = called(run)[1].splitlines()
        return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]

    assert rows(day(3)) == [
        ["candidate_table", "written", day(3), "0.0 kB"],
        ["tokens", "read", day(1), "0.0 kB"],
    ]
    assert rows(day(5)) == [["corpus_documents", "written", day(5), "0.0 kB"]]
    shutil.rmtree(project / TOKENS / day(1))
    assert rows(day(3))[1] == ["tokens", "read", day(1), "not here"]
    assert "There is no run `yesterday`" in called("yesterday")[1]


def test_in_a_project_without_runs_there_is_nothing(tmp_path, monkeypatch):
    empty_project(tmp_path, monkeypatch)
    assert "All versions: 0.0 kB. States of 0 trainings: 0.0 kB." in called()[1]
    assert called("--prune")[1].startswith("Nothing goes")
    assert "--prune takes no run" in called("yesterday", "--prune")[1]
