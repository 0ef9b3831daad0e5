import os
import zipfile

import pytest
from kedro.io import DatasetError
from kedro.io.core import Version

from bort_kedro.datasets import submission_archive
from bort_kedro.datasets.checksums import SUMS
from bort_kedro.datasets.submission_archive import SubmissionArchivesDataset
from bort_kedro.errors import StorageError

OLD, NEW = "2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"
ARCHIVES = {
    "GLUE": {"CoLA.tsv": "index\tprediction\n0\t1\n", "AX.tsv": "index\tprediction\n"},
    "SuperGLUE": {"ReCoRD.jsonl": '{"idx": 0, "label": "José"}\n'},
}


def dataset(folder, version=None):
    return SubmissionArchivesDataset(f"{folder}/submissions", Version(None, version))


def test_archives_are_what_they_were_when_loaded_again(tmp_path):
    dataset(tmp_path, OLD).save(ARCHIVES)
    assert dataset(tmp_path).load() == ARCHIVES
    with zipfile.ZipFile(tmp_path / "submissions" / OLD / "submissions" / "GLUE.zip") as archive:
        assert archive.namelist() == ["CoLA.tsv", "AX.tsv"]
        assert archive.read("CoLA.tsv") == b"index\tprediction\n0\t1\n"


def test_equal_answers_give_equal_bytes(tmp_path):
    for version in (OLD, NEW):
        dataset(tmp_path, version).save(ARCHIVES)
    old, new = (
        (tmp_path / "submissions" / version / "submissions" / "GLUE.zip").read_bytes() for version in (OLD, NEW)
    )
    assert old == new


def test_no_archive_is_an_empty_folder_that_exists(tmp_path):
    assert not dataset(tmp_path).exists()
    dataset(tmp_path, OLD).save({})
    assert dataset(tmp_path).exists()
    assert dataset(tmp_path).load() == {}


def test_a_broken_save_leaves_the_version_before_and_nothing_of_its_own(tmp_path, monkeypatch):
    dataset(tmp_path, OLD).save(ARCHIVES)

    def fail(path, files):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(submission_archive, "_write_archive", fail)
    with pytest.raises(KeyboardInterrupt):
        dataset(tmp_path, NEW).save({"GLUE": {}})
    assert dataset(tmp_path).load() == ARCHIVES
    assert not [name for _, _, names in os.walk(tmp_path / "submissions" / NEW) for name in names]


def unknown_compression(archive):
    """With the number of a method that nobody has, in the directory at the end."""
    place = archive.rindex(b"PK\x01\x02") + 10
    return archive[:place] + b"\x63\x00" + archive[place + 2 :]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda archive: b"no zip", "File is not a zip file"),
        (unknown_compression, "That compression method is not supported"),
    ],
)
def test_a_damaged_archive_is_named(tmp_path, damage, reason):
    dataset(tmp_path, OLD).save(ARCHIVES)
    path = tmp_path / "submissions" / OLD / "submissions" / "GLUE.zip"
    path.write_bytes(damage(path.read_bytes()))
    (path.parent.parent / SUMS).unlink()
    with pytest.raises((StorageError, DatasetError)) as caught:
        dataset(tmp_path).load()
    fault = caught.value if isinstance(caught.value, StorageError) else caught.value.__cause__
    assert str(fault) == (
        f"{path} cannot be read as a zip archive of texts: {reason}. Remove this version's folder to "
        "fall back on the one before, or run `kedro run --pipelines evaluate` to make it again."
    )
