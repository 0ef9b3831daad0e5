"""What a search reports: one record, which `conclusion.conclude` makes and every reader takes."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import pandas as pd
from pydantic import ConfigDict

from bort_kedro.encoders.shapes import BertShape, shape_text
from bort_kedro.frozen import FrozenModel
from bort_kedro.latency.model import Calibration
from bort_kedro.search.guarantee import Guarantee
from bort_kedro.search.measures import BESIDE_ERROR, Measure, guesses_tokens
from bort_kedro.search.settings import COSTS, CapsSettings

Number = int | float


class ShapeValues(FrozenModel):
    """The four values of a shape; one of a recorded table need not be one that can be built."""

    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    intermediate_size: int

    def __str__(self) -> str:
        return shape_text(vars(self))

    def to_shape(self) -> BertShape:
        """As the value that is computed with.

        Raises:
            ShapeError: If it cannot be built.
        """
        return BertShape.from_row(vars(self))

    def four(self) -> dict[str, int]:
        """The values alone, by name."""
        return {name: getattr(self, name) for name in ShapeValues.model_fields}


class SizedShape(ShapeValues):
    """A shape with what it costs and how much it errs; parts are None of a recorded table, and so is what was
    not measured.

    Further columns that the table had are kept.
    """

    model_config = ConfigDict(extra="allow")

    parameters: Number
    operations: Number
    cost: Number | None = None
    latency_ms: float | None = None
    megabytes: float | None = None
    embedding_parameters: int | None = None
    layer_parameters: int | None = None
    head_parameters: int | None = None
    pooler_parameters: int | None = None
    embedding_operations: int | None = None
    head_operations: int | None = None
    pooler_operations: int | None = None
    error: float | None
    error_standard_error: float | None
    loss: float | None = None
    loss_standard_error: float | None = None
    divergence: float | None = None
    divergence_standard_error: float | None = None

    @property
    def beside_error(self) -> dict[str, Measure]:
        """What was measured beside the error."""
        return {name: of for name, of in BESIDE_ERROR.items() if getattr(self, name) is not None}

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> Self:
        """From a row of a table, whose empty cells, NaN there, are None here, as JSON has no NaN."""
        return cls.from_json({str(name): None if pd.isna(value) else value for name, value in row.items()})


LatencySource = Literal["measured", "modelled", "recorded"]


class Candidate(SizedShape):
    """A row of the candidate table; what was not measured is None."""

    latency_source: LatencySource
    w: float | None
    w_standard_error: float | None
    is_trained: bool
    has_failed: bool = False
    failure: str | None = None
    meets_caps: bool
    is_pareto: bool
    is_selected: bool

    @classmethod
    def rows_of(cls, table: pd.DataFrame) -> list[Self]:
        """The candidates of a table, in its order."""
        return [cls.of(row) for row in table.to_dict("records")]


class MaximumPointRow(SizedShape):
    """T; ``is_network`` is False where it was made up above a recorded table."""

    is_network: bool = True
    latency_source: LatencySource | None = None
    seconds: float = 0.0
    num_tokens: int = 0


class ErrorModelFit(FrozenModel):
    """How well a regression of the error on the shape ranks candidates left out of it; None where they are too few."""

    num_candidates: int
    rank_correlation: float | None


class SensitivityRow(FrozenModel):
    """Whom W would choose with T's parameters and cost multiplied, by each measure of the error that there is."""

    multiple: int
    by_measure: dict[str, ShapeValues]


class GuaranteeReport(Guarantee):
    """A guarantee with the shape of whom it is bounded by; None if all were trained."""

    bound_shape: ShapeValues | None


class PublishedScheme(FrozenModel):
    """The published scheme's inputs, given or computed, and its running time; see `published`.

    Args:
        interval: s, candidates for each training.
        epsilon: What the steps are enough for.
        batch_tokens: |B|.
        num_sets: |Theta|.
        promised: The running time by the abstract's formula, every constant 1.
        planned: The same of the trainings that the budget pays for, all as large as T and with one seed.
    """

    interval: float
    epsilon: float
    num_steps: int
    batch_tokens: int
    num_sets: int
    promised: float
    planned: float


class GrowthReport(FrozenModel):
    """Whether the AB^nC condition holds at every step of the space, and that in words."""

    holds: bool
    sentence: str


class Sizes(FrozenModel):
    """What parameters and operations were counted for, in tokens."""

    vocabulary_size: int
    max_positions: int
    sequence_length: int


class WorkerRestart(FrozenModel):
    """Trainings that a dead worker had, and why it died."""

    jobs: str
    reason: str


class SearchReport(FrozenModel):
    """The choice, how sure it is, and what a reader must know first.

    Args:
        strategy: To `start`: as in the parameters.
        baseline_errors: Of `measures.BASELINES`; empty where they are unknown.
        num_candidates: Of the space within the caps; `num_invalid` cannot be built, `num_over_caps` were left out.
        num_trained: To the end; `num_tried` counts those of a part of the training, too, and those that failed.
        num_known: Of those tried, that earlier searches had trained alike.
        num_given: Of those tried, that a table of earlier results had; they are no part of what was spent.
        trainings_spent: Full ones, every seed and hyperparameter set included; look-ups where nothing was trained.
        num_better_than_maximum: Those that learned with an error below T's noise, which is 0 where T itself did not.
        runner_up: None where one candidate alone was ranked.
        is_distinguishable: Whether the two best differ by more than their noise.
        seconds: Of all trainings, T's included.
        notes: What a reader must know before believing the choice.
        published: Of `fptas` alone, whose errors were trained for.
        growth_check: This and the next three are None, or none, where errors were looked up.
        recorded_maximum_multiple: T's size over the table's largest, where errors were looked up.
        task: Whose error W takes; None where it takes none's.
        runtime: What was timed and weighed in the place of PyTorch; None where that was.
    """

    strategy: str
    budget: int
    cost: str
    answer: str
    caps: CapsSettings
    error_measure: str
    error_source: Literal["training", "table"]
    start: Literal["random", "teacher"] = "random"
    is_network: bool
    baseline_errors: dict[str, float]
    num_candidates: int
    num_invalid: int = 0
    num_over_caps: int = 0
    num_trained: int
    num_tried: int
    trainings_spent: float
    num_better_than_maximum: int
    num_on_plateau: int
    num_failed: int = 0
    num_known: int = 0
    num_given: int = 0
    selected: Candidate
    runner_up: Candidate | None
    is_distinguishable: bool
    pareto_front: tuple[ShapeValues, ...]
    maximum_point: MaximumPointRow
    seconds: float
    num_tokens: int
    error_model: ErrorModelFit
    guarantee: GuaranteeReport
    sensitivity: tuple[SensitivityRow, ...]
    notes: tuple[str, ...]
    published: PublishedScheme | None = None
    growth_check: GrowthReport | None = None
    latency_calibration: Calibration | None = None
    num_seeds: int | None = None
    sizes: Sizes | None = None
    worker_restarts: tuple[WorkerRestart, ...] = ()
    recorded_maximum_multiple: float | None = None
    task: str | None = None
    runtime: str | None = None

    @property
    def is_share(self) -> bool:
        """Whether errors are shares of hidden tokens; recorded ones may be anything, and other measures are none."""
        return not self.is_recorded and guesses_tokens(self.error_measure)

    @property
    def own_cost(self) -> str | None:
        """The column of a recorded table that was the cost; None for operations and latencies, always shown anyway."""
        return None if self.cost in {*COSTS, *COSTS.values()} else self.cost

    @property
    def is_recorded(self) -> bool:
        """Whether errors were looked up in a table rather than trained for."""
        return self.error_source == "table"
