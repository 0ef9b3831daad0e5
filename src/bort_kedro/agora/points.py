"""New points for a student: texts similar to given ones, none a copy of what scores it, labelled by the teacher."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from bort_kedro import __version__
from bort_kedro.agora.near_duplicates import NearDuplicates
from bort_kedro.agora.settings import PointSettings
from bort_kedro.finetuning.finetune import PREDICTED_SPLITS
from bort_kedro.finetuning.forms import FORMS
from bort_kedro.finetuning.rounds import Draw
from bort_kedro.frozen import JsonObject
from bort_kedro.tasks.units import Unit
from bort_kedro.training.saved_state import SavedState, States

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from bort_kedro.agora.settings import AgoraSettings
    from bort_kedro.finetuning.data import TaskData


class Teacher(Protocol):
    """Who labels new points: an encoder that was fine-tuned, or a file."""

    settings: AgoraSettings

    def says(self, units: Sequence[Unit]) -> NDArray[np.float64]:
        """(N, C) of the rows of these units."""

    def points(self, states: States) -> PointMaker:
        """Makes points that repeat neither dev nor test, with what it says of them."""


@dataclass(frozen=True)
class Teaching:
    """A teacher that is over its bar.

    Args:
        train_beliefs: Gives what is said of the rows of train, (N, C), by who has not seen them; None where nobody says
            anything of some.
        recorded: Gives all texts of no split that were labelled beforehand; None where none were.
    """

    teacher: Teacher
    train_beliefs: Callable[[], NDArray[np.float64]] | None
    recorded: Callable[[], Draw] | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """That may be chosen with it."""
        needed = {"plain": True, "distilled": self.train_beliefs, "weak_supervision": self.recorded, "agora": True}
        return tuple(method for method, given in needed.items() if given)


class PointSource(Protocol):
    """New texts similar to given ones: made by tau, or drawn from a pool."""

    def __call__(self, units: Sequence[Unit], *, copies: int, seed: int) -> list[Unit]:
        """``copies`` for the first of the units, then for the second, and so on."""


class PointMaker:
    """Makes points, and finds those again that it made before.

    None repeats an example of the task's dev or test. Their identity is all of the teacher and the source that points
    depend on, as JSON has it.
    """

    def __init__(
        self,
        data: TaskData,
        source: PointSource,
        teacher_says: Callable[[Sequence[Unit]], NDArray[np.float64]],
        identity: JsonObject,
        settings: PointSettings,
        states: States,
    ) -> None:
        references = [unit for split in PREDICTED_SPLITS for unit in data.units.get(split, ())]
        texts = json.dumps([unit.rows for unit in references])
        self._identity = {**identity, "references": hashlib.sha256(texts.encode()).hexdigest()}
        self._near = NearDuplicates(references, max_overlap=settings.max_overlap, ngram_words=settings.ngram_words)
        self._source, self._teacher_says, self._task = source, teacher_says, data.task
        self._settings, self._states = settings, states

    def make(self, sources: Sequence[Unit], *, seed: int, max_points: int) -> Draw:
        """So many points of each source, at most ``max_points`` in all, drawn evenly over the sources."""
        rows = json.dumps([unit.rows for unit in sources])
        identity = {
            **self._identity,
            "sources": hashlib.sha256(rows.encode()).hexdigest(),
            "settings": self._settings.model_dump(include=set(PointSettings.model_fields)),
            "seed": seed,
            "max_points": max_points,
            "version": __version__,
        }
        store = self._states.of(f"finetune/{self._task.name}-points", identity)
        if (saved := store.latest()) is not None:
            return Draw(_units(saved.record, sources), saved.tensors["targets"].numpy(), **saved.record["counts"])
        draw = self._draw(sources, seed, max_points)
        counts = {name: value for name, value in draw.report() if name != "num_kept"}
        places: dict[Unit | None, int] = {unit: place for place, unit in enumerate(sources)}
        made = [(unit.made_by, places.get(unit.made_of)) for unit in draw.units]
        record = {"units": [unit.rows for unit in draw.units], "made": made, "counts": counts}
        store.put(SavedState(0, {"targets": torch.from_numpy(draw.targets).contiguous()}, record))
        return draw

    def _draw(self, sources: Sequence[Unit], seed: int, max_points: int) -> Draw:
        copies = self._settings.points_per_mistake
        made = self._source(sources, copies=copies, seed=seed) if sources else []
        # Copy by copy rather than source by source, so that a full round has points of every source.
        ordered = [made[place] for copy in range(copies) for place in range(copy, len(made), copies)]
        return self.labelled(ordered, sources, max_points)

    def labelled(self, units: Sequence[Unit], sources: Sequence[Unit] = (), max_points: int | None = None) -> Draw:
        """The first of these texts, with what the teacher says of them, that repeat neither each other nor dev or test.

        Args:
            units: In the order in which they are taken.
            sources: That they were made of; one that came out as it was is no new point.
            max_points: So many at most; None takes all.
        """
        fresh, seen = [], set(sources)
        num_copies = num_repeated = 0
        for unit in units:
            if unit in seen:
                num_repeated += 1
            elif self._near.is_copy(unit):
                num_copies += 1
            else:
                fresh.append(unit)
            seen.add(unit)
        kept = fresh[:max_points]
        targets = self._labels(kept)
        return Draw(kept, targets, len(sources), len(units), num_copies, num_repeated, len(fresh) - len(kept))

    def _labels(self, units: list[Unit]) -> NDArray[np.float64]:
        """What the teacher says; of classes and options the likeliest alone, unless its beliefs are asked for."""
        outputs = self._teacher_says(units)
        if self._settings.teacher_labels == "soft":
            return outputs
        starts = np.cumsum([0, *(len(unit.rows) for unit in units)])
        return FORMS[self._task.form].hardened(outputs, starts)


def _units(record: JsonObject, sources: Sequence[Unit]) -> list[Unit]:
    """Those of a draw that was kept, maybe before it was kept how they were made."""
    made = record.get("made") or [("", None)] * len(record["units"])
    return [
        Unit(tuple((text, pair) for text, pair in rows), None if place is None else sources[place], made_by)
        for rows, (made_by, place) in zip(record["units"], made, strict=True)
    ]
