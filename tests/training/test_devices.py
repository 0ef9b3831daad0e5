import pytest

from bort_kedro.errors import ConfigurationError
from bort_kedro.training.devices import DATA_SHEETS, data_sheet_of, named_data_sheet


def test_a_device_that_tells_its_name_is_found_by_its_most_exact_row():
    assert data_sheet_of("NVIDIA H100 PCIe").half == 756e12
    assert data_sheet_of("NVIDIA H100 80GB HBM3").half == 989e12
    assert data_sheet_of("Tesla V100-SXM2-16GB").peak("fp16") == 125e12
    assert data_sheet_of("NVIDIA H200").half == 989e12
    assert data_sheet_of("NVIDIA H200 NVL").half == 835e12
    assert data_sheet_of("NVIDIA A100-SXM4-80GB").half == 312e12
    assert data_sheet_of("NVIDIA L40S").name == "L40S"
    # Others than L4 and A10, whose names they begin with.
    assert data_sheet_of("NVIDIA L40") is data_sheet_of("NVIDIA A10G") is None
    assert data_sheet_of("Another Maker's") is None


@pytest.mark.parametrize("sheet", DATA_SHEETS, ids=lambda sheet: sheet.name)
def test_every_row_is_found_by_its_own_name(sheet):
    assert named_data_sheet(sheet.name.lower()) is sheet
    assert data_sheet_of(f"NVIDIA {sheet.name}") is sheet


def test_a_device_that_is_not_in_the_table_is_told_with_all_that_are():
    with pytest.raises(
        ConfigurationError, match=r"The device `B300` is not in the table\. There are: H200 NVL, .*RTX 3090"
    ):
        named_data_sheet("B300")
