"""What is searched, by which trainings, and what is wanted of them, as parameters say it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from bort_kedro.encoders.settings import ShapeSettings
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.frozen import FrozenModel
from bort_kedro.latency.settings import LatencySettings
from bort_kedro.pretraining.settings import DistillationSettings, PretrainingSettings
from bort_kedro.search.answers import ANSWERS
from bort_kedro.search.loop import Limits
from bort_kedro.search.measures import MEASURES, guesses_tokens
from bort_kedro.search.published import num_intervals, steps_of
from bort_kedro.search.space import Shapes, Space, require_contained
from bort_kedro.search.strategies import STRATEGIES


class HyperparameterSet(FrozenModel):
    """One member of Theta: what is given here takes the place of the value under ``search.training``."""

    learning_rate: float | None = Field(default=None, gt=0, description="Peak, per step.")
    warmup_share: float | None = Field(
        default=None, ge=0, lt=1, description="Share of the steps spent rising to the peak."
    )
    weight_decay: float | None = Field(default=None, ge=0, description="AdamW's.")
    batch_tokens: int | None = Field(default=None, gt=0, description="Padded tokens of a step.")
    dropout: float | None = Field(default=None, ge=0, lt=1, description="Of hidden units and attention.")

    def changes(self) -> dict[str, float]:
        """The values that were given."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class CapsSettings(FrozenModel):
    """Limits that the answer must meet; null is no limit."""

    max_parameters: float | None = Field(gt=0, description="Weights, embeddings and masked-LM head included.")
    max_operations: float | None = Field(
        default=None, gt=0, description="Of the layers in one pass of search.latency.sequence_length."
    )
    max_latency_ms: float | None = Field(gt=0, description="Of one pass as under search.latency, no head.")
    max_megabytes: float | None = Field(
        default=None, gt=0, description="Million bytes of the file of a classifier, as search.latency.runtime takes it."
    )
    max_error: float | None = Field(
        gt=0, description="Share of hidden tokens guessed wrong, the distance or the task's error; a recorded one."
    )


class SearchLatencySettings(LatencySettings):
    """How candidates are timed."""

    device: Literal["auto", "cpu", "cuda"] = Field(description="Whose latency counts; auto is cuda where there is one.")
    runtime: str | None = Field(
        description="What candidates are exported to and timed in, on the CPU: one of evaluate's export formats; null "
        "times PyTorch."
    )
    num_measured: int = Field(
        gt=0, description="Candidates timed, evenly over the ordered space; a fitted model gives the others."
    )


# T as parameters say it: a shape to train, or the hub id or folder of an encoder. The tags are part of the place of a
# fault, and of no parameter's name.
SHAPE, ENCODER = "<shape>", "<encoder>"
MaximumPoint = Annotated[
    Annotated[ShapeSettings, Tag(SHAPE)] | Annotated[str, Tag(ENCODER)],
    Discriminator(lambda value: ENCODER if isinstance(value, str) else SHAPE),
]


# What a trained search may take as the cost, and the column of the candidate table that has it.
COSTS = {
    "operations": "operations",
    **dict.fromkeys(("modelled_latency", "measured_latency", "exported_latency", "recorded_latency"), "latency_ms"),
}


class SearchFinetuningSettings(FrozenModel):
    """The fine-tuning after a short training whose error is that of a task; all else is as under finetune.training."""

    num_epochs: float = Field(gt=0, description="Passes over the training examples.")
    learning_rate: float = Field(gt=0, description="Its peak.")
    batch_tokens: int = Field(ge=8, description="Padded tokens of a batch.")


class EngineSettings(FrozenModel):
    """Where trainings run."""

    engine: Literal["sequential", "loky", "dask", "ray"] = Field(
        description="joblib's way to run trainings: one after the other, in processes, on a dask or ray cluster."
    )
    num_workers: int = Field(gt=0, description="Trainings at a time.")
    cluster_address: str | None = Field(description="Of the dask scheduler or ray head; null starts one here.")


class SearchSettings(EngineSettings):
    """Optimal subarchitecture extraction."""

    space: Space | None = Field(
        description="The candidates: sizes to combine, or a list of shapes; null takes parts of T: `space.parts_of`."
    )
    maximum_point: MaximumPoint = Field(
        description="T, which contains every candidate: a shape to train, or the hub id or folder of a BERT or RoBERTa "
        "encoder, whose tokenizer all then take."
    )
    error_source: Literal["training", "table"] = Field(
        description="Where errors come from: short trainings, or the catalog's `recorded_candidates`."
    )
    recorded_maximum_multiple: float = Field(
        gt=1, description="Of a recorded table without T: T's parameters and cost over the table's largest."
    )
    strategy: str = Field(description="Which candidates are trained.")
    budget: int | None = Field(
        gt=0,
        description="Full short trainings to spend, each with every seed and set, those of earlier searches included; "
        "null is one for each interval; exhaustive ignores it.",
    )
    interval: int | None = Field(
        gt=0, description="s of the published scheme: candidates for each training; null follows from the budget."
    )
    epsilon: float | None = Field(
        gt=0,
        le=1,
        description="Of the published scheme, fptas: with the interval it gives training.optimization.num_steps, which "
        "is null then; null follows from these two.",
    )
    always_train: Shapes = Field(
        description="Candidates that are trained before all others, in the budget; those the space lacks join it."
    )
    earlier_candidates: Literal["none", "checked", "stated"] = Field(
        description="Whether errors of the catalog's `earlier_candidates` are known from the start, beside the budget: "
        "those that their `trained_as` shows to be trained as here, or all, as you state that they were."
    )
    max_minutes: float | None = Field(
        gt=0,
        description="The search ends after the round in which its candidates' trainings have taken longer, going by "
        "the seconds recorded with each over num_workers; null is no limit. T's are not counted.",
    )
    min_expected_gain: float | None = Field(
        gt=0,
        lt=1,
        description="The surrogate ends where the next training promises less: the rise of the largest W, the "
        "growth of the front's hypervolume or the fall of the smallest error, as a share of what was found, or the "
        "depth of the knee, as one of the front's range; null is no limit.",
    )
    trials_per_round: int = Field(gt=0, description="Candidates the surrogate picks before it is refitted.")
    seed: int = Field(ge=0, lt=2**32, description="Of strategies that draw at random.")
    cost: str = Field(
        description="What W takes as the cost i: operations, modelled_latency, measured_latency, which times every "
        "candidate, exported_latency, which models those not timed in search.latency.runtime, or recorded_latency, "
        "likewise with the catalog's `recorded_latencies`; of a recorded table also any column of numbers."
    )
    error_measure: str = Field(
        description="What W takes as the error: the share of hidden tokens guessed wrong (error), the masked-LM loss "
        "(loss), the cross-entropy against what T predicts (divergence), how far its relations of tokens are from T's "
        "(distance), or 1 - the score on dev of `task` after a short fine-tuning (task)."
    )
    task: str | None = Field(
        description="One of finetune.tasks, for error_measure task; of a recorded table the column of its errors."
    )
    finetuning: SearchFinetuningSettings
    answer: str = Field(description="What is wanted of the trained candidates.")
    caps: CapsSettings
    training: PretrainingSettings = Field(description="Short, of every candidate; of T but for its own values.")
    distillation: DistillationSettings = Field(description="What candidates learn of T in their trainings.")
    hyperparameter_sets: tuple[HyperparameterSet, ...] = Field(
        min_length=1,
        description="Theta; T and every candidate are trained with each, and the best one counts. What a set leaves "
        "out is that of search.training.",
    )
    num_seeds: int = Field(
        gt=0, description="Trainings of T or a candidate with each set; their spread is part of the noise."
    )
    start: Literal["random", "teacher"] = Field(
        description="Where a candidate's weights begin: as drawn, or from layers of T."
    )
    narrowing: Literal["truncation", "svd"] = Field(description="How T's widths become a candidate's.")
    maximum_point_steps: int | None = Field(gt=0, description="T's own steps; null is as many as a candidate's.")
    maximum_point_learning_rate: float = Field(gt=0, description="T's own peak: wide encoders need a lower one.")
    maximum_point_threads: int = Field(gt=0, description="CPU threads while training T, which trains alone.")
    latency: SearchLatencySettings

    def trainings(self, num_candidates: int) -> int:
        """The budget, given or of the intervals."""
        return self.budget or num_intervals(num_candidates, self.interval or num_candidates)

    def limits(self) -> Limits:
        """What may end the search before its budget."""
        return Limits(self.max_minutes, self.num_workers, self.min_expected_gain)

    def maximum_point_training(self) -> PretrainingSettings:
        """The short training, as T has it."""
        optimization = self.training.optimization.changed(
            learning_rate=self.maximum_point_learning_rate,
            num_steps=self.maximum_point_steps or self.training.optimization.num_steps,
        )
        return self.training.changed(optimization=optimization, num_threads=self.maximum_point_threads)

    @model_validator(mode="before")
    @classmethod
    def _steps_follow_from_epsilon(cls, stated: Any) -> Any:
        """Fill in the steps that epsilon and interval ask for, where none are stated."""
        # Settings that are checked already have theirs.
        raw: Any = stated if isinstance(stated, dict) else {}
        training = raw.get("training")
        optimization = training.get("optimization") if isinstance(training, dict) else None
        numbers = raw.get("epsilon"), raw.get("interval")
        if not isinstance(optimization, dict) or optimization.get("num_steps") is not None:
            return stated
        if not all(isinstance(number, int | float) and number > 0 for number in numbers):
            return stated
        return raw | {"training": training | {"optimization": optimization | {"num_steps": steps_of(*numbers)}}}

    @model_validator(mode="after")
    def _the_published_inputs_agree(self) -> Self:
        if self.budget is None and self.interval is None:
            raise ValueError("budget and interval are null; allowed is one of them, from which the other follows")
        if self.budget is not None and self.interval is not None:
            raise ValueError(
                f"budget is {self.budget} and interval {self.interval}, each of which says how many are trained; "
                "allowed is one of them, the other being null"
            )
        if self.epsilon is None:
            return self
        if self.strategy != "fptas" or self.interval is None:
            raise ValueError(
                f"epsilon is {self.epsilon:g} with strategy `{self.strategy}` and interval {self.interval or 'null'}; "
                "it is an input of fptas, beside an interval"
            )
        num_steps, needed = self.training.optimization.num_steps, steps_of(self.epsilon, self.interval)
        if num_steps != needed:
            raise ValueError(
                f"epsilon is {self.epsilon:g} and interval {self.interval}, which ask for {needed} steps, and "
                f"training.optimization.num_steps is {num_steps}; allowed is that number, or null in the place of one "
                "of the two"
            )
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name, known in (("strategy", STRATEGIES), ("answer", ANSWERS), ("error_measure", MEASURES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is `{getattr(self, name)}`, allowed are {', '.join(known)}")
        if self.error_source == "training" and self.cost not in COSTS:
            raise ValueError(
                f"cost is `{self.cost}`, allowed are {', '.join(COSTS)}; with error_source table also the name of a "
                "column of numbers"
            )
        return self

    @model_validator(mode="after")
    def _the_task_is_named(self) -> Self:
        if self.error_measure == "task" and self.task is None:
            raise ValueError("error_measure is task, and task is null; name it there, as finetune.tasks does")
        return self

    @model_validator(mode="after")
    def _exports_have_a_runtime(self) -> Self:
        latency = self.latency
        if self.error_source == "training" and self.cost == "exported_latency" and latency.runtime is None:
            raise ValueError(
                "cost is exported_latency, and latency.runtime is null, which exports nothing; name the runtime there"
            )
        if latency.runtime is not None and latency.device == "cuda":
            raise ValueError(
                f"latency.device is cuda, and exports to latency.runtime {latency.runtime} run on the CPU; set device "
                "to auto or cpu, or runtime to null"
            )
        return self

    @property
    def error_column(self) -> str:
        """Of the candidate table, the one that W takes."""
        return MEASURES[self.error_measure].column

    @property
    def searched_task(self) -> str | None:
        """Whose error the trainings end with; None where there is none."""
        return self.task if self.error_measure == "task" and self.error_source == "training" else None

    @property
    def cost_column(self) -> str:
        """Of the candidate table, the one that is the cost."""
        return COSTS.get(self.cost, self.cost)

    @property
    def encoder(self) -> str | None:
        """Hub id or folder of a T that is opened; None for one that is trained."""
        return self.maximum_point if isinstance(self.maximum_point, str) else None

    def stated_maximum(self) -> BertShape:
        """The shape of a T that is not opened."""
        if isinstance(self.maximum_point, str):
            raise TypeError(f"the encoder {self.maximum_point} has its shape in its files")
        return self.maximum_point.to_shape()

    @model_validator(mode="after")
    def _maximum_point_is_largest(self) -> Self:
        # The rows of a table are its space.
        if self.error_source == "training" and self.space is not None and self.encoder is None:
            require_contained(self.space, self.stated_maximum())
        if self.error_source == "training" and self.encoder is None:
            require_contained(self.always_train, self.stated_maximum(), "always_train's")
        return self

    @model_validator(mode="after")
    def _limits_can_be_kept(self) -> Self:
        if self.budget is not None and len(self.always_train) > self.budget:
            raise ValueError(
                f"always_train has {len(self.always_train)} shapes, and budget is {self.budget}, which they are part "
                "of; allowed is one that is no smaller"
            )
        expecting = [name for name, strategy in STRATEGIES.items() if strategy.expects_gain]
        if self.min_expected_gain is not None and self.strategy not in expecting:
            raise ValueError(
                f"min_expected_gain is {self.min_expected_gain:g} with strategy `{self.strategy}`, which expects none; "
                f"allowed is null, or the strategy {', '.join(expecting)}"
            )
        return self

    @model_validator(mode="after")
    def _what_is_learned_is_measured(self) -> Self:
        is_trained = self.error_source == "training"
        if is_trained and not self.distillation.predicts and guesses_tokens(self.error_measure):
            raise ValueError(
                f"error_measure is {self.error_measure}, which hidden tokens tell, and search.distillation predicts "
                "none: masked_lm_weight and logits.weight are 0. Set error_measure to distance or task"
            )
        if self.error_measure == "distance" and not self.distillation.relations.weight:
            raise ValueError(
                "error_measure is distance, that of how layers relate tokens, and the weight of "
                "search.distillation.relations is 0, so that no candidate learns it. Set it above 0"
            )
        return self

    @model_validator(mode="after")
    def _a_table_has_no_encoder(self) -> Self:
        if self.error_source == "table" and self.earlier_candidates != "none":
            raise ValueError(
                f"earlier_candidates is {self.earlier_candidates} with error_source table, which trains nothing that "
                "they could be like; set it to none, or error_source to training"
            )
        if self.error_source == "table" and self.encoder is not None:
            raise ValueError(
                f"maximum_point is the encoder {self.encoder} with error_source table, which opens none; state its "
                "shape, or set error_source to training"
            )
        return self
