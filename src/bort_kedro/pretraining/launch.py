"""Share one pretraining among processes of this machine, started from a program that is one process."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bort_kedro.errors import BortKedroError, ConfigurationError, TrainingError
from bort_kedro.launcher import end_with, is_first, is_launched, meet_on_cpu
from bort_kedro.pretraining.pretrain import has_reached, pretrain, pretraining_identity
from bort_kedro.redaction import redact_logs
from bort_kedro.training.observer import SilentObserver
from bort_kedro.training.saved_state import States

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import BertForMaskedLM

    from bort_kedro.pretraining.distillation import Distillation
    from bort_kedro.pretraining.settings import LaunchSettings, PretrainingSettings
    from bort_kedro.pretraining.streamed_blocks import StreamedBlocks
    from bort_kedro.text.tokens import Tokens
    from bort_kedro.training.loop import TrainingResult
    from bort_kedro.training.observer import Row, Training, TrainingObserver

# accelerate reads these, as its own launcher sets them.
SHARDED = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "BertLayer",
}


# Number of the process that started the others; they end when it is gone.
PARENT = "BORT_KEDRO_PARENT_PROCESS"
SECONDS_BETWEEN_LOOKS = 1.0
# That processes have to end by themselves after a fault, and again after they were asked to.
SECONDS_TO_END = 40.0


@dataclass(frozen=True)
class PretrainingJob:
    """The arguments of one `pretrain`, as a value that travels to other processes."""

    model: BertForMaskedLM
    tokens: Tokens
    settings: PretrainingSettings
    states: States
    name: str
    start: str
    distillation: Distillation | None
    stream: StreamedBlocks | None
    description: str
    told_as: Training | None

    def run(self, observer: TrainingObserver | None = None) -> TrainingResult:
        """Train the model in place, and tell an observer; None tells that of the states."""
        arguments, observer = dict(vars(self)), observer or self.states.observer
        told_as = arguments.pop("told_as")
        if told_as is not None:
            arguments |= {"on_row": partial(observer.row_logged, told_as), "measures_speed": True}
        result = pretrain(arguments.pop("model"), arguments.pop("tokens"), arguments.pop("settings"), **arguments)
        if told_as is not None:
            observer.training_ended(told_as, result.spent(), result.history, None)
        return result

    def is_finished(self) -> bool:
        """Whether a finished state is kept already."""
        identity = pretraining_identity(
            self.model.config,
            self.tokens,
            self.settings,
            start=self.start,
            distillation=self.distillation,
            stream=self.stream.fingerprint if self.stream is not None else None,
        )
        return has_reached(self.states.of(self.name, identity), self.settings.optimization.num_steps)


def run_job(job: PretrainingJob, launch: LaunchSettings) -> TrainingResult:
    """Train the job's model in place, by as many processes as were asked for.

    The processes train to the end and keep the finished state; this one then finds it, as after any interruption, so
    there is one way by which weights come back. Where a launcher started this very process, its processes count.

    Args:
        job: What to train; states must be kept.
        launch: By how many processes of this machine, and whether they divide weights, gradients and optimiser.

    Raises:
        ConfigurationError: If sharding is asked for without GPUs, or more processes than GPUs.
        TrainingError: If a process fails; a user's fault is told in its own words.
    """
    if is_launched():
        _require_whole_models(launch.sharding)
    elif launch.num_processes > 1 and not job.is_finished():
        _require_devices(launch.num_processes, launch.sharding)
        _launch(job, launch.num_processes, SHARDED if launch.sharding == "full" else {})
    return job.run()


def _require_whole_models(sharding: str) -> None:
    """Under a launcher the trained model is used on, and what FSDP leaves in a process is a part of it."""
    if sharding == "full" or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        raise ConfigurationError(
            "Shards (FSDP) are for the processes that the node itself starts on one machine: set num_processes and "
            "sharding under params:pretrain_distill.launch and use `kedro run`. Under torchrun or accelerate launch, "
            "set sharding to none and leave FSDP out of accelerate's configuration."
        )


def _require_devices(num_processes: int, sharding: str) -> None:
    import torch

    found = torch.cuda.device_count()
    if sharding == "full" and found < num_processes:
        raise ConfigurationError(
            f"sharding is full over {num_processes} processes, and this machine has {found} CUDA device(s). Set "
            "sharding to none, or num_processes to the number of devices, under params:pretrain_distill.launch."
        )
    if found and num_processes > found:
        raise ConfigurationError(
            f"num_processes is {num_processes}, and this machine has {found} CUDA device(s); each process takes one. "
            f"Set num_processes to at most {found} under params:pretrain_distill.launch."
        )


def _launch(job: PretrainingJob, num_processes: int, environment: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="bort_kedro-") as folder:
        path = Path(folder) / "job.pickle"
        path.write_bytes(pickle.dumps(job))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(num_processes), "-m", "bort_kedro.pretraining.launch", str(path)]
        # Said here, since torchrun would say it in many words.
        settings = {"OMP_NUM_THREADS": str(job.settings.num_threads), PARENT: str(os.getpid())}
        rows, fault = RowsFile(path), _fault_file(path)
        with subprocess.Popen(command, env={**os.environ, **settings, **environment}) as processes:
            wait_for(processes, fault, lambda: rows.pass_on(job))
        # Those written between the last look and the end.
        rows.pass_on(job)
        if processes.returncode == 0:
            return
        said = fault.read_text("utf-8") if fault.exists() else ""
    raise TrainingError(
        said
        or f"{job.description or job.name}: one of the {num_processes} processes ended with status "
        f"{processes.returncode}; what it said stands above. The last saved state is kept: run the same command again, "
        "or set num_processes to 1 under params:pretrain_distill.launch to see the fault alone."
    )


def wait_for(processes: subprocess.Popen[bytes], fault: Path, look: Callable[[], None]) -> None:
    """Wait for the end of launched processes, however they come to it; none is left.

    One that has met a fault may leave others waiting for it in a collective operation, so they are not waited for.

    Args:
        processes: What launched them, and ends them when it is asked to end.
        fault: A file that one of them writes when it has met a fault.
        look: Called again and again.
    """
    try:
        while processes.poll() is None and not fault.exists():
            time.sleep(SECONDS_BETWEEN_LOOKS)
            look()
        if processes.returncode is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                processes.wait(SECONDS_TO_END)
    finally:
        if processes.poll() is None:
            processes.terminate()
            try:
                processes.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                processes.kill()


class RowsFile(SilentObserver):
    """Rows of a training's history on their way to the process that started it, which alone knows who listens.

    Args:
        job: File of the job, beside which they stand, one a line.
    """

    def __init__(self, job: Path) -> None:
        self._path, self._read = job.with_suffix(".rows"), 0

    def row_logged(self, training: Training, row: Row) -> None:
        """Write it, as the first of the processes does."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def pass_on(self, job: PretrainingJob) -> None:
        """Tell the observer of the job's states what was written since the last time."""
        if job.told_as is None or not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            # The last line may not be whole yet.
            whole, end, _ = file.read().rpartition(b"\n")
        self._read += len(whole + end)
        for line in whole.splitlines():
            job.states.observer.row_logged(job.told_as, json.loads(line))


def _fault_file(job: Path) -> Path:
    return job.with_suffix(".fault")


def main(path: Path) -> None:
    """One of the processes: load the job and run it."""
    import logging

    from accelerate import PartialState

    meet_on_cpu()
    end_with(int(os.environ[PARENT]))
    logging.basicConfig(level=logging.INFO if is_first() else logging.WARNING, format="%(message)s")
    redact_logs()
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    # Written by the process that started this one, in a folder of its own.
    job = pickle.loads(path.read_bytes())  # noqa: S301
    try:
        job.run(RowsFile(path) if is_first() else SilentObserver())
    except BortKedroError as fault:
        # Whichever process meets a fault first tells; most faults all of them meet.
        with contextlib.suppress(FileExistsError), _fault_file(path).open("x", encoding="utf-8") as file:
            file.write(str(fault))
    except Exception:
        traceback.print_exc()
    else:
        PartialState().destroy_process_group()
        return
    # At once: taking the group apart, as the interpreter does at its end, may wait for those that wait for this one.
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
