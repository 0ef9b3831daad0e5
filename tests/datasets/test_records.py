import json

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
