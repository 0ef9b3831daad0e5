import json

import pytest
from kedro.io import DatasetError

from bort_kedro.datasets.records import RecordDataset
from search_results import recorded_search, trained_search


def dataset(folder):
    return RecordDataset(
        filepath=str(folder / "report.json"), record="bort_kedro.search.report.SearchReport", save_args={"indent": 2}
    )


def test_a_record_is_saved_as_json_and_comes_back_equal(tmp_path):
    for report in (trained_search(), recorded_search()):
        dataset(tmp_path).save(report)
        assert dataset(tmp_path).load() == report
        assert json.loads((tmp_path / "report.json").read_text("utf-8")) == report.to_json()
        assert json.loads(dataset(tmp_path).preview()) == report.to_json()


def test_a_record_that_lacks_something_is_refused_by_its_file_and_what_it_lacks(tmp_path):
    dataset(tmp_path).save(trained_search())
    path = tmp_path / "report.json"
    said = json.loads(path.read_text("utf-8"))
    del said["answer"]
    path.write_text(json.dumps(said), "utf-8")
    with pytest.raises(DatasetError) as caught:
        dataset(tmp_path).load()
    assert str(caught.value.__cause__) == (
        f"{path} cannot be read: `answer`: Field required. Mend it, or remove it and run again what makes it."
    )
