"""How fast a training goes and how much of the device it uses: tokens/s, model-FLOP utilisation, device hours."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.encoders.training_cost import forward_flops
from bort_kedro.training.devices import data_sheet_of
from bort_kedro.training.threads import DTYPES

Batch = dict[str, Tensor]

# Side of the matrices that a device's peak is measured with where no data sheet is known; a GPU is not filled by less.
MEASURED_SIDE, MEASURED_SIDE_ON_CUDA = 1024, 8192
MEASURED_SECONDS = 0.2


def token_lengths(batch: Batch) -> Tensor:
    """(..., L) ``input_ids`` to (...) int64, the tokens of each row that are no padding.

    A batch tells padding by ``document_ids``, 0 there, where rows hold several documents, else by ``attention_mask``;
    one with neither has none.
    """
    shown = batch.get("document_ids", batch.get("attention_mask"))
    if shown is None:
        *rows, length = batch["input_ids"].shape
        return torch.full(rows, length)
    return (shown > 0).sum(dim=-1)


@cache
def peak_flops(device: str, precision: str, num_threads: int) -> float:
    """What the device can do at most, in FLOP/s: from the data sheet, else the best of measured matrix products.

    Args:
        device: ``cpu`` or ``cuda``.
        precision: ``no``, ``bf16`` or ``fp16``.
        num_threads: CPU threads in force; only part of the key, since a measured peak depends on it.
    """
    if device == "cuda":
        sheet = data_sheet_of(torch.cuda.get_device_name())
        if sheet is not None:
            return sheet.peak(precision)
    return _measured_peak(torch.device(device), DTYPES[precision])


def _measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    side = MEASURED_SIDE_ON_CUDA if device.type == "cuda" else MEASURED_SIDE
    # Zeros would do for the arithmetic, but not for the clock of every processor.
    factor = torch.linspace(-1, 1, side * side, device=device, dtype=torch.float32).to(dtype).view(side, side)
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < MEASURED_SECONDS:
        start = time.perf_counter()
        torch.mm(factor, factor)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


@dataclass
class ThroughputMeter:
    """Counts what the steps of one training do.

    Args:
        student: Its shape.
        vocabulary_size: V of the student.
        peak: Of one device, in FLOP/s.
        num_devices: That share every step.
        teacher_weights: Of a live teacher, those that a token of a batch passes; 0 without one.
        spares_last_layer: Whether the student's last layer runs at the predicted positions of a batch alone.
    """

    student: BertShape
    vocabulary_size: int
    peak: float
    num_devices: int
    teacher_weights: Callable[[Batch], float] = lambda batch: 0.0
    spares_last_layer: Callable[[Batch], bool] = lambda batch: False
    tokens: int = 0
    flops: float = 0.0
    _since: float = field(default_factory=time.perf_counter)

    def saw(self, batch: Batch) -> None:
        """Count one batch, before it travels to the device."""
        lengths = token_lengths(batch)
        tokens = int(lengths.sum())
        forward = forward_flops(
            self.student,
            vocabulary_size=self.vocabulary_size,
            num_tokens=tokens,
            sum_of_squared_lengths=int((lengths**2).sum()),
            num_predicted=len(batch["predicted"]),
            sum_of_predicted_lengths=self._predicted_lengths(batch, lengths),
        )
        self.tokens += tokens
        # Backward does twice the work of forward; the teacher goes forward only.
        self.flops += 3 * forward + 2 * self.teacher_weights(batch) * tokens

    def _predicted_lengths(self, batch: Batch, lengths: Tensor) -> int | None:
        if not self.spares_last_layer(batch):
            return None
        return int(lengths[batch["predicted"] // batch["input_ids"].shape[1]].sum())

    def skip_time(self) -> None:
        """Leave out the time since the last reading, in which nothing was trained."""
        self._since = time.perf_counter()

    def read(self) -> tuple[float, float]:
        """``(tokens/s, model-FLOP utilisation)`` of all devices since the last reading; counting starts anew."""
        now = time.perf_counter()
        seconds, self._since = max(now - self._since, 1e-9), now
        # Every process sees its own share of the rows, about as large as the others'.
        speed = self.tokens * self.num_devices / seconds
        utilization = self.flops / seconds / self.peak
        self.tokens, self.flops = 0, 0.0
        return speed, utilization
