"""Replay the search's strategies on a space whose every candidate was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from benchmarks.search.measured_space import MeasuredSpace
from bort_kedro.search.replay import compare, subspaces
from bort_kedro.search.strategies import STRATEGIES

COMPARED = [name for name in STRATEGIES if name != "exhaustive"]
# Full trainings, and half as many for the strategy that should need only half.
FPTAS_BUDGETS = (4, 6, 8, 12, 18)
BUDGETS = (2, 3, 4, 6, 8, 9, 12, 18, 24)
# Random parts of the space, for each training seed: a space of 36 alone says little of spaces.
PARTS, PART_SIZE = 20, 24


def play_all(spaces: Sequence[MeasuredSpace]) -> pd.DataFrame:
    """Findings of every strategy and budget on the whole space and its parts, by training seed.

    Only `random` draws, so only it is replayed with several seeds on the whole space.
    """
    found = []
    decided = [name for name in COMPARED if name != "random"]
    for training_seed, space in enumerate(spaces):
        whole = [(space.problem, space.recorded)]
        redrawn = [(replace(space.problem, seed=seed), space.recorded) for seed in range(PARTS)]
        parts = subspaces(space.problem, space.recorded, count=PARTS, size=PART_SIZE)
        for kind, names, pairs in (
            ("whole", decided, whole),
            ("whole", ["random"], redrawn),
            ("part", COMPARED, parts),
        ):
            budgets = [budget for budget in BUDGETS if budget <= len(pairs[0][0])]
            rows = compare(names, pairs, budgets=budgets)
            found.append(rows.assign(space=kind, training_seed=training_seed))
    findings = pd.concat(found, ignore_index=True)
    return findings.assign(is_within_bound=findings["w_share"] >= 1.0 - findings["epsilon"] - 1e-12)
