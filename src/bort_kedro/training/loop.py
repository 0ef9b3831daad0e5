"""One training loop for search, pretraining and fine-tuning, on accelerate: one process or many."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object
from torch import nn

from bort_kedro.errors import CheckpointError, TrainingError
from bort_kedro.frozen import JsonObject
from bort_kedro.progress import track
from bort_kedro.training.background_writing import written_beside
from bort_kedro.training.early_stopping import EarlyStopping
from bort_kedro.training.loss_watch import LossWatch
from bort_kedro.training.observer import Row
from bort_kedro.training.optimizer import steps_taken
from bort_kedro.training.schedules import steps_before_decay
from bort_kedro.training.settings import OptimizationSettings
from bort_kedro.training.state import SavedState, StateStore, capture, restore, restore_weights, weights_of
from bort_kedro.training.steps import Batch, Loss, Steps, made_fast, pinned
from bort_kedro.training.threads import resolve_precision
from bort_kedro.training.throughput import ThroughputMeter, token_lengths
from bort_kedro.training.validation import Validation

# Called with (step, part, number of parts), with the step alone where there is one part; see `train`.
Batches = Callable[..., Batch]


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves besides the weights.

    Args:
        history: One row per logged step: ``step``, the loss parts, ``learning_rate``, ``gradient_norm``, and with a
            meter ``tokens_per_second``, ``model_flop_utilization``, ``device_hours`` and their forecast; where a
            validation was due, what it found.
        seconds: Wall time of all steps, those before a resume included.
        num_steps: Steps that were done: all, those up to ``stop_at``, or fewer where early stopping ended it.
        num_tokens: Of these steps' batches, padding left out, of all processes; of batches with ``input_ids``.
    """

    history: list[Row]
    seconds: float
    num_steps: int
    num_tokens: int = 0

    def spent(self) -> Row:
        """``seconds`` and ``num_tokens``, as they are reported."""
        return {"seconds": round(self.seconds, 1), "num_tokens": self.num_tokens}


class StateBeyondStopError(CheckpointError):
    """A training was asked to stop before where it already is."""


# Rows of history kept per training, about.
HISTORY_ROWS = 200
# Steps between two looks at the losses on a device that works ahead of the program; each look waits for it.
STEPS_BETWEEN_LOOKS = {"cpu": 1}
STEPS_BETWEEN_LOOKS_ELSEWHERE = 10
# Between the seeds of two processes, so that dropout differs.
PROCESS_SEED_STRIDE = 1_000_003


def train(
    model: nn.Module,
    loss: Loss,
    batch_at: Batches,
    settings: OptimizationSettings,
    *,
    states: StateStore | None = None,
    stop_at: int | None = None,
    description: str = "training",
    meter_for: Callable[[str, int], ThroughputMeter] | None = None,
    on_row: Callable[[Row], None] = lambda row: None,
    compiles: bool = False,
    early_stopping: EarlyStopping | None = None,
    validation: Validation | None = None,
) -> TrainingResult:
    """Train a model in place, resuming from the newest whole state that ``states`` holds.

    A step's batch is a pure function of the step, and the generators are part of the state, so a training that was
    interrupted ends with the same weights bit for bit on the same machine (on CUDA but for kernels that add in no
    fixed order). So does one that was stopped with ``stop_at`` and goes on later: the schedule is always that of all
    steps.

    Under a launcher (accelerate, torchrun) every process calls this with the same arguments; each takes its part of a
    step's rows, and again one part for each step of accumulation. A part's loss counts by its ``weight``, so the
    gradient is that of the whole batch however it is divided. Only the first process writes states, in a thread of its
    own; all are on the disk when this returns or raises.

    Args:
        model: Changed in place; left in evaluation mode.
        loss: Given the model and a batch on its device, returns named scalars; ``loss`` is minimised.
        batch_at: The batch of a step counted from 0. Where a step is divided it is called with ``(step, part,
            number of parts)`` and its batches hold ``weight``, the number of predictions they are a mean over. If
            it has ``state(step)`` and ``restore(state)``, as streams do, what all processes say becomes part of the
            saved states, in one dictionary.
        settings: Steps, learning rate and the rest.
        states: Where states are kept; None trains without.
        stop_at: End after so many steps, counted from the first of all, with the whole state saved; 1 to
            ``num_steps``. None trains to the end.
        description: For the progress bar and for errors.
        meter_for: Given device type and number of processes, a meter of speed; None leaves speed out.
        on_row: Told each row of the history when it is made; it must not change it.
        compiles: Whether model and loss go through torch.compile.
        early_stopping: Looks at the model on its way; the model is then left with the weights it found best, which
            are those that a finished training keeps. None keeps the last.
        validation: Asked on its way; the history has a row of each look.

    Raises:
        FailedTrainingError: If the loss or the gradient is not finite, or the loss climbs (`training.loss_watch`); the
            last good state is kept.
        TrainingError: If ``stop_at`` is out of its range.
        StateBeyondStopError: If the newest state is beyond ``stop_at``: trainings go forward only, so the caller
            keeps what it measured at a stop.
    """
    stop = settings.num_steps if stop_at is None else stop_at
    if not 1 <= stop <= settings.num_steps:
        raise TrainingError(
            f"{description}: stop_at is {stop}, allowed is 1 to num_steps, which is {settings.num_steps} in the "
            "parameters of this stage."
        )
    # accelerate fixes the precision at a process's first training and refuses another; stages may differ.
    AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision=resolve_precision(settings.mixed_precision))
    # The first process alone sets a damaged state aside; the others find what it left.
    with accelerator.main_process_first():
        saved = states.latest() if states else None
    if saved is not None and saved.step > stop:
        raise StateBeyondStopError(
            f"{description}: the newest saved state is at step {saved.step}, beyond step {stop} asked for, and "
            "trainings go forward only. Remove the folder of its states to train anew."
        )
    if saved is not None and (saved.step == stop or saved.has_ended):
        restore_weights(model, saved.tensors)
        if early_stopping is not None:
            early_stopping.go_on_from(saved)
        # Where training would have left it, so that scores do not depend on whether it was repeated.
        model.to(accelerator.device).eval()
        record = saved.record
        return TrainingResult(record["history"], record["seconds"], saved.step, record.get("num_tokens", 0))
    # Generators of the caller are left as they were: dropout draws from a fork. Devices are named because
    # torch warns of several otherwise.
    forked = torch.random.fork_rng(devices=range(torch.cuda.device_count()))
    with forked, made_fast(accelerator):
        torch.manual_seed(settings.seed + PROCESS_SEED_STRIDE * accelerator.process_index)
        run = _Run(accelerator, model, loss, batch_at, settings, description, compiles, early_stopping)
        meter = meter_for(accelerator.device.type, accelerator.num_processes) if meter_for else None
        with written_beside(states) as store:
            result = run.until(stop, saved, store, meter, on_row, validation)
        accelerator.wait_for_everyone()
        return result


class _Run:
    """One training in one process: what the steps share."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        loss: Loss,
        batch_at: Batches,
        settings: OptimizationSettings,
        description: str,
        compiles: bool,
        early_stopping: EarlyStopping | None,
    ) -> None:
        self.accelerator, self.model, self.settings, self.description = accelerator, model, settings, description
        self.batch_at, self.early_stopping = batch_at, early_stopping
        self.steps = Steps(accelerator, model, loss, settings, description=description, compiles=compiles)
        self.history: list[Row] = []
        self.seconds_before, self.began = 0.0, time.perf_counter()
        # Seconds times processes, whose number may change at a resume.
        self.device_seconds_before = 0.0
        # Of all processes before a resume, and of this one since.
        self.tokens_before = self.tokens_here = 0

    def until(
        self,
        stop: int,
        saved: SavedState | None,
        states: StateStore | None,
        meter: ThroughputMeter | None,
        on_row: Callable[[Row], None],
        validation: Validation | None,
    ) -> TrainingResult:
        start = self._go_on_from(saved) if saved else 0
        done, has_ended = start, False
        self.steps.objective.train()
        settings, pending = self.settings, []
        log_every = max(1, settings.num_steps // HISTORY_ROWS)
        before_decay = steps_before_decay(settings.schedule, settings.num_steps, settings.warmup_share)
        look_every = STEPS_BETWEEN_LOOKS.get(self.accelerator.device.type, STEPS_BETWEEN_LOOKS_ELSEWHERE)
        steps = range(start, stop)
        description = self.description if self.accelerator.is_main_process else ""
        self.shown = ""
        for step, parts in track(
            self._with_batches(steps, meter), description, total=stop, start=start, status=lambda: self.shown
        ):
            pending.append(self.steps.advance(step, parts))
            done = step + 1
            # A stop leaves no row of its own, so that the history does not tell where stops were.
            is_validated = validation is not None and validation.is_due(done, settings.num_steps)
            is_logged = is_validated or done == settings.num_steps or done % log_every == 0
            is_saved = states is not None and done < stop and done % settings.checkpoint_every_steps == 0
            if is_logged or is_saved or done in (stop, before_decay) or done % look_every == 0:
                row = self.steps.settle(pending)
            if is_logged:
                row |= self._speed(meter, done)
                if is_validated and validation is not None:
                    row |= validation.look(self.steps.objective, self.accelerator)
                    if meter is not None:
                        meter.skip_time()
                self.history.append(row)
                self._show(self.history[-1])
                on_row(self.history[-1])
            has_ended = done == settings.num_steps
            if self.early_stopping is not None and self.early_stopping.is_due(done, settings.num_steps):
                has_ended |= self.early_stopping.look(self.model, done)
            if has_ended:
                if pending:
                    self.steps.settle(pending)
                break
            if states is not None and done == before_decay:
                self._save(states, done, self._seconds(), is_whole=True, is_kept=True)
            if states is not None and is_saved:
                self._save(states, done, self._seconds(), is_whole=True)
        self.model.eval()
        result = TrainingResult(self.history, self._seconds(), done, self._num_tokens())
        if has_ended and self.early_stopping is not None:
            self.early_stopping.put_best(self.model)
        if states is not None:
            # What is finished never goes on, so its weights are enough.
            self._save(states, done, result.seconds, is_whole=not has_ended)
        return result

    def _go_on_from(self, saved: SavedState) -> int:
        restore(self.model, self.steps.optimizer, self.accelerator, saved.tensors)
        self.history, self.seconds_before = saved.record["history"], saved.record["seconds"]
        self.device_seconds_before = saved.record.get("device_seconds", self.seconds_before)
        self.tokens_before = saved.record.get("num_tokens", 0)
        self.steps.watch = LossWatch(**saved.record.get("watch", {}))
        self.steps.num_taken = steps_taken(self.steps.optimizer)
        if self.early_stopping is not None:
            self.early_stopping.go_on_from(saved)
        if "stream" in saved.record:
            self.batch_at.restore(saved.record["stream"])  # type: ignore[attr-defined]
        return saved.step

    def _save(self, states: StateStore, step: int, seconds: float, *, is_whole: bool, is_kept: bool = False) -> None:
        """Every process takes part, since shards are gathered; the first one writes."""
        tensors = capture(self.model, self.steps.optimizer, self.accelerator) if is_whole else weights_of(self.model)
        record: JsonObject = {
            "history": list(self.history),  # it grows while it is written
            "seconds": seconds,
            "device_seconds": self._device_seconds(),
            "num_tokens": self._num_tokens(),
            "watch": asdict(self.steps.watch),
            "has_ended": not is_whole,
            "is_kept": is_kept,
        }
        if self.early_stopping is not None:
            record["early_stopping"] = self.early_stopping.record()
            if is_whole:
                tensors |= self.early_stopping.tensors()
        if is_whole and hasattr(self.batch_at, "state"):
            # Each process knows where it reads itself.
            record["stream"] = dict(ChainMap(*gather_object([self.batch_at.state(step)])))
        if self.accelerator.is_main_process:
            states.put(SavedState(step, tensors, record))

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.began

    def _device_seconds(self) -> float:
        num_processes: int = self.accelerator.num_processes
        return self.device_seconds_before + (time.perf_counter() - self.began) * num_processes

    def _num_tokens(self) -> int:
        """Every process takes part."""
        here = torch.tensor(self.tokens_here, device=self.accelerator.device)
        return self.tokens_before + int(self.accelerator.reduce(here, reduction="sum"))

    def _with_batches(self, steps: range, meter: ThroughputMeter | None) -> Iterator[tuple[int, list[Batch]]]:
        """``(step, this process's parts of its batch)``; beside a device the next step's are made meanwhile."""

        def make(step: int) -> list[Batch]:
            num_parts = self.steps.num_parts
            if num_parts == 1:
                return [self.batch_at(step)]
            first, stride = self.accelerator.process_index, self.accelerator.num_processes
            return [self.batch_at(step, part, num_parts) for part in range(first, num_parts, stride)]

        def counted(step: int, parts: list[Batch]) -> tuple[int, list[Batch]]:
            for part in parts:
                if "input_ids" in part:
                    self.tokens_here += int(token_lengths(part).sum())
                if meter is not None:
                    meter.saw(part)
            return step, parts

        if self.accelerator.device.type == "cpu":
            yield from (counted(step, make(step)) for step in steps)
            return
        is_cuda = self.accelerator.device.type == "cuda"

        def made_ahead(step: int) -> list[Batch]:
            return [pinned(part) for part in make(step)] if is_cuda else make(step)

        with ThreadPoolExecutor(1) as ahead:
            coming: Future[list[Batch]] | None = ahead.submit(made_ahead, steps.start) if steps else None
            for step in steps:
                parts = coming.result() if coming else made_ahead(step)
                coming = ahead.submit(made_ahead, step + 1) if step + 1 < steps.stop else None
                yield counted(step, parts)

    def _speed(self, meter: ThroughputMeter | None, done: int) -> Row:
        if meter is None:
            return {}
        speed, utilization = meter.read()
        hours = self._device_seconds() / 3600
        return {
            "tokens_per_second": speed,
            "model_flop_utilization": utilization,
            "device_hours": hours,
            "device_hours_forecast": hours * self.settings.num_steps / done,
        }

    def _show(self, row: Row) -> None:
        """What stands beside the progress."""
        parts = [f"{name.replace('_', ' ')} {row[name]:.3f}" for name in SHOWN if name in row]
        if "tokens_per_second" in row:
            parts.insert(0, f"{row['tokens_per_second']:,.0f} tokens/s")
        self.shown = ", ".join(parts)


# Parts of a row shown beside the progress.
SHOWN = (
    "loss",
    "masked_lm_loss",
    "divergence",
    "relations_divergence",
    "hidden_states_error",
    "masked_accuracy",
    "accuracy",
    "validation_loss",
)
