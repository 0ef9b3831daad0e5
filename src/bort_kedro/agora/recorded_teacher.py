"""A teacher that is a file: labels or beliefs that somebody recorded, for dev and for texts to learn from.

It is asked nothing, so new points are no texts made by tau: they are the recorded texts most alike to the mistakes.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bort_kedro.agora.points import PointMaker
from bort_kedro.agora.settings import LEAST_DEV
from bort_kedro.agora.teacher_bar import RECORDED, TeacherReport, check_teacher
from bort_kedro.errors import TeacherError
from bort_kedro.evaluation.tfidf import MOST_NGRAMS, TOKEN
from bort_kedro.finetuning.data import answered_table
from bort_kedro.finetuning.finetune import UNSEEN_SPLITS
from bort_kedro.tasks.labels import output_columns
from bort_kedro.tasks.table import Form
from bort_kedro.tasks.units import Row, Unit, units_of
from bort_kedro.training.saved_state import States

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    from bort_kedro.agora.settings import AgoraSettings
    from bort_kedro.finetuning.data import TaskData

# Texts that a point is drawn from, for each that is wanted, so that a replayed round has others.
ALIKE_PER_POINT = 4


class RecordedTeacher:
    """Recorded labels as Agora uses them, from a table of `tasks.reading.recorded`."""

    def __init__(self, table: pd.DataFrame, data: TaskData, settings: AgoraSettings) -> None:
        self._data, self.settings = data, settings
        units = units_of(table, data.task.form == Form.MULTIPLE_CHOICE)
        outputs = table[output_columns(data.task.form, data.labels)].to_numpy(dtype=np.float64)
        ends = np.cumsum([len(unit.rows) for unit in units])
        self._units = units
        self._outputs = {_key(unit): its for unit, its in zip(units, np.split(outputs, ends)[:-1], strict=True)}
        self._fingerprint = hashlib.sha256(repr(units).encode() + outputs.tobytes()).hexdigest()

    def says(self, units: Sequence[Unit]) -> NDArray[np.float64]:
        """(N, C) of the rows of these units, which are all recorded."""
        width = len(output_columns(self._data.task.form, self._data.labels))
        return np.concatenate([np.empty((0, width)), *(self._outputs[_key(unit)] for unit in units)])

    def knows(self, unit: Unit) -> bool:
        """Whether it is recorded."""
        return _key(unit) in self._outputs

    @cached_property
    def pool(self) -> list[Unit]:
        """Recorded units to draw points from: those of no split of the task."""
        taken = {_key(unit) for units in self._data.units.values() for unit in units}
        return [unit for unit in self._units if _key(unit) not in taken]

    def points(self, states: States) -> PointMaker:
        """Draws points from the pool that repeat neither dev nor test."""
        identity = {"recorded": self._fingerprint, "alike_per_point": ALIKE_PER_POINT}
        return PointMaker(self._data, AlikeTexts(self.pool), self.says, identity, self.settings, states)


class AlikeTexts:
    """Draws from a pool, which is not empty, the texts that are most alike to given ones, in the place of tau.

    Alike is the cosine of TF-IDF weights of words, marks and neighbouring two of them, which are those of the pool.
    """

    def __init__(self, pool: Sequence[Unit]) -> None:
        self._pool = pool

    @cached_property
    def _weighed(self) -> tuple[TfidfVectorizer, csr_matrix]:
        """What weighs the words of texts, and the weights of the pool."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(token_pattern=TOKEN, ngram_range=(1, 2), max_features=MOST_NGRAMS)
        return vectorizer, vectorizer.fit_transform(map(_text, self._pool))

    def __call__(self, units: Sequence[Unit], *, copies: int, seed: int) -> list[Unit]:
        """Units of the pool for each of these: so many, drawn from `ALIKE_PER_POINT` times as many that are most alike.

        What is drawn depends on (seed, place of the unit), the unit and the pool; of a pool that has fewer some come
        twice.

        Returns:
            ``copies`` for the first, then for the second, and so on.
        """
        from sklearn.neighbors import NearestNeighbors

        num_alike = min(len(self._pool), ALIKE_PER_POINT * copies)
        vectorizer, weights = self._weighed
        index = NearestNeighbors(n_neighbors=num_alike, metric="cosine").fit(weights)
        alike = index.kneighbors(vectorizer.transform(map(_text, units)), return_distance=False)
        drawn = []
        for place, nearest in enumerate(alike):
            generator = np.random.default_rng([seed, place])
            chosen = generator.choice(nearest, size=copies, replace=num_alike < copies)
            drawn += [replace(self._pool[number], made_of=units[place], made_by=RECORDED) for number in chosen]
        return drawn


def without_test(table: pd.DataFrame, data: TaskData) -> pd.DataFrame:
    """Recorded labels but those of test and of the official test.

    Nobody may learn them, and a part of train, to which something else is the test split, could not tell them apart.

    Args:
        table: As `tasks.reading.recorded` reads it.
        data: Of the whole task.
    """
    unseen = {_key(unit) for split in UNSEEN_SPLITS for unit in data.units.get(split, ())}
    units = units_of(table, data.task.form == Form.MULTIPLE_CHOICE)
    is_kept = np.repeat([_key(unit) not in unseen for unit in units], [len(unit.rows) for unit in units])
    return table[is_kept].reset_index(drop=True)


def check_recorded_teacher(
    teacher: RecordedTeacher, data: TaskData, *, place: str, needs_train: bool
) -> tuple[pd.DataFrame, TeacherReport]:
    """Hold recorded labels, whose file is named at a place, against dev, and say what is recorded of it.

    The method or a rival may need what is said of the train split, too.

    Raises:
        TeacherError: If too few rows of dev, or none to learn from, are recorded.
    """
    known = {split: [unit for unit in units if teacher.knows(unit)] for split, units in data.units.items()}
    num_dev, num_train = len(data.units["dev"]), len(data.units["train"])
    least = min(LEAST_DEV, num_dev)
    faults = []
    if len(known["dev"]) < least:
        faults.append(
            f"{len(known['dev'])} of the {num_dev} examples of dev are recorded, and {least} at least are needed to "
            "hold the teacher against its bar"
        )
    if not teacher.pool:
        faults.append("no text is recorded beside those of the task's own splits, so there is none to learn from")
    if needs_train and len(known["train"]) < num_train:
        faults.append(
            f"{len(known['train'])} of the {num_train} examples of train are recorded, and the method distilled "
            "needs all of them; name another one in params:finetune.method, or take it out of params:finetune.rivals"
        )
    if faults:
        raise TeacherError(
            f"Task `{data.task.name}`: {'; '.join(faults)}. An example is found again by its texts, blanks aside; "
            f"`{data.task.name}.examples` has those of each split. Change the file or the columns of {place}."
        )
    is_known = np.concatenate([[teacher.knows(unit)] * len(unit.rows) for unit in data.units["dev"]])
    starts = np.cumsum([0, *(len(unit.rows) for unit in known["dev"])])
    table = data.tables["dev"][is_known].reset_index(drop=True)
    predictions = answered_table(data.task, data.labels, table, teacher.says(known["dev"]), starts)
    counts = {**{split: known[split] for split in known if split not in UNSEEN_SPLITS}, "pool": teacher.pool}
    report = TeacherReport(
        check=check_teacher(data.task, data.labels, predictions),
        method=RECORDED,
        task=data.task.name,
        form=str(data.task.form),
        metrics=data.task.metrics,
        labels=data.labels,
        num_examples={split: sum(len(unit.rows) for unit in units) for split, units in counts.items()},
        num_units={split: len(units) for split, units in counts.items()},
        truncated_share=0.0,
    )
    return predictions, report


def _key(unit: Unit) -> tuple[Row, ...]:
    """What a unit is found by: blanks are all alike."""
    return tuple((" ".join(text.split()), None if pair is None else " ".join(pair.split())) for text, pair in unit.rows)


def _text(unit: Unit) -> str:
    """The texts of a unit, each once."""
    return "\n".join(dict.fromkeys(text for row in unit.rows for text in row if text is not None))
