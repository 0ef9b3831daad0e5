"""What the findings share: the device they are of, their sizes, and what was found of speed before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.pretrain.material import MAX_POSITIONS, Setting, encoder, made_up_tokenizer
from bort_kedro.encoders.shapes import BERT_BASE, BERT_LARGE, BORT, BertShape

if TYPE_CHECKING:
    from bort_kedro.encoders.pretrained import Pretrained

# RoBERTa-large's layers are BERT-large's.
ROBERTA_LARGE = BERT_LARGE
# Steps between two looks at the clock.
LEAST_STEPS = 2
NO_TEACHER, LIVE, CACHED = "no teacher", "live teacher", "cached teacher"


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Args:
        shapes: Encoders that are trained and timed, by name.
        teacher: Shape of their teacher.
        lengths: Tokens of a row.
        vocabulary_size: V of all.
        first_tokens: Tokens of a step, and of the smallest batch of the search for the best.
        rows: Looks at the clock, the first of which ends the warm-up, compiling included.
        steps_a_row: Steps between two of them; fewer of a larger batch, down to `LEAST_STEPS`.
        precision: Of the trainings that are timed.
        checked: Shape, rows and lengths of the encoder whose results are checked.
        head_positions: Predicted positions at which the two heads are held against each other.
        latency_batches: Rows of a timed forward pass.
        latency_rounds: Turns of each encoder.
    """

    shapes: dict[str, BertShape] = field(default_factory=lambda: {"Bort": BORT, "BERT-base": BERT_BASE})
    teacher: BertShape = ROBERTA_LARGE
    lengths: tuple[int, ...] = (128, MAX_POSITIONS)
    vocabulary_size: int = 50_265
    first_tokens: int = 32_768
    rows: int = 5
    steps_a_row: int = 10
    precision: str = "bf16"
    checked: Setting = field(default_factory=lambda: Setting(shape=BertShape(4, 8, 512, 768), batch_size=32))
    # Two chunks of the head at this vocabulary.
    head_positions: int = 4096
    latency_batches: tuple[int, ...] = (1, 32)
    latency_rounds: int = 10

    def steps_of(self, setting: Setting) -> int:
        """Steps between two looks at the clock, so that a larger batch takes no longer."""
        return max(LEAST_STEPS, self.steps_a_row * self.first_tokens // setting.step_tokens)

    def setting(self, shape: str, length: int) -> Setting:
        """Of the training of a shape, by its name, with the first batch."""
        return Setting(
            shape=self.shapes[shape],
            teacher_shape=self.teacher,
            vocabulary_size=self.vocabulary_size,
            batch_size=max(1, self.first_tokens // length),
            sequence_length=length,
            # Of the CPU, which makes batches.
            num_threads=1,
            mixed_precision=self.precision,
        )


@dataclass(frozen=True)
class Device:
    """The accelerator, or what stands for it.

    Args:
        kind: ``cuda`` or ``cpu``.
        name: As it tells it.
        peak: In FLOP/s, in the precision of the timed trainings.
        is_data_sheet: Whether the peak is the maker's; else it was measured.
        peak_bytes: Largest memory taken since `clear`.
        clear: Gives unused memory back and forgets what was compiled, whose sizes would else be taken for variables.
            Both are functions of a module: a device is told by one process to another.
    """

    kind: str
    name: str
    peak: float
    is_data_sheet: bool
    peak_bytes: Callable[[], int]
    clear: Callable[[], None]


def is_present() -> bool:
    """Whether there is a CUDA device."""
    import torch

    return torch.cuda.is_available()


def cuda_device(precision: str) -> Device:
    """The first one."""
    import torch

    from bort_kedro.training.devices import data_sheet_of
    from bort_kedro.training.throughput import peak_flops

    name = torch.cuda.get_device_name()
    peak = peak_flops("cuda", precision, torch.get_num_threads())
    return Device("cuda", name, peak, data_sheet_of(name) is not None, _cuda_peak_bytes, _clear_cuda)


def _cuda_peak_bytes() -> int:
    import torch

    return int(torch.cuda.max_memory_allocated())


def _clear_cuda() -> None:
    import gc

    import torch

    gc.collect()
    torch.compiler.reset()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


@dataclass(frozen=True)
class Speed:
    """What one training on the device gave.

    Args:
        batch_size: Rows of a step.
        tokens_per_second: Of the timed steps together.
        peak_share: Share of the device's peak, by model-FLOP utilisation; a live teacher's products count too.
        peak_bytes: Largest memory that torch took on the device.
        fill_tokens_per_second: Of a cached teacher, at which the cache was filled.
    """

    batch_size: int
    tokens_per_second: float
    peak_share: float
    peak_bytes: int
    fill_tokens_per_second: float | None = None


@dataclass(frozen=True)
class Case:
    """What is trained: name of the shape, length, by which teacher, and whether compiled."""

    shape: str
    length: int
    teacher: str = NO_TEACHER
    compiles: bool = False

    def __str__(self) -> str:
        return f"{self.shape}, {self.length} tokens, {self.teacher}{', torch.compile' if self.compiles else ''}"


class Bench:
    """The device, the sizes and what is found of speed on the way.

    Args:
        device: To be measured.
        sizes: Of what is measured.
    """

    def __init__(self, device: Device, sizes: Sizes) -> None:
        self.device, self.sizes = device, sizes
        self.speeds: dict[Case, list[Speed]] = {}
        self._teacher: Pretrained | None = None

    def best(self, case: Case) -> Speed | None:
        """The fastest of all batches tried; None before any fitted."""
        return max(self.speeds.get(case, []), key=lambda speed: speed.tokens_per_second, default=None)

    def teacher(self) -> Pretrained:
        """The teacher with random weights: made once, since drawing them takes seconds."""
        from bort_kedro.encoders.pretrained import Pretrained

        if self._teacher is None:
            setting = self.sizes.setting(next(iter(self.sizes.shapes)), self.sizes.lengths[0])
            model: Any = encoder(self.sizes.teacher, setting, seed=1).eval().requires_grad_(False)
            self._teacher = Pretrained(model, made_up_tokenizer(setting))
        return self._teacher

    def without_teacher(self) -> None:
        """Free its memory."""
        self._teacher = None
