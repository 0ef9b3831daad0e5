import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from kedro.io.core import DatasetError

from bort_kedro.datasets.teacher_cache import TeacherCacheDataset, TeacherCaches
from bort_kedro.errors import StorageError
from bort_kedro.pretraining.teacher_targets import TargetChunk

IDENTITY = {
    "teacher": "t0",
    "vocabulary": "v0",
    "tokens": "k0",
    "masks": {"seed": 0, "share": 0.15, "whole_words": False, "epochs": 2},
    "temperature": 2.0,
    "top_k": 2,
    "precision": "no",
}


def chunk(first=0, dtype=np.uint16):
    """Two blocks of one and two positions, k = 2."""
    return TargetChunk(
        ids=np.array([[first, 5], [6, 7], [8, 9]], dtype=dtype),
        log_ratios=np.array([[0, -0.5], [0, -1.5], [0, -0.25]], dtype=np.float16),
        log_tail=np.array([-1.0, -2.0, -np.inf], dtype=np.float32),
        offsets=np.array([0, 1, 3]),
    )


def assert_equal(found, expected):
    for name, array in vars(expected).items():
        assert getattr(found, name).dtype == array.dtype
        np.testing.assert_array_equal(getattr(found, name), array)


@pytest.fixture
def folder(tmp_path):
    return TeacherCaches(tmp_path).of(IDENTITY)


def files(tmp_path, pattern="*.safetensors"):
    return sorted(tmp_path.rglob(pattern))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_a_chunk_comes_back_as_it_was_written(folder, tmp_path, dtype):
    assert folder.missing(0, 0)
    assert folder.read(0, 0) is None
    folder.write(0, 0, chunk(dtype=dtype))
    assert not folder.missing(0, 0)
    assert_equal(folder.read(0, 0), chunk(dtype=dtype))
    assert_equal(TeacherCaches(tmp_path).of(IDENTITY).read(0, 0), chunk(dtype=dtype))


def test_chunks_are_told_apart_by_epoch_and_first_block(folder):
    for number, key in enumerate([(0, 0), (0, 2), (1, 0)]):
        folder.write(*key, chunk(number))
    assert [int(folder.read(*key).ids[0, 0]) for key in [(0, 0), (0, 2), (1, 0)]] == [0, 1, 2]
    assert folder.missing(1, 2)


def test_a_chunk_is_mapped_into_memory_and_its_file_is_not_kept_open(folder, tmp_path):
    if not Path("/proc/self/maps").exists():
        pytest.skip("this system does not show what a process maps")
    before = len(list(Path("/proc/self/fd").iterdir()))
    folder.write(0, 0, chunk())
    kept = folder.read(0, 0)
    assert files(tmp_path)[0].name in Path("/proc/self/maps").read_text()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(kept.ids) == 3


@pytest.mark.parametrize("harm", ["truncated", "altered"])
def test_a_damaged_chunk_is_set_aside_named_and_missing(folder, tmp_path, caplog, harm):
    folder.write(0, 0, chunk())
    folder.write(0, 2, chunk(3))
    path = files(tmp_path)[0]
    data = bytearray(path.read_bytes())
    if harm == "truncated":
        data = data[:-5]
    else:
        data[-1] ^= 1
    path.write_bytes(data)
    anew = TeacherCaches(tmp_path).of(IDENTITY)
    assert anew.missing(0, 0)
    assert anew.read(0, 0) is None
    assert_equal(anew.read(0, 2), chunk(3))
    (message,) = caplog.messages
    assert message.startswith(f"The teacher cache's chunk {path} is truncated or altered (SHA-256 ")
    assert f"It was set aside as {path.stem}.damaged; it counts as missing" in message
    assert [file.name for file in files(tmp_path, "*.damaged")] == [f"{path.stem}.damaged"]
    anew.write(0, 0, chunk())
    assert_equal(anew.read(0, 0), chunk())


def test_a_checksum_is_verified_once_in_a_process(folder, monkeypatch):
    folder.write(0, 0, chunk())
    folder.read(0, 0)
    monkeypatch.setattr("bort_kedro.datasets.teacher_cache._verified", lambda path: pytest.fail(f"{path} again"))
    assert_equal(folder.read(0, 0), chunk())


def test_a_chunk_that_another_process_writes_is_found(folder, tmp_path):
    other = TeacherCaches(tmp_path).of(IDENTITY)
    folder.write(0, 0, chunk())
    assert_equal(other.read(0, 0), chunk())


def test_a_write_that_was_killed_is_not_seen(folder, tmp_path):
    folder.write(0, 0, chunk())
    path = files(tmp_path)[0]
    path.rename(path.with_name(f".{path.name}.77.part"))
    assert TeacherCaches(tmp_path).of(IDENTITY).missing(0, 0)


def test_the_identity_lies_beside_the_chunks(folder, tmp_path):
    folder.write(0, 0, chunk())
    (path,) = files(tmp_path, "identity.json")
    assert json.loads(path.read_text()) == IDENTITY


@pytest.mark.parametrize(
    "change",
    [
        {"teacher": "t1"},
        {"vocabulary": "v1"},
        {"tokens": "k1"},
        *({"masks": IDENTITY["masks"] | masks} for masks in ({"seed": 1}, {"share": 0.3})),
        *({"masks": IDENTITY["masks"] | masks} for masks in ({"whole_words": True}, {"epochs": 3})),
        {"temperature": 1.0},
        {"top_k": 3},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_a_changed_part_of_the_identity_leads_to_another_cache(folder, tmp_path, change):
    folder.write(0, 0, chunk())
    assert TeacherCaches(tmp_path).of(IDENTITY | change).missing(0, 0)
    assert not TeacherCaches(tmp_path).of(dict(reversed(IDENTITY.items()))).missing(0, 0)


def test_what_does_not_fit_is_refused_with_its_bytes_and_where_to_change_them(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2_000_000_000))
    folder.require_room(1_900_000_000)
    with pytest.raises(StorageError) as caught:
        folder.require_room(1_900_000_001)
    assert str(caught.value) == (
        f"The teacher cache needs 1900000001 bytes (1.90 GB) in {folder._folder}, whose disk has 2000000000 bytes "
        "(2.00 GB) free; allowed are 95 % of that. Lower params:pretrain_distill.teacher_cache.top_k or "
        "params:pretrain_distill.teacher_cache.num_epochs, free some space, or change `filepath` of `teacher_cache` in "
        "the catalog."
    )
    assert files(tmp_path) == []


def test_room_is_asked_of_the_nearest_folder_that_exists(tmp_path):
    TeacherCaches(tmp_path / "not" / "there").of(IDENTITY).require_room(1)
    assert list(tmp_path.iterdir()) == []


def test_dataset_loads_a_handle_and_refuses_to_save(tmp_path):
    dataset = TeacherCacheDataset(str(tmp_path))
    dataset.load().of(IDENTITY).write(0, 0, chunk())
    assert_equal(dataset.load().of(IDENTITY).read(0, 0), chunk())
    assert dataset.exists()
    with pytest.raises(DatasetError) as caught:
        dataset.save("anything")
    assert str(caught.value.__cause__) == (
        "A teacher cache is written through the handle that `load` gives, chunk by chunk."
    )
