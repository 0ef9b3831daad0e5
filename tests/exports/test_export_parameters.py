import pytest
from kedro.pipeline import Pipeline
from pydantic import ValidationError

from bort_kedro.errors import ConfigurationError
from bort_kedro.exports import formats
from bort_kedro.exports.settings import ExportSettings
from bort_kedro.pipelines.evaluate import create_pipeline
from bort_kedro.session import hooks
from project_parameters import parameters


def test_the_default_exports_to_every_format():
    assert set(parameters("base").evaluate.export.formats) == set(formats.PACKAGES)


@pytest.mark.parametrize("names", [("onnx", "onnx"), ("tflite",)], ids=["twice", "unknown"])
def test_unknown_formats_and_repeated_ones_are_refused(names):
    values = parameters("smoke").evaluate.export.model_dump() | {"formats": names}
    with pytest.raises(ValidationError) as caught:
        ExportSettings(**values)
    assert f"formats is {list(names)}, allowed are different keys out of onnx, onnx_int8, openvino_int8" in str(
        caught.value
    )


def test_a_missing_package_stops_a_run_that_exports_before_its_first_node(monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    smoke = parameters("smoke").evaluate.export
    hooks._require_runtimes(Pipeline([]), smoke)
    with pytest.raises(ConfigurationError, match=r"Exports to onnx need the packages onnx, onnxruntime, which are not"):
        hooks._require_runtimes(create_pipeline(["library"]), smoke)


def test_diagnostics_have_no_model_of_their_own_to_export():
    names = {node.name for node in create_pipeline(["mnli", "ax"]).nodes}
    assert "evaluate.mnli.export_model_node" in names
    assert "evaluate.ax.export_model_node" not in names
