"""Encoders timed side by side, by shape and condition."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import torch

from bort_kedro.device import describe_device
from bort_kedro.encoders.costs import count_parameters
from bort_kedro.errors import ConfigurationError
from bort_kedro.latency.conditions import BYTES_PER_WEIGHT, Condition, Latency
from bort_kedro.latency.measure import measure_latency
from bort_kedro.latency.settings import LatencySettings
from bort_kedro.latency.timed_encoders import build_headless_encoder, shared_word_table, with_masked_lm_head
from bort_kedro.progress import track
from bort_kedro.training.memory import memory_shortage_told
from bort_kedro.training.saved_state import SavedState, States

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from transformers import BertModel

    from bort_kedro.encoders.shapes import BertShape
    from bort_kedro.frozen import JsonObject

# Weights alive at one time. All of KNOWN_SHAPES fit together at 50 265 tokens (2.2 GB), and a whole run stays
# under 4 GB.
MAX_GROUP_BYTES = 2_800_000_000


@dataclass(frozen=True)
class OtherRuntime:
    """What is timed in the place of headless encoders under PyTorch.

    Args:
        identity: Of what the times depend on.
        build: From shapes, V, rows of the position embeddings and the device to what is called with ``input_ids``
            (B, L), by identifier of the shape.
    """

    identity: JsonObject
    build: Callable[[Sequence[BertShape], int, int, str], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Timing(Latency):
    """Latency of the encoder of one shape."""

    shape: BertShape


def time_shapes(
    shapes: Sequence[BertShape],
    settings: LatencySettings,
    *,
    vocabulary_size: int,
    device: str = "cpu",
    runtime: OtherRuntime | None = None,
    clock: Callable[[], float] = time.perf_counter,
    max_group_bytes: int = MAX_GROUP_BYTES,
) -> list[Timing]:
    """Time the headless encoder of each shape under one condition, in their order; see `time_conditions`."""
    condition = Condition(settings.batch_size, settings.sequence_length, settings.num_threads, device=device)
    return time_conditions(
        shapes,
        [condition],
        vocabulary_size=vocabulary_size,
        warmup_rounds=settings.warmup_rounds,
        timed_rounds=settings.timed_rounds,
        runtime=runtime,
        clock=clock,
        max_group_bytes=max_group_bytes,
    )[condition]


def time_conditions(
    shapes: Sequence[BertShape],
    conditions: Sequence[Condition],
    *,
    vocabulary_size: int,
    warmup_rounds: int,
    timed_rounds: int,
    turn_ms: float = 0.0,
    runtime: OtherRuntime | None = None,
    clock: Callable[[], float] = time.perf_counter,
    max_group_bytes: int = MAX_GROUP_BYTES,
) -> dict[Condition, list[Timing]]:
    """Time the encoder of each shape under each condition, on unpadded sequences, in the order of ``shapes``.

    Shapes are interleaved as far as their weights fit into ``max_group_bytes`` together; what does not fit is timed in
    a following group, and a shape met twice once. All weights are given back at the end. A runtime in the place of
    PyTorch has no masked-LM head. The other arguments are those of `measure_latency`.

    Raises:
        FailedTrainingError: If the device has too little memory.
    """
    found: dict[tuple[Condition, BertShape], Timing] = {}
    max_positions = max(condition.sequence_length for condition in conditions)
    groups = _groups(shapes, vocabulary_size, max_positions, max_group_bytes, shares_table=runtime is None)
    build: Callable[..., Mapping[str, Any]] = _encoders if runtime is None else runtime.build
    devices = dict.fromkeys(condition.device for condition in conditions)
    for device, (number, group) in product(devices, enumerate(groups, 1)):
        with memory_shortage_told(
            f"Timing {len(group)} encoders, the last of them {group[-1]}",
            f"the memory of the device `{device}` is too small",
            "Lower batch sizes or lengths (params:search.latency, params:evaluate.speed), or leave out large shapes "
            "(params:search.space, params:evaluate.speed.compare_with).",
        ):
            encoders = build(group, vocabulary_size, max_positions, device)
            for condition in (each for each in conditions if each.device == device):
                latencies = measure_latency(
                    {
                        name: with_masked_lm_head(encoder) if condition.has_head else encoder
                        for name, encoder in encoders.items()
                    },
                    {"input_ids": random_ids(condition, vocabulary_size)},
                    warmup_rounds=warmup_rounds,
                    timed_rounds=timed_rounds,
                    num_threads=condition.num_threads,
                    turn_ms=turn_ms,
                    device=device,
                    clock=clock,
                    description=f"timing encoders{_condition_text(condition)}, group {number} of {len(groups)}",
                )
                for shape in group:
                    found[condition, shape] = Timing(shape=shape, **vars(latencies[shape.identifier]))
            del encoders
    return {condition: [found[condition, shape] for shape in shapes] for condition in conditions}


def random_ids(condition: Condition, vocabulary_size: int) -> torch.Tensor:
    """(B, L) tokens of any kind, the same for the same condition, on its device."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocabulary_size, (condition.batch_size, condition.sequence_length), generator=generator).to(
        condition.device
    )


def _encoders(
    group: Sequence[BertShape], vocabulary_size: int, max_positions: int, device: str
) -> dict[str, BertModel]:
    """Headless encoders by identifier of their shape, over one table of words."""
    table = shared_word_table(group, vocabulary_size=vocabulary_size, device=device)
    return {
        shape.identifier: build_headless_encoder(
            shape, vocabulary_size=vocabulary_size, sequence_length=max_positions, device=device, word_table=table
        )
        for shape in track(group, "building encoders to time", total=len(group))
    }


def _condition_text(condition: Condition) -> str:
    """What sets it apart for who watches the progress."""
    head = ", with a head" if condition.has_head else ""
    device = "" if condition.device == "cpu" else f", {condition.device}"
    tokens = f"{condition.batch_size} x {condition.sequence_length} tokens"
    return f" ({tokens}, {condition.num_threads} thread(s){head}{device})"


def time_shapes_once(
    shapes: Sequence[BertShape],
    states: States,
    settings: LatencySettings,
    *,
    vocabulary_size: int,
    device: str,
    runtime: OtherRuntime | None = None,
) -> list[Timing]:
    """As `time_shapes`, but shapes timed before on this machine under the same settings are not timed again.

    A search that was interrupted thus goes on with the latencies it began with. Only a whole list is found again,
    because latencies are comparable within one measurement.
    """
    conditions = settings.model_dump(include=set(LatencySettings.model_fields))
    identity = {
        "shapes": [shape.identifier for shape in shapes],
        "settings": conditions | {"vocabulary_size": vocabulary_size, "device": device},
        "device": describe_device(),
        "versions": {"torch": torch.__version__},
        **({"runtime": runtime.identity} if runtime else {}),
    }
    kept = states.of("search/latency", identity)
    if (found := kept.latest()) is not None:
        return [Timing(shape=shape, **row) for shape, row in zip(shapes, found.record["timings"], strict=True)]
    timings = time_shapes(shapes, settings, vocabulary_size=vocabulary_size, device=device, runtime=runtime)
    rows = [{name: value for name, value in vars(timing).items() if name != "shape"} for timing in timings]
    kept.put(SavedState(1, {}, {"timings": rows}))
    return timings


def resolve_device(name: str) -> str:
    """``cuda`` or ``cpu`` for ``auto``, and the name itself otherwise.

    Raises:
        ConfigurationError: If cuda is asked for and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ConfigurationError(
            "The target device is `cuda`, and this machine has no CUDA device. Allowed here: `auto` and `cpu`. "
            "Change params:search.latency.device."
        )
    if name == "auto":
        return "cuda" if has_cuda else "cpu"
    return name


def _groups(
    shapes: Sequence[BertShape], vocabulary_size: int, max_positions: int, max_bytes: int, *, shares_table: bool
) -> list[list[BertShape]]:
    """The distinct shapes cut into runs whose weights fit together, beside one table of words or each with its own."""
    table = vocabulary_size * max(shape.hidden_size for shape in shapes) if shares_table else 0
    groups: list[list[BertShape]] = []
    used = 0
    for shape in dict.fromkeys(shapes):
        count = count_parameters(shape, vocabulary_size=vocabulary_size, max_positions=max_positions)
        own = count.embeddings + count.encoder + count.masked_lm_head
        if shares_table:
            own -= vocabulary_size * shape.hidden_size
        if not groups or BYTES_PER_WEIGHT * (used + own) > max_bytes:
            groups.append([])
            used = table
        groups[-1].append(shape)
        used += own
    return groups
