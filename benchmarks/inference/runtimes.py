"""Bort in each runtime against BERT-base and BERT-large in PyTorch, and int8 against int8."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from benchmarks.inference.setting import MAX_POSITIONS, PRODUCTS, Setting
from benchmarks.own_process import in_own_process, on_the_cpu
from bort_kedro.environment import environment_variables
from bort_kedro.latency.conditions import CHOSEN, Latency
from bort_kedro.progress import track

if TYPE_CHECKING:
    from bort_kedro.encoders.shapes import BertShape

PYTORCH = "pytorch"
INT8 = ("onnx_int8", "openvino_int8")
RUNTIMES = (PYTORCH, "onnx", *INT8)
# Those that lose to overhead what they save in operations, the largest first, as far as the machine's limit goes.
ENCODERS = ("bort", "minilm_l6", "tinybert_4", CHOSEN)
# By encoder and runtime; int8 of the references is what Bort in int8 is like.
SYSTEMS = (
    *((reference, runtime) for reference in ("bert_large", "bert_base") for runtime in (PYTORCH, *INT8)),
    *((key, runtime) for key in (*ENCODERS, PRODUCTS) for runtime in RUNTIMES),
)
# Pairs of products, up and down, each with weights of its own: more than fit into a cache, as an encoder's do.
NUM_PRODUCT_PAIRS = 4
NUM_CALIBRATION_INPUTS = 4
# What a conversion takes at most: that of BERT-large, about five times its weights.
CONVERSION_BYTES = 8_000_000_000

System = tuple[str, str]


@dataclass(frozen=True)
class TimedRuntime:
    """A pass of one system.

    Args:
        latency: Of a pass.
        bytes: Of the folder that it was opened from, or of the weights in PyTorch.
    """

    latency: Latency
    bytes: int


def measure(setting: Setting, folder: Path, num_cores: int) -> tuple[dict[System, TimedRuntime], dict[System, str]]:
    """Convert every system in a process of its own, side by side as far as memory goes, then time them all in one
    process, interleaved.

    Args:
        setting: Of the passes.
        folder: Where the converted models go.
        num_cores: Of the machine, for the conversions.

    Returns:
        What was timed, and why the others could not be converted.
    """
    reasons: dict[System, str] = {}
    folders: dict[System, Path] = {}
    side_by_side = max(1, min(num_cores, psutil.virtual_memory().available // CONVERSION_BYTES))
    shared = on_the_cpu(max(1, num_cores // side_by_side))

    def converted(system: System) -> Path:
        place = folder / "-".join(system)
        place.mkdir()
        in_own_process({}, convert_system, system, setting, place)
        return place

    with environment_variables(shared), ThreadPoolExecutor(side_by_side) as pool:
        coming = {pool.submit(converted, system): system for system in SYSTEMS if system[1] != PYTORCH}
        for done in track(as_completed(coming), "converting", total=len(coming)):
            try:
                folders[coming[done]] = done.result()
            # One that needs more memory than there is dies, and the others go on.
            except Exception as error:
                reasons[coming[done]] = f"{type(error).__name__}: {error}"
    return in_own_process(on_the_cpu(setting.num_threads), time_systems, setting, folders), reasons


def convert_system(system: System, setting: Setting, folder: Path) -> None:
    """Write one encoder for one runtime, calibrated on random tokens: for its time, weights and ranges do not matter.

    Args:
        system: Of `SYSTEMS`.
        setting: Of the passes.
        folder: That exists.
    """
    from bort_kedro.exports.runtimes import convert

    calibration = [_inputs(setting, seed) for seed in range(NUM_CALIBRATION_INPUTS)]
    convert(system[1], _encoder(system[0], setting), calibration, folder)


def time_systems(setting: Setting, folders: Mapping[System, Path]) -> dict[System, TimedRuntime]:
    """Time the encoders in PyTorch and in the folders, in interleaved rounds of one process.

    Args:
        setting: Of the passes.
        folders: By system, what `convert_system` wrote.
    """
    import torch

    from bort_kedro.exports.runtimes import open_session
    from bort_kedro.latency.measure import measure_latency

    inputs = _inputs(setting, seed=0)
    tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
    models: dict[System, Callable[..., Any]] = {}
    sizes: dict[System, int] = {}
    for system in SYSTEMS:
        if system[1] == PYTORCH:
            encoder = _encoder(system[0], setting)
            models[system] = lambda _encoder=encoder, **_: _encoder(**tensors)
            sizes[system] = sum(weights.nbytes for weights in encoder.parameters())
        elif system in folders:
            models[system] = open_session(system[1], folders[system], num_threads=setting.num_threads)
            sizes[system] = sum(file.stat().st_size for file in folders[system].rglob("*") if file.is_file())
    latencies = measure_latency(
        {"-".join(system): model for system, model in models.items()},
        inputs,
        warmup_rounds=setting.warmup_rounds,
        timed_rounds=setting.timed_rounds,
        num_threads=setting.num_threads,
        turn_ms=setting.turn_ms,
        description="timing runtimes",
    )
    return {system: TimedRuntime(latencies["-".join(system)], sizes[system]) for system in models}


def _encoder(key: str, setting: Setting) -> Any:
    """With weights drawn one by one: a graph keeps what is there twice once, and that would fit into caches."""
    from bort_kedro.encoders.encoder import bert_config, build_masked_lm
    from bort_kedro.encoders.initialization import PUBLISHED

    if key == PRODUCTS:
        return matrix_products(setting.shape_of(key), vocabulary_size=setting.vocabulary_size)
    config = bert_config(
        setting.shape_of(key),
        vocabulary_size=setting.vocabulary_size,
        max_positions=MAX_POSITIONS,
        initialization=PUBLISHED,
    )
    return build_masked_lm(config, seed=0, initialization=PUBLISHED).bert.eval()


def matrix_products(shape: BertShape, *, vocabulary_size: int) -> Any:
    """The products of a shape's feed-forward layers and nothing between them, as `convert` takes a model.

    What int8 makes of these is what the machine and the runtime can give: an encoder adds to them.
    """
    import torch
    from torch import nn

    class Products(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = SimpleNamespace(type_vocab_size=1)
            hidden, intermediate = shape.hidden_size, shape.intermediate_size
            self.rows = nn.Embedding(vocabulary_size, hidden)
            sizes = [(hidden, intermediate), (intermediate, hidden)] * NUM_PRODUCT_PAIRS
            self.products = nn.Sequential(*(nn.Linear(*each, bias=False) for each in sizes))
            for each in self.products:
                # As large going out as coming in.
                nn.init.normal_(each.weight, std=each.in_features**-0.5)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.products(self.rows(input_ids) * attention_mask[..., None]),)

    torch.manual_seed(0)
    return Products().eval()


def _inputs(setting: Setting, seed: int) -> dict[str, np.ndarray]:
    ids = np.random.default_rng(seed).integers(setting.vocabulary_size, size=(1, setting.sequence_length))
    return {"input_ids": ids.astype(np.int64), "attention_mask": np.ones_like(ids, dtype=np.int64)}
