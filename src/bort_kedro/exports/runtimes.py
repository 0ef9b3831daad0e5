"""Runtimes that a model is exported to: ONNX Runtime in fp32 and int8, OpenVINO in int8.

What was chosen among the exporters and the ways to quantise, and why, is in `docs/decisions/0016-exports.md`.
"""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bort_kedro.environment import environment_variables

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    # (B, L) by name: input_ids, attention_mask, and token_type_ids where the model knows of such.
    Inputs = Mapping[str, NDArray[np.int64]]
    Session = Callable[..., NDArray[np.float32]]

ONNX_GRAPH, OPENVINO_GRAPH, OPENVINO_WEIGHTS = "model.onnx", "openvino_model.xml", "openvino_model.bin"
OUTPUT = "output"
OPSET = 18
# Of the example a graph is traced with; no dimension may be 1, which could stand for any.
TRACED_BATCH, TRACED_LENGTH = 2, 16
ERRORS_ONLY = 3
# onnx's code for float32, the type of what the optimiser made and whose type quantisation cannot tell.
FLOAT32 = 1
# openvino and nncf send statistics of use unless this says that nobody is there to ask.
TELEMETRY_OFF = {"CI": "true", "NNCF_CI": "1"}


@dataclass(frozen=True)
class Runtime:
    """One way to run a model without PyTorch.

    Args:
        write: The folder of a model, given calibration inputs.
        open: From the folder and a number of threads to something that is called with inputs by name.
    """

    title: str
    files: tuple[str, ...]
    write: Callable[[PreTrainedModel, Sequence[Inputs], Path], None]
    open: Callable[[Path, int], Session]


def convert(name: str, model: PreTrainedModel, calibration: Sequence[Inputs], folder: Path) -> None:
    """Write a model for a runtime, a key of `RUNTIMES`, over what the folder has of it; nothing is sent anywhere.

    The model is on the CPU, and is put into evaluation mode. Its first output is exported: logits, or the last hidden
    state of an encoder without a head. Static int8 takes the range of each activation from real inputs, at least one;
    fp32 and dynamic int8 need none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    with _quietly(), torch.no_grad():
        RUNTIMES[name].write(model, calibration, folder)


def open_session(name: str, folder: Path, *, num_threads: int) -> Session:
    """Open what `convert` wrote.

    Returns:
        Called with ``input_ids``, ``attention_mask`` and, where the model knows of such, ``token_type_ids``, each
        (B, L) int64; gives the model's first output in fp32. Names that the graph does not have are passed over.
    """
    with _quietly():
        return RUNTIMES[name].open(folder, num_threads)


def input_names(model: PreTrainedModel) -> tuple[str, ...]:
    """What a model is asked with; one that does not tell two texts apart is not told."""
    names = ("input_ids", "attention_mask")
    return (*names, "token_type_ids") if getattr(model.config, "type_vocab_size", 1) > 1 else names


def _traced_inputs(model: PreTrainedModel) -> dict[str, Tensor]:
    """What a graph is traced with; some of it is padding, so that no mask is taken for one of ones."""
    ids = torch.ones((TRACED_BATCH, TRACED_LENGTH), dtype=torch.int64)
    mask = ids.clone()
    mask[-1, TRACED_LENGTH // 2 :] = 0
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    return {name: inputs[name] for name in input_names(model)}


class _FirstOutput(nn.Module):
    """A model with one output, and with the inputs of its graph alone."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self._model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        told = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        first: Tensor = self._model(input_ids=input_ids, attention_mask=attention_mask, **told)[0]
        return first


def _write_onnx(model: PreTrainedModel, calibration: Sequence[Inputs], folder: Path) -> None:
    inputs = _traced_inputs(model)
    torch.onnx.export(
        _FirstOutput(model).eval(),
        tuple(inputs.values()),
        str(folder / ONNX_GRAPH),
        input_names=list(inputs),
        output_names=[OUTPUT],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in inputs},
        opset_version=OPSET,
        dynamo=False,
    )


def _write_onnx_int8(model: PreTrainedModel, calibration: Sequence[Inputs], folder: Path) -> None:
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory(dir=folder) as place:
        _write_onnx(model, calibration, Path(place))
        optimised = Path(place) / "optimised.onnx"
        options = _session_options(1)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimised)
        onnxruntime.InferenceSession(str(Path(place) / ONNX_GRAPH), options, providers=["CPUExecutionProvider"])
        quantize_dynamic(
            optimised,
            folder / ONNX_GRAPH,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # Seven bits: without VNNI, a sum of two products of eight bits runs over.
            reduce_range=True,
            extra_options={"DefaultTensorType": FLOAT32},
        )


def _write_openvino_int8(model: PreTrainedModel, calibration: Sequence[Inputs], folder: Path) -> None:
    import nncf
    import openvino

    inputs = _traced_inputs(model)
    # Straight from PyTorch: what comes by way of ONNX cannot be compiled once it is quantised (OpenVINO 2026.4).
    graph = openvino.convert_model(
        _FirstOutput(model).eval(),
        example_input=inputs,
        input=[(name, openvino.PartialShape([-1, -1])) for name in inputs],
    )
    samples = [{name: sample[name] for name in inputs} for sample in calibration]
    quantized = nncf.quantize(
        graph, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples)
    )
    openvino.save_model(quantized, folder / OPENVINO_GRAPH)


def _session_options(num_threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    options.log_severity_level = ERRORS_ONLY
    return options


def _open_onnx(folder: Path, num_threads: int) -> Session:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(folder / ONNX_GRAPH), _session_options(num_threads), providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_inputs()]

    def answer(**inputs: NDArray[np.int64]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = session.run([OUTPUT], {name: inputs[name] for name in names})[0]
        return output

    return answer


def _open_openvino(folder: Path, num_threads: int) -> Session:
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": num_threads}
    compiled = openvino.Core().compile_model(folder / OPENVINO_GRAPH, "CPU", settings)
    names = [each.get_any_name() for each in compiled.inputs]
    request = compiled.create_infer_request()

    def answer(**inputs: NDArray[np.int64]) -> NDArray[np.float32]:
        # A copy: the next pass writes into the same memory.
        output: NDArray[np.float32] = request.infer({name: inputs[name] for name in names})[0].copy()
        return output

    return answer


# Streams, logging and environment belong to the process; blocks that overlap would put back what the other had set.
_ALONE = threading.RLock()


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the tools' progress, advice and statistics of use, which the whole process loses: one block at a time."""
    with _ALONE, environment_variables(TELEMETRY_OFF):
        disabled = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                yield
        finally:
            logging.disable(disabled)


RUNTIMES = {
    "onnx": Runtime("ONNX Runtime fp32", (ONNX_GRAPH,), _write_onnx, _open_onnx),
    "onnx_int8": Runtime("ONNX Runtime int8", (ONNX_GRAPH,), _write_onnx_int8, _open_onnx),
    "openvino_int8": Runtime("OpenVINO int8", (OPENVINO_GRAPH, OPENVINO_WEIGHTS), _write_openvino_int8, _open_openvino),
}
