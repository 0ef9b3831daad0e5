"""Where a step's time goes: timers around the parts of the real loop, which itself is left as it is."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pretrain.material import (
    Setting,
    encoder,
    random_tokens,
    seconds_between,
    settings_of,
)
from bort_kedro.training.observer import Row

# Parts of a step that are work, and what belongs to each; the rest of a step's wall time is the loop's own.
FORWARD, BACKWARD, OPTIMIZER = "forward", "backward", "optimiser"
WORK = (FORWARD, BACKWARD, OPTIMIZER)
# Inside the loop's own time, told apart for the page.
BATCHES = "making batches"
STATE = "writing a state"


@dataclass(frozen=True)
class StepParts:
    """Seconds of the timed steps of one training.

    Args:
        step_seconds: Wall time of each step.
        part_seconds: For each part, its time in each step.
        state_seconds: Of writing one whole state, which no timed step holds.
        state_bytes: Of that state.
    """

    step_seconds: list[float]
    part_seconds: dict[str, list[float]]
    state_seconds: float
    state_bytes: int

    @property
    def outside_share(self) -> float:
        """Share of the steps' wall time outside forward, backward and optimiser."""
        work = sum(sum(self.part_seconds[part]) for part in WORK)
        return 1.0 - work / sum(self.step_seconds)

    def share(self, part: str) -> float:
        """Share of the steps' wall time that a part takes."""
        return sum(self.part_seconds[part]) / sum(self.step_seconds)


def step_parts(setting: Setting) -> StepParts:
    """Train with the project's loop, timers around its parts; stops one step early, so that the last state is whole."""
    from bort_kedro.datasets.training_states import TrainingStates
    from bort_kedro.pretraining.pretrain import pretrain

    stop = setting.num_steps
    seconds: dict[str, float] = defaultdict(float)
    ends: list[float] = []
    sums: list[dict[str, float]] = []

    def note(row: Row) -> None:
        ends.append(time.perf_counter())
        sums.append(dict(seconds))

    with tempfile.TemporaryDirectory() as folder, _timers(seconds):
        pretrain(
            encoder(setting.shape, setting),
            random_tokens(setting),
            settings_of(setting, num_steps=stop + 1),
            states=TrainingStates(Path(folder), keep=2),
            name="benchmark",
            stop_at=stop,
            on_row=note,
            measures_speed=True,
        )
        state_bytes = max(file.stat().st_size for file in Path(folder).rglob("*.safetensors"))
    parts = {part: seconds_between([row.get(part, 0.0) for row in sums], setting) for part in (*WORK, BATCHES)}
    return StepParts(seconds_between(ends, setting), parts, seconds[STATE], state_bytes)


@contextmanager
def _timers(seconds: dict[str, float]) -> Iterator[None]:
    """Let calls of the loop's parts add their time to ``seconds``; taken off again at the end.

    Clipping the gradient and setting it to zero belong to the optimiser's step.
    """
    from accelerate import Accelerator
    from torch.optim import AdamW

    from bort_kedro.pretraining.masked_blocks import MaskedBlocks
    from bort_kedro.training import loop, steps

    places: list[tuple[Any, str, str]] = [
        (steps.ModelWithLoss, "forward", FORWARD),
        (Accelerator, "backward", BACKWARD),
        (Accelerator, "clip_grad_norm_", OPTIMIZER),
        (AdamW, "step", OPTIMIZER),
        (AdamW, "zero_grad", OPTIMIZER),
        (MaskedBlocks, "batch", BATCHES),
        (loop._Run, "_save", STATE),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for (owner, name, part), (_, _, function) in zip(places, before, strict=True):
        setattr(owner, name, _timed(function, part, seconds))
    try:
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def _timed(function: Callable[..., Any], part: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **keywords)
        finally:
            seconds[part] += time.perf_counter() - began

    return call
