"""tau: new texts similar to given ones, without labels, by a mixture of transformations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bort_kedro.agora.masked_replacement import MaskedReplacement
from bort_kedro.agora.settings import MASKED_LM, TRANSFORMATIONS
from bort_kedro.agora.word_transformations import WORD_TRANSFORMATIONS
from bort_kedro.tasks.units import Row, Unit
from bort_kedro.text.prose import word_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bort_kedro.agora.settings import TransformationSettings
    from bort_kedro.encoders.pretrained import Pretrained

# Texts with fewer words are left alone where a unit has a longer one: two spans of two words can change places in this.
MINIMUM_WORDS = 4


@dataclass(frozen=True)
class _Plan:
    """What is done to one copy of a unit: one row's texts change, and with them every text of the unit equal to one.

    Args:
        sides: Which of them: 0 the text, 1 its pair.
    """

    unit: Unit
    row: Row
    sides: tuple[int, ...]
    name: str
    generator: np.random.Generator


class Transformation:
    """tau: a mixture of word transformations and of replacement by an encoder with its masked-LM head.

    Of each copy of a unit one transformation is drawn, and whether it changes the text, its pair or both. Of a
    multiple-choice question one option is drawn as the row that changes; a text that other options share with it, such
    as the passage, changes in them alike. Marked spans may have to stay as they are, see `tasks.spans`.

    References:
        Bort's authors leave tau open but for its being label-free; replacement by a masked LM with teacher labels is
        that of Jiao et al. 2020 (TinyBERT), arXiv 1909.10351; swapping and deleting words that of Wei and Zou 2019
        (EDA), arXiv 1901.11196.
    """

    def __init__(
        self, masked_lm: Pretrained, settings: TransformationSettings, *, protects_spans: bool = False
    ) -> None:
        self._masked_lm, self._settings, self._protects_spans = masked_lm, settings, protects_spans
        weights = np.array([settings.weights.get(name, 0.0) for name in TRANSFORMATIONS], dtype=np.float64)
        self._chances = weights / weights.sum()

    @cached_property
    def _replace(self) -> MaskedReplacement:
        return MaskedReplacement(self._masked_lm, self._settings, protects_spans=self._protects_spans)

    def __call__(self, units: Sequence[Unit], *, copies: int, seed: int) -> list[Unit]:
        """New units similar to these; each depends on (seed, place of its source, number of the copy) and its source.

        Returns:
            ``copies`` of the first, then of the second, and so on; one is as its source where the texts are too short
            for the transformation that was drawn.
        """
        plans = [
            self._plan(unit, np.random.default_rng([seed, place, copy]))
            for place, unit in enumerate(units)
            for copy in range(copies)
        ]
        masked = [plan for plan in plans if plan.name == MASKED_LM]
        replaced = iter(self._replaced(masked) if masked else ())
        return [_with(plan, next(replaced) if plan.name == MASKED_LM else self._moved(plan)) for plan in plans]

    def _plan(self, unit: Unit, generator: np.random.Generator) -> _Plan:
        name = TRANSFORMATIONS[generator.choice(len(TRANSFORMATIONS), p=self._chances)]
        row = unit.rows[generator.integers(len(unit.rows))]
        given = tuple(side for side, text in enumerate(row) if text is not None)
        long = tuple(side for side in given if len(word_places(row[side] or "")) >= MINIMUM_WORDS) or given
        choices = [long] if len(long) == 1 else [(0,), (1,), (0, 1)]
        return _Plan(unit, row, choices[generator.integers(len(choices))], name, generator)

    def _replaced(self, plans: list[_Plan]) -> list[Row]:
        """The rows after replacement by the encoder, all at once."""
        sides, generators = [plan.sides for plan in plans], [plan.generator for plan in plans]
        return self._replace([plan.row for plan in plans], sides, generators)

    def _moved(self, plan: _Plan) -> Row:
        """The row after a transformation of words."""
        texts = list(plan.row)
        for side in plan.sides:
            texts[side] = WORD_TRANSFORMATIONS[plan.name](
                texts[side],
                share=self._settings.changed_share,
                generator=plan.generator,
                protects_spans=self._protects_spans,
            )
        return texts[0] or "", texts[1]


def _with(plan: _Plan, changed: Row) -> Unit:
    """The unit with the changed texts wherever those of the row stood."""
    text, pair = plan.row
    rows = tuple(
        (changed[0] if its_text == text else its_text, changed[1] if its_pair == pair else its_pair)
        for its_text, its_pair in plan.unit.rows
    )
    return Unit(rows, made_of=plan.unit, made_by=plan.name)
