"""Bytes of the file that a model becomes in each format, from its shape alone."""

from typing import NamedTuple

from bort_kedro.encoders.costs import Count, Sizes

# The safetensors of PyTorch, where no runtime is named.
PYTORCH = None
NUM_LABELS = 2


class _Stored(NamedTuple):
    """What a format takes of a classifier, in bytes.

    Biases and layer norms stay in four bytes; int8 adds a scale and a zero point of every output, OpenVINO one of every
    input too. What a graph says of itself was counted in files of the versions that constraints.txt names.

    Attributes:
        weight: One of a matrix or a table of embeddings.
        head_weight: One of pooler and classifier.
        row: Beside the weights of a row of words or positions.
        layer_hidden: In each layer, of each of its H.
        layer_intermediate: Of each of its I.
        outer_hidden: Outside the layers, of each H: the norm of the embeddings, the pooler's bias.
        layer: The description of one.
        position: Constants of each, where a graph has such.
        description: Of all else.
    """

    weight: int
    head_weight: int
    row: int
    layer_hidden: int
    layer_intermediate: int
    outer_hidden: int
    layer: int
    position: int
    description: int


STORED = {
    PYTORCH: _Stored(4, 4, 0, 36, 4, 12, 1_760, 0, 870),
    "onnx": _Stored(4, 4, 0, 36, 4, 12, 21_760, 16, 17_370),
    "onnx_int8": _Stored(1, 4, 0, 61, 9, 12, 25_750, 16, 18_850),
    "openvino_int8": _Stored(1, 1, 4, 68, 12, 24, 55_050, 16, 59_590),
}


def exported_bytes(shape: Sizes[Count], runtime: str | None, *, vocabulary_size: int, max_positions: int) -> Count:
    """Bytes of a BERT classifier of two labels: the graph with its weights, no tokenizer.

    The shape may be those of many; a runtime that is None is PyTorch.
    """
    stored, hidden, intermediate = STORED[runtime], shape.hidden_size, shape.intermediate_size
    num_rows = vocabulary_size + max_positions
    layer = (
        stored.weight * (4 * hidden * hidden + 2 * hidden * intermediate)
        + stored.layer_hidden * hidden
        + stored.layer_intermediate * intermediate
        + stored.layer
    )
    # One row of token types.
    embeddings = stored.weight * (num_rows + 1) * hidden + stored.row * num_rows + stored.position * max_positions
    head = stored.head_weight * (hidden * hidden + NUM_LABELS * hidden)
    return shape.num_hidden_layers * layer + embeddings + head + stored.outer_hidden * hidden + stored.description
