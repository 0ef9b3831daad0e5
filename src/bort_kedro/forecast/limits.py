"""What a machine has, and the refusal of trainings that cannot fit it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bort_kedro.errors import ConfigurationError, StorageError
from bort_kedro.forecast.memory import work_bytes
from bort_kedro.forecast.work import FULL_BYTES, Work
from bort_kedro.training.devices import GIGABYTE

# States of a training under way that are on the disk at a time: two that are kept, and one that is being written.
STATES = 3
# Where the parameters of a node's trainings stand that save memory.
PLACES = {
    "search.train_maximum_point_node": "search.training",
    "search.measure_errors_node": "search.training",
    "pretrain_distill.train_teacher_node": "pretrain_distill.teacher",
    "pretrain_distill.distill_student_node": "pretrain_distill.student",
    "pretrain_distill.train_without_teacher_node": "pretrain_distill.student",
}


@dataclass(frozen=True)
class Room:
    """What there is to take.

    Args:
        memory_bytes: Of a device.
        is_shared: Whether all trainings and processes at a time take it of the same memory, as on a CPU.
        disk: Folder of the data; None where nothing is known of a disk.
        disk_bytes: Free there.
    """

    memory_bytes: int
    is_shared: bool
    disk: Path | None = None
    disk_bytes: int = 0


def require_fitting(works: Sequence[Work], room: Room) -> None:
    """Refuse what will not fit, before anything is trained.

    Raises:
        ConfigurationError: If a step takes more memory than a device has.
        StorageError: If more is written than the disk has free.
    """
    for work in works:
        needed = work_bytes(work, shares_memory=room.is_shared)
        if work.trainings_left and needed > room.memory_bytes:
            raise ConfigurationError(
                f"{work.stage}: a step of {work.what} needs about {_gigabytes(needed)} of memory"
                f"{_times(work) if room.is_shared else ''}, and {_gigabytes(room.memory_bytes)} are there; allowed is "
                f"no more than that. {_advice(work)}"
            )
    needed = disk_bytes(works)
    if room.disk is not None and needed > room.disk_bytes:
        raise StorageError(
            f"The trainings of this run leave about {_gigabytes(needed)} in {room.disk}, whose disk has "
            f"{_gigabytes(room.disk_bytes)} free; allowed is no more than that. Free some space, change `filepath` of "
            "`training_states` in the catalog, or train less: fewer sets under params:finetune.training, or a smaller "
            "params:search.budget."
        )


def disk_bytes(works: Sequence[Work]) -> int:
    """Written in any case, and beside it the largest states of a training under way."""
    under_way = (
        STATES * work.side_by_side * (1 + work.step.moments) * FULL_BYTES * work.step.encoder.parameters
        for work in works
        if work.trainings_left and work.step.learns
    )
    return sum(work.bytes_to_come for work in works) + max(under_way, default=0)


def _gigabytes(num_bytes: float) -> str:
    return f"{num_bytes / GIGABYTE:.2f} GB"


def _times(work: Work) -> str:
    count = work.side_by_side * work.num_devices
    return f" ({count} at a time)" if count > 1 else ""


def _advice(work: Work) -> str:
    place = PLACES.get(work.node)
    if place is None:
        return "Lower batch_tokens or max_tokens under params:finetune, or take a smaller encoder."
    fewer = ", lower params:search.num_workers" if work.side_by_side > 1 else ""
    return (
        f"Raise gradient_accumulation_steps under params:{place}.optimization, set params:{place}."
        f"gradient_checkpointing to true{fewer}, or take smaller shapes in params:search."
    )
