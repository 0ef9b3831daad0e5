import pytest
from pydantic import ValidationError

from bort_kedro.exports.formats import FORMATS
from bort_kedro.exports.settings import ExportSettings
from bort_kedro.pipelines.evaluate import create_pipeline
from project_parameters import parameters


def test_the_default_exports_to_every_format():
    assert set(parameters("base").evaluate.export.formats) == set(FORMATS)


@pytest.mark.parametrize("names", [("onnx", "onnx"), ("tflite",)], ids=["twice", "unknown"])
def test_unknown_formats_and_repeated_ones_are_refused(names):
    values = parameters("smoke").evaluate.export.model_dump() | {"formats": names}
    with pytest.raises(ValidationError) as caught:
        ExportSettings(**values)
    assert f"formats is {list(names)}, allowed are different keys out of onnx, onnx_int8, openvino_int8" in str(
        caught.value
    )


def test_diagnostics_have_no_model_of_their_own_to_export():
    names = {node.name for node in create_pipeline(["mnli", "ax"]).nodes}
    assert "evaluate.mnli.export_model_node" in names
    assert "evaluate.ax.export_model_node" not in names
