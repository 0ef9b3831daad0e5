"""Folders whose names hold what is a sign in patterns and addresses."""

import os

import pytest
from kedro.io.core import Version

from bort_kedro.datasets.atomic import AtomicJSONDataset
from bort_kedro.datasets.listing import LocalFiles, matches
from bort_kedro.datasets.submission_archive import SubmissionArchivesDataset
from bort_kedro.datasets.text_sources import TextFilesDataset

ODD = "odd [a]%20?b#c*"
OLD, NEW = "2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A folder with files, beside one that its name as a pattern would match."""
    monkeypatch.chdir(tmp_path)
    for name in (f"{ODD}/one.txt", f"{ODD}/below/two [2].txt", f"{ODD}/below/three.md", "odd a%20xb#cd/other.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"Of {name}.", "utf-8")
    return tmp_path / ODD


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (f"{ODD}/*.txt", {"one.txt"}),
        (f"{ODD}/**/*.txt", {"one.txt", "below/two [2].txt"}),
        (f"{ODD}/below/two [2].txt", {"below/two [2].txt"}),
        (f"{ODD}/below/[st]*", {"below/two [2].txt", "below/three.md"}),
        (f"{ODD}/below/four [2].txt", set()),
        (f"{ODD}/gone/*.txt", set()),
    ],
)
def test_what_is_there_as_it_is_written_is_no_pattern(odd, pattern, names):
    assert set(matches(pattern)) == {f"{ODD}/{name}" for name in names}
    assert set(matches(f"{odd.parent}/{pattern}")) == {str(odd / name) for name in names}
    assert set(LocalFiles().glob(f"{odd.parent}/{pattern}")) == {str(odd / name) for name in names}


def test_what_is_not_there_as_it_is_written_is_a_pattern_as_ever(odd):
    assert matches("odd a%20?b#c?/*") == ["odd a%20xb#cd/other.txt"]
    assert sorted(matches("*")) == sorted(os.listdir(odd.parent))


def test_texts_are_read_from_an_odd_folder_alone(odd):
    assert TextFilesDataset([f"{odd}/**/*.txt"]).load()["text"].tolist() == [
        f"Of {ODD}/below/two [2].txt.",
        f"Of {ODD}/one.txt.",
    ]


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [(AtomicJSONDataset, {"run": 1}, {"run": 2}), (SubmissionArchivesDataset, {"GLUE": {}}, {"GLUE": {"a": "b"}})],
)
def test_the_newest_version_in_an_odd_folder_is_found(odd, kind, old, new):
    place = str(odd / "results")
    assert not kind(filepath=place, version=Version(None, None)).exists()
    for version, value in ((OLD, old), (NEW, new)):
        kind(filepath=place, version=Version(None, version)).save(value)
    (odd / "results" / "2027 was never finished").mkdir()
    dataset = kind(filepath=place, version=Version(None, None))
    assert dataset.exists()
    assert dataset.load() == new
    assert dataset.list_versions(full_path=False) == [NEW, OLD]


@pytest.mark.parametrize("beside", [NEW, OLD], ids=["a run beside it saves", "the clock has gone back"])
def test_a_session_loads_what_it_has_saved_and_the_newest_before(tmp_path, beside, recwarn):
    place, own = str(tmp_path / "results.json"), NEW if beside == OLD else OLD
    session = AtomicJSONDataset(filepath=place, version=Version(None, own))
    other = AtomicJSONDataset(filepath=place, version=Version(None, beside))
    other.save({"run": "other"})
    assert session.load() == {"run": "other"}
    session.save({"run": "own"})
    assert session.load() == {"run": "own"}
    assert other.load() == {"run": "other"}
    assert [str(each.message) for each in recwarn if "did not match" in str(each.message)] == []
    pinned = AtomicJSONDataset(filepath=place, version=Version(beside, own))
    assert pinned.load() == {"run": "other"}


def test_a_file_where_versions_should_lie_has_none(odd):
    assert not SubmissionArchivesDataset(filepath=str(odd / "one.txt"), version=Version(None, None)).exists()
