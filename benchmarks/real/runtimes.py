"""How fast and how large the encoder and its students are in ONNX Runtime, timed side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.real.setting import MAX_TOKENS
from bort_kedro.latency.conditions import Latency

if TYPE_CHECKING:
    from bort_kedro.encoders.pretrained import Pretrained

TIMED_RUNTIMES = ("onnx", "onnx_int8")
# Of a model that is timed: its outputs cost nothing beside its layers.
LABELS = ["no", "yes"]
WARMUP_ROUNDS = 2
TURN_MS = 50.0


@dataclass(frozen=True)
class TimedExport:
    """One encoder with a classifier's head in one runtime.

    Args:
        latency: Of one sequence.
        bytes: Of the graph.
    """

    latency: Latency
    bytes: int


def time_exports(encoders: Mapping[str, Pretrained], *, timed_rounds: int) -> dict[tuple[str, str], TimedExport]:
    """Time every arm in every runtime, on one thread, in interleaved rounds.

    Args:
        encoders: By arm.
        timed_rounds: As `latency.measure.measure_latency` takes them.

    Returns:
        By arm and runtime.
    """
    from bort_kedro.encoders.encoder import build_classifier
    from bort_kedro.exports.runtimes import RUNTIMES, convert, open_session
    from bort_kedro.latency.measure import measure_latency

    sessions, sizes = {}, {}
    with TemporaryDirectory() as folder:
        for arm, encoder in encoders.items():
            model = build_classifier(encoder.model, labels=LABELS, seed=0, dropout=0.0)
            for runtime in TIMED_RUNTIMES:
                target = Path(folder) / arm / runtime
                convert(runtime, model, [], target)
                sessions[f"{arm}/{runtime}"] = open_session(runtime, target, num_threads=1)
                sizes[f"{arm}/{runtime}"] = sum((target / file).stat().st_size for file in RUNTIMES[runtime].files)
    ids = np.random.default_rng(0).integers(encoder.model.config.vocab_size, size=(1, MAX_TOKENS))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    latencies = measure_latency(
        sessions,
        inputs,
        warmup_rounds=min(WARMUP_ROUNDS, timed_rounds),
        timed_rounds=timed_rounds,
        num_threads=1,
        turn_ms=TURN_MS,
        description="timing runtimes",
    )
    return {
        (arm, runtime): TimedExport(latencies[f"{arm}/{runtime}"], sizes[f"{arm}/{runtime}"])
        for arm in encoders
        for runtime in TIMED_RUNTIMES
    }
