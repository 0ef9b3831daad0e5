"""The bytes of an export, told from its shape, are those of the file."""

import numpy as np
import pytest

from bort_kedro.encoders.costs import ShapeArrays
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.exports.formats import FORMATS
from bort_kedro.exports.runtimes import RUNTIMES, convert
from bort_kedro.exports.sizes import STORED, exported_bytes
from bort_kedro.exports.timed_classifiers import drawn_classifier

# Far from each other in every size, so that no term can stand in for another.
CASES = [(BertShape(1, 2, 32, 64), 1000, 64), (BertShape(3, 4, 96, 320), 3000, 128)]


def files_of(name, shape, vocabulary_size, max_positions, folder):
    model = drawn_classifier(shape, vocabulary_size, max_positions)
    if name is None:
        model.save_pretrained(folder)
        return [folder / "model.safetensors"]
    ids = np.arange(16)[None]
    convert(name, model, [{"input_ids": ids, "attention_mask": np.ones_like(ids)}], folder)
    return [folder / file for file in RUNTIMES[name].files]


@pytest.mark.slow
@pytest.mark.parametrize("name", [None, *FORMATS])
@pytest.mark.parametrize(("shape", "vocabulary_size", "max_positions"), CASES)
def test_the_bytes_told_from_a_shape_are_those_of_its_export(name, shape, vocabulary_size, max_positions, tmp_path):
    files = files_of(name, shape, vocabulary_size, max_positions, tmp_path)
    told = exported_bytes(shape, name, vocabulary_size=vocabulary_size, max_positions=max_positions)
    assert told == pytest.approx(sum(file.stat().st_size for file in files), rel=0.02)


def test_weights_of_pytorch_take_four_bytes_each_and_of_int8_one():
    sizes = {"vocabulary_size": 30_000, "max_positions": 512}
    shape = BertShape(12, 12, 768, 3072)
    weights = sum(each.numel() for each in drawn_classifier(BertShape(1, 2, 8, 16), 50, 8).parameters())
    told = exported_bytes(BertShape(1, 2, 8, 16), None, vocabulary_size=50, max_positions=8)
    # But for the two biases of the labels, all else is what the file says of itself.
    assert told - 4 * (weights - 2) == STORED[None].layer + STORED[None].description
    fp32, int8 = (exported_bytes(shape, name, **sizes) for name in ("onnx", "onnx_int8"))
    assert 3.8 < fp32 / int8 < 4.0


def test_bytes_of_many_shapes_are_those_of_each():
    shapes = [shape for shape, _, _ in CASES]
    sizes = {"vocabulary_size": 1000, "max_positions": 64}
    assert tuple(STORED) == (None, *FORMATS)
    for name in STORED:
        told = exported_bytes(ShapeArrays.of(shapes), name, **sizes)
        assert told.tolist() == [exported_bytes(shape, name, **sizes) for shape in shapes]
