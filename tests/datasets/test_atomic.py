import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from kedro.io import DatasetError
from kedro.io.core import Version

from bort_kedro.datasets.atomic import (
    AtomicCSVDataset,
    AtomicJSONDataset,
    AtomicParquetDataset,
    AtomicPlotlyDataset,
)
from bort_kedro.datasets.pending import pending
from bort_kedro.errors import StorageError
from bort_kedro.reporting.drawings import draw_svg

TABLE = pd.DataFrame({"shape": ["D1-A1-H8-I8", "D2-A1-H8-I8"], "error": [0.5, 0.25]})
KINDS = [
    (AtomicCSVDataset, TABLE, {"save_args": {"index": False}}),
    (AtomicParquetDataset, TABLE, {}),
    (AtomicJSONDataset, {"accuracy": 0.5, "list": [1, "two"]}, {}),
    (AtomicPlotlyDataset, go.Figure(go.Scatter(x=[1, 2], y=[3, 4])), {}),
]
OLD, NEW = "2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"


def equal(left, right):
    if isinstance(left, pd.DataFrame):
        pd.testing.assert_frame_equal(left, right)
    elif isinstance(left, go.Figure):
        assert left.to_dict() == right.to_dict()
    else:
        assert left == right


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def save_folder(final, name, fault=None):
    """A folder with one file; it breaks with the fault when that is written."""
    with pending(final) as temporary:
        temporary.mkdir()
        (temporary / name).write_text(name)
        if fault:
            raise fault


def failing(number):
    def fail(*_arguments, **_named):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(("kind", "value", "arguments"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_saved_value_comes_back_and_stands_alone_in_its_folder(tmp_path, kind, value, arguments):
    dataset = kind(filepath=str(tmp_path / "deep" / "value.bin"), **arguments)
    assert not dataset.exists()
    dataset.save(value)
    equal(dataset.load(), value)
    assert files(tmp_path) == ["deep/value.bin"]


@pytest.mark.parametrize(("kind", "value", "arguments"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_versioned_value_comes_back_from_its_version(tmp_path, kind, value, arguments):
    path = str(tmp_path / "value.bin")
    kind(filepath=path, version=Version(None, NEW), **arguments).save(value)
    equal(kind(filepath=path, version=Version(None, None), **arguments).load(), value)
    assert files(tmp_path) == [f"value.bin/{NEW}/SHA256SUMS", f"value.bin/{NEW}/value.bin"]


@pytest.mark.slow
def test_the_arrays_of_a_plot_come_back_as_the_numbers_that_they_hold(tmp_path):
    """Plotly from version 6 on writes the bytes of arrays, which it does not read again."""
    bars = {"array": np.array([0.5, np.nan])}
    figure = go.Figure(go.Scatter(x=np.array([1, 2]), y=pd.Series([3.0, 4.5]), error_y=bars, text=["a", "b"]))
    dataset = AtomicPlotlyDataset(filepath=str(tmp_path / "plot.json"))
    dataset.save(figure)
    (trace,) = json.loads((tmp_path / "plot.json").read_text())["data"]
    assert (trace["x"], trace["y"], trace["error_y"]) == ([1, 2], [3.0, 4.5], {"array": [0.5, None]})
    loaded = dataset.load().data[0]
    assert (list(loaded.x), list(loaded.y), list(loaded.error_y.array)) == ([1, 2], [3.0, 4.5], [0.5, None])
    assert draw_svg(go.Figure(loaded)) == draw_svg(figure)


def test_an_unversioned_value_is_replaced_by_the_next(tmp_path):
    dataset = AtomicJSONDataset(filepath=str(tmp_path / "value.json"))
    dataset.save({"run": 1})
    dataset.save({"run": 2})
    assert dataset.load() == {"run": 2}
    assert files(tmp_path) == ["value.json"]


def test_a_version_that_exists_is_not_overwritten(tmp_path):
    dataset = AtomicJSONDataset(filepath=str(tmp_path / "value.json"), version=Version(None, OLD))
    dataset.save({"run": 1})
    with pytest.raises(DatasetError, match="must not exist if versioning is enabled"):
        dataset.save({"run": 2})
    assert json.loads((tmp_path / "value.json" / OLD / "value.json").read_text()) == {"run": 1}


def test_a_versioned_save_that_breaks_midway_leaves_nothing_and_is_not_the_latest(tmp_path):
    path = str(tmp_path / "value.json")
    AtomicJSONDataset(filepath=path, version=Version(None, OLD)).save({"run": 1})
    # JSON writes as it goes: the first key is in the file when the second is refused.
    with pytest.raises(DatasetError, match="not JSON serializable"):
        AtomicJSONDataset(filepath=path, version=Version(None, NEW)).save({"run": 2, "broken": object()})
    latest = AtomicJSONDataset(filepath=path, version=Version(None, None))
    assert latest.resolve_load_version() == OLD
    assert latest.load() == {"run": 1}
    assert files(tmp_path) == [f"value.json/{OLD}/SHA256SUMS", f"value.json/{OLD}/value.json"]


def test_an_unversioned_save_that_breaks_midway_keeps_the_value_before(tmp_path):
    dataset = AtomicJSONDataset(filepath=str(tmp_path / "value.json"))
    dataset.save({"run": 1})
    with pytest.raises(DatasetError, match="not JSON serializable"):
        dataset.save({"run": 2, "broken": object()})
    assert dataset.load() == {"run": 1}
    assert files(tmp_path) == ["value.json"]


def test_a_dataset_saves_after_a_save_that_broke(tmp_path):
    dataset = AtomicJSONDataset(filepath=str(tmp_path / "value.json"))
    with pytest.raises(DatasetError):
        dataset.save({"broken": object()})
    dataset.save({"run": 2})
    assert dataset.load() == {"run": 2}


def test_a_value_is_not_at_its_place_before_it_is_complete(tmp_path, monkeypatch):
    final = tmp_path / "value.json"
    seen = []
    replace = os.replace

    def look(source, target):
        seen.append((final.exists(), json.loads(Path(source).read_text())))
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    AtomicJSONDataset(filepath=str(final)).save({"run": 1})
    assert seen == [(False, {"run": 1})]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EROFS, "the file system is read-only; remount it or move the project"),
        (errno.EACCES, "you may not write there; change the permissions or move the project"),
        (errno.EDQUOT, "your disk quota is used up; free some space"),
        (
            errno.EFBIG,
            "the file is larger than the file system or `ulimit -f` allows; raise that limit or move the project",
        ),
    ],
    ids=["full", "read-only", "forbidden", "quota", "too large"],
)
@pytest.mark.parametrize("call", ["mkdir", "fsync", "replace"])
def test_a_disk_that_refuses_is_told_with_the_path_and_the_way_out(tmp_path, monkeypatch, number, advice, call):
    final = tmp_path / "value.json"
    monkeypatch.setattr(*((Path, "mkdir") if call == "mkdir" else (os, call)), failing(number))
    with pytest.raises(DatasetError) as caught:
        AtomicJSONDataset(filepath=str(final)).save({"run": 1})
    fault = caught.value.__cause__
    assert isinstance(fault, StorageError)
    assert str(fault) == (
        f"{final} cannot be written: {advice}, then run the same command again. No part of the file was left behind."
    )
    assert str(fault) in str(caught.value)
    assert files(tmp_path) == []


def test_a_read_only_disk_is_told_though_it_refuses_to_clean_up_too(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", failing(errno.EROFS))
    monkeypatch.setattr(Path, "unlink", failing(errno.EROFS))
    with pytest.raises(StorageError, match="read-only"), pending(tmp_path / "value"):
        pass


def test_a_fault_of_another_kind_is_passed_on_as_it_is(tmp_path):
    with pytest.raises(OSError, match="Input/output error") as caught:
        save_folder(tmp_path / "folder", "half", OSError(errno.EIO, os.strerror(errno.EIO)))
    assert not isinstance(caught.value, StorageError)
    assert files(tmp_path) == []


def test_ctrl_c_in_the_middle_of_a_save_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        save_folder(tmp_path / "folder", "half", KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_a_pending_folder_appears_whole(tmp_path):
    final = tmp_path / "deep" / "folder"
    with pending(final) as temporary:
        temporary.mkdir()
        (temporary / "sub").mkdir()
        (temporary / "sub" / "weights").write_text("all")
        assert temporary.parent == final.parent
        assert not final.exists()
    assert files(tmp_path) == ["deep/folder/sub/weights"]


def test_a_pending_folder_takes_the_place_of_one_with_files(tmp_path):
    save_folder(tmp_path / "folder", "old")
    save_folder(tmp_path / "folder", "new")
    assert files(tmp_path) == ["folder/new"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch):
    save_folder(tmp_path / "folder", "old")
    replace = os.replace

    def refuse_the_new(source, target):
        if str(source).endswith(".part"):
            failing(errno.ENOSPC)()
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_the_new)
    with pytest.raises(StorageError, match="disk is full"):
        save_folder(tmp_path / "folder", "new")
    assert files(tmp_path) == ["folder/old"]


def test_what_a_killed_process_of_the_same_number_left_is_not_taken_over(tmp_path):
    leftover = tmp_path / f".folder.{os.getpid()}.part"
    leftover.mkdir()
    (leftover / "stale").write_text("stale")
    save_folder(tmp_path / "folder", "fresh")
    assert files(tmp_path) == ["folder/fresh"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"layers,error\n2,0.5,\n4,0.25,\n", "line 2 has 3 cells, and the header 2"),
        (b"layers,hidden,error\n2,64,0.5\n\n64,0.25\n", "line 4 has 2 cells, and the header 3"),
        (b"error,error\n0.5,0.25\n", "the header has a name twice: error, error"),
        (b"error\n\xff\n", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"", "No columns to parse from file"),
    ],
)
def test_a_table_whose_cells_would_be_shifted_or_lost_is_refused(tmp_path, content, why):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        AtomicCSVDataset(filepath=str(path)).load()
    assert str(caught.value.__cause__) == (
        f"{path} cannot be read: {why}. Mend it, or remove it and run again what makes it."
    )
