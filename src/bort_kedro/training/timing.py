"""Latency of encoders side by side: interleaved rounds, warm-up thrown away, medians with quartiles."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import BertModel

from bort_kedro.core.costs import count_parameters
from bort_kedro.core.saved_state import SavedState
from bort_kedro.device import describe_device
from bort_kedro.errors import ConfigurationError
from bort_kedro.models.encoder import bert_config
from bort_kedro.progress import track
from bort_kedro.training.threads import cpu_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bort_kedro.core.shapes import BertShape

# Weights alive at one time. BERT-large, BERT-base and the Borts fit together at 50 265 tokens (2.6 GB),
# and a whole run stays under 4 GB.
MAX_GROUP_BYTES = 2_800_000_000
BYTES_PER_WEIGHT = 4
WEIGHT_SCALE = 0.02
NOISE_SIZE = 2**20


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass, in milliseconds.

    Args:
        median_ms: Over all timed passes.
        lower_quartile_ms: A quarter of the passes took less.
        upper_quartile_ms: A quarter of the passes took more.
        rounds: Timed rounds; a fast model makes several passes a round.
    """

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    rounds: int


@dataclass(frozen=True)
class Timing(Latency):
    """Latency of the headless encoder of one shape."""

    shape: BertShape


def measure_latency(
    models: Mapping[str, Callable[..., Any]],
    inputs: Mapping[str, Any],
    *,
    warmup_rounds: int,
    timed_rounds: int,
    num_threads: int,
    turn_ms: float = 0.0,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
    description: str = "timing encoders",
) -> dict[str, Latency]:
    """Time models against each other in interleaved rounds.

    Every model has one turn a round, and the order turns by one place from round to round, so that a slow
    spell of the machine, or the caches a neighbour leaves, fall on all models alike. torch's thread count is
    fixed for the measurement and put back afterwards.

    Args:
        models: By name; each is called with ``inputs`` as keywords, and lies on ``device`` already.
        inputs: Keywords of a forward pass.
        warmup_rounds: Rounds run and thrown away first.
        timed_rounds: Rounds kept.
        num_threads: torch threads.
        turn_ms: A turn repeats the pass until this time has gone by, at least once, so that a fast model
            is timed often and with its weights in the caches.
        device: Where the models lie; work queued there is waited for.
        clock: Seconds from any origin; tests pass their own.
        description: For the progress bar.

    Returns:
        By name, in the order of ``models``.
    """
    names = list(models)
    passes: dict[str, list[float]] = {name: [] for name in names}
    num_rounds = warmup_rounds + timed_rounds
    with cpu_threads(num_threads), torch.inference_mode():
        for number in track(range(num_rounds), description, total=num_rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                turn = _take_turn(models[name], inputs, turn_ms=turn_ms, device=device, clock=clock)
                if number >= warmup_rounds:
                    passes[name] += turn
    return {name: _summary(passes[name], timed_rounds) for name in names}


def _take_turn(
    model: Callable[..., Any],
    inputs: Mapping[str, Any],
    *,
    turn_ms: float,
    device: str,
    clock: Callable[[], float],
) -> list[float]:
    """Milliseconds of each pass of one turn."""
    passes: list[float] = []
    while not passes or sum(passes) < turn_ms:
        before = clock()
        model(**inputs)
        _wait_for(device)
        passes.append(1000 * (clock() - before))
    return passes


def _wait_for(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _summary(passes: list[float], rounds: int) -> Latency:
    lower, median, upper = np.percentile(passes, [25, 50, 75])
    return Latency(float(median), float(lower), float(upper), rounds)


def build_headless_encoder(
    shape: BertShape, *, vocabulary_size: int, sequence_length: int, device: str = "cpu"
) -> BertModel:
    """An encoder without pooler and head, in evaluation mode, with weights that are right for timing only.

    The weights are one block of small noise, repeated: the time of a pass does not depend on them, and
    drawing hundreds of millions of random numbers would take longer than all the passes.
    """
    config = bert_config(shape, vocabulary_size=vocabulary_size, max_positions=sequence_length)
    with torch.device("meta"):
        model: BertModel = BertModel(config, add_pooling_layer=False)
    model.to_empty(device=device)
    noise = WEIGHT_SCALE * torch.randn(NOISE_SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            for piece in parameter.view(-1).split(NOISE_SIZE):
                piece.copy_(noise[: piece.numel()])
        # Buffers are no parameters, and to_empty left them unset.
        model.embeddings.position_ids.copy_(torch.arange(sequence_length).unsqueeze(0))
        model.embeddings.token_type_ids.zero_()
    model.eval()
    return model


def time_shapes(
    shapes: Sequence[BertShape],
    *,
    batch_size: int,
    sequence_length: int,
    vocabulary_size: int,
    warmup_rounds: int,
    timed_rounds: int,
    num_threads: int,
    turn_ms: float = 0.0,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
    max_group_bytes: int = MAX_GROUP_BYTES,
) -> list[Timing]:
    """Time the headless encoder of each shape, on unpadded sequences; results in the order of ``shapes``.

    Shapes are interleaved as far as their weights fit into ``max_group_bytes`` together; what does not
    fit is timed in a following group. All weights are given back at the end.

    Args:
        shapes: To be timed; a shape met twice is timed once.
        batch_size: B, sequences of a pass.
        sequence_length: L, tokens of a sequence.
        vocabulary_size: V, rows of the word embeddings.
        warmup_rounds: See `measure_latency`, as for the arguments not listed here.
        timed_rounds: As above.
        num_threads: As above.
        turn_ms: As above.
        device: Where to measure.
        clock: As above.
        max_group_bytes: Weights alive at one time; a single shape above it is timed alone.
    """
    ids = torch.randint(vocabulary_size, (batch_size, sequence_length), generator=torch.Generator().manual_seed(0))
    inputs: dict[str, Tensor] = {"input_ids": ids.to(device)}
    found: dict[BertShape, Timing] = {}
    groups = _groups(shapes, vocabulary_size, sequence_length, max_group_bytes)
    for number, group in enumerate(groups, 1):
        models = {
            shape.identifier: build_headless_encoder(
                shape, vocabulary_size=vocabulary_size, sequence_length=sequence_length, device=device
            )
            for shape in track(group, "building encoders to time", total=len(group))
        }
        latencies = measure_latency(
            models,
            inputs,
            warmup_rounds=warmup_rounds,
            timed_rounds=timed_rounds,
            num_threads=num_threads,
            turn_ms=turn_ms,
            device=device,
            clock=clock,
            description=f"timing encoders, group {number} of {len(groups)}",
        )
        for shape in group:
            found[shape] = Timing(shape=shape, **vars(latencies[shape.identifier]))
        del models
    return [found[shape] for shape in shapes]


def time_shapes_once(shapes: Sequence[BertShape], states: Any, **settings: Any) -> list[Timing]:
    """As `time_shapes`, but shapes timed before on this machine under the same settings are not timed again.

    A search that was interrupted thus goes on with the latencies it began with. Only a whole list is found
    again, because latencies are comparable within one measurement.

    Args:
        shapes: To be timed.
        states: Handle with ``of(name, identity)``, such as `datasets.training_states.TrainingStates`.
        settings: Of `time_shapes`.
    """
    identity = {
        "shapes": [shape.identifier for shape in shapes],
        "settings": settings,
        "device": describe_device(),
        "versions": {"torch": torch.__version__},
    }
    kept = states.of("search/latency", identity)
    if (found := kept.latest()) is not None:
        return [Timing(shape=shape, **row) for shape, row in zip(shapes, found.record["timings"], strict=True)]
    timings = time_shapes(shapes, **settings)
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
    shapes: Sequence[BertShape], vocabulary_size: int, sequence_length: int, max_bytes: int
) -> list[list[BertShape]]:
    """Cut the distinct shapes, in their order, into runs whose weights fit together."""
    groups: list[list[BertShape]] = []
    used = 0
    for shape in dict.fromkeys(shapes):
        count = count_parameters(shape, vocabulary_size=vocabulary_size, max_positions=sequence_length)
        size = BYTES_PER_WEIGHT * (count.embeddings + count.encoder)
        if not groups or used + size > max_bytes:
            groups.append([])
            used = 0
        groups[-1].append(shape)
        used += size
    return groups
