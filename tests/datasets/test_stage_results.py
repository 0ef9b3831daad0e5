"""The results of a stage: a handle on what the stage saved."""

import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset

from bort_kedro.datasets.stage_results import StageResultsDataset


def test_results_are_read_from_the_catalog_by_name_and_nothing_is_stored():
    catalog = DataCatalog({"search.search_report": MemoryDataset({"w": 1}), "search_results": StageResultsDataset()})
    catalog["search_results"].read_from(catalog)
    catalog.save("search_results", ["search.search_report"])
    results = catalog.load("search_results")
    assert results.loaded == set()
    assert results.load("search.search_report") == {"w": 1}
    assert results.loaded == {"search.search_report"}
    assert catalog.exists("search_results")


def test_without_a_session_there_is_nothing_to_read_from():
    with pytest.raises(DatasetError, match="can be loaded in a Kedro session alone"):
        StageResultsDataset().load()
