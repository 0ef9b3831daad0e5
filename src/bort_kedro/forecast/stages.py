"""The trainings of each stage as its parameters ask for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil

from bort_kedro.encoders.shapes import KNOWN_SHAPES, BertShape
from bort_kedro.encoders.training_cost import layer_weights
from bort_kedro.finetuning.theta import build_theta
from bort_kedro.forecast.facts import UNKNOWN_ENCODER, Facts
from bort_kedro.forecast.task_works import examples_of, searched_task_works, task_works
from bort_kedro.forecast.work import Encoder, Step, Work, passed
from bort_kedro.frozen import JsonObject
from bort_kedro.params import Parameters
from bort_kedro.params.finetune import task_of
from bort_kedro.pretraining.settings import DistillationSettings, PretrainingSettings
from bort_kedro.search.space import enumerate_shapes, parts_of
from bort_kedro.tasks.builtin import BUILTIN_TASKS

# Padded tokens of a look at the validation split at most, as `pretraining.pretrain` has it.
MOST_VALIDATED = 64 * 8192
SEARCH, PRETRAIN, EVALUATE = "search", "pretrain_distill", "evaluate"
CHOOSING, SPEED = f"{SEARCH}.select_shape_node", f"{EVALUATE}.measure_speed_node"


@dataclass(frozen=True)
class Forecaster:
    """Works out what a run trains.

    Args:
        parameters: Of all stages.
        facts: What is there.
        stated: The student's shape where somebody states it; None takes the one that is there, or a typical candidate.
        is_searched: Whether the search will choose as it has chosen.
    """

    parameters: Parameters
    facts: Facts
    stated: BertShape | None = None
    is_searched: bool = False

    def works(self, nodes: frozenset[str]) -> list[Work]:
        """All trainings of a run's nodes, in the order of the stages."""
        every = (*self._search(), *self._pretraining(nodes), *self._tasks(nodes), *self._evaluation(nodes))
        return [work for work in every if work.node in nodes and work.num_trainings and work.num_steps]

    @cached_property
    def maximum(self) -> Encoder:
        """T."""
        search = self.parameters.search
        if search.encoder is not None:
            return self.facts.opened or UNKNOWN_ENCODER
        return self._here(search.stated_maximum())

    @cached_property
    def candidates(self) -> tuple[BertShape, ...]:
        """The space."""
        search = self.parameters.search
        space = search.space if search.space is not None else parts_of(self.maximum.shape)
        return enumerate_shapes(space, added=search.always_train).shapes

    def student(self, nodes: frozenset[str]) -> tuple[Encoder, str]:
        """The student, and why it is taken for one."""
        if self.stated is not None:
            return self._here(self.stated), "as stated"
        if self.parameters.finetune.student is not None:
            return self.facts.student or UNKNOWN_ENCODER, "as its files have it"
        if (self.is_searched or CHOOSING not in nodes) and self.facts.selected is not None:
            return self._here(self.facts.selected), "as the last search chose it"
        return self._here(typical(self.candidates)), "a typical candidate, until the search has chosen"

    def assumptions(self, nodes: frozenset[str]) -> list[str]:
        """What the forecast takes for granted, as sentences."""
        search, finetune = self.parameters.search, self.parameters.finetune
        said = []
        if search.encoder is not None and self.facts.opened is None:
            said.append(f"`{search.encoder}` is not on this machine, and is taken to be {self.maximum.shape}.")
        if finetune.student is not None and self.facts.student is None:
            said.append(f"`{finetune.student}` is not on this machine, and is taken to be {UNKNOWN_ENCODER.shape}.")
        if self.facts.vocabulary_size is None:
            other = "Other text, or other params:corpus, than the tokens that are there were made of"
            said.append(
                f"{other if self.facts.has_other_tokens else 'There are no tokens yet'}: sequences count as full, "
                "tokens of tasks are guessed from words, and what scores trainings on held-out text is not counted."
            )
        if not any(node.startswith("finetune.") for node in nodes):
            return said
        trained = [name for name in finetune.tasks if not task_of(name, finetune).is_diagnostic]
        unknown = [name for name in trained if examples_of(name, finetune, self.facts) is None]
        assumed = [name for name in trained if name not in (*unknown, *self.facts.examples, *BUILTIN_TASKS)]
        if assumed:
            said.append(f"Examples are not there yet, and taken to be as many as are published: {', '.join(assumed)}.")
        if unknown:
            sets = len(build_theta(finetune.training, draw_seed=finetune.split_seed))
            said.append(
                f"Not counted, since their examples are not there yet: {', '.join(unknown)}; each has {sets} trials or "
                "more. `kedro run --pipelines tasks` makes them."
            )
        return said

    def _here(self, shape: BertShape) -> Encoder:
        corpus, facts = self.parameters.corpus, self.facts
        opens = self.parameters.search.encoder is not None
        trained = UNKNOWN_ENCODER.vocabulary_size if corpus.tokenizer.pretrained else corpus.tokenizer.vocabulary_size
        brought = (facts.opened or UNKNOWN_ENCODER).vocabulary_size if opens else trained
        return Encoder(shape, facts.vocabulary_size or brought, corpus.max_positions)

    def _step(
        self, encoder: Encoder, settings: PretrainingSettings, distillation: DistillationSettings | None = None
    ) -> Step:
        optimization = settings.optimization
        length = min(self.parameters.corpus.sequence_length, settings.batch_tokens)
        return Step(
            encoder,
            tokens=settings.batch_tokens,
            length=length,
            # Tokens that are reconstructed pass the head too.
            masked_share=settings.masked_share + settings.num_reconstructed / length,
            precision=self.facts.precision(optimization.mixed_precision),
            num_threads=settings.num_threads,
            parts=optimization.gradient_accumulation_steps,
            moments=0 if optimization.optimizer == "sgd" else 2,
            recomputes=settings.gradient_checkpointing,
            teacher=self.maximum if distillation is not None and distillation.kinds else None,
        )

    def _passes(self, step: Step, split: str, *encoders: Encoder) -> tuple[Step, ...]:
        """One over a split of the corpus by each encoder; none where its tokens are not there yet."""
        tokens = self.facts.split_tokens.get(split, 0)
        return tuple(passed(step, tokens, encoder) for encoder in encoders if tokens)

    def _looks(self, step: Step, settings: PretrainingSettings) -> tuple[Step, ...]:
        """At the validation split on the way."""
        if settings.validate_every_steps is None:
            return ()
        seen = min(self.facts.split_tokens.get("validation", 0), MOST_VALIDATED)
        return (passed(step, seen * ceil(settings.optimization.num_steps / settings.validate_every_steps)),)

    def _search(self) -> Iterator[Work]:
        search = self.parameters.search
        if search.error_source == "table":
            return
        each = len(search.hyperparameter_sets) * search.num_seeds
        longer = search.maximum_point_training()
        against = [self.maximum] if search.error_measure in ("divergence", "distance") else []
        step = self._step(self.maximum, longer)
        yield Work(
            SEARCH,
            f"{SEARCH}.train_maximum_point_node",
            f"the maximum point {self.maximum.shape}",
            step,
            longer.optimization.num_steps,
            each,
            passes=self._passes(step, "validation", self.maximum, *against) + self._looks(step, longer),
            other_bytes=self.maximum.weight_bytes,
            **_states(longer),
        )
        everyone, workers = len(self.candidates), min(search.num_workers, self.facts.num_devices or search.num_workers)
        is_limit = search.max_minutes is not None or search.min_expected_gain is not None
        trained = everyone if search.strategy == "exhaustive" else min(search.trainings(everyone), everyone)
        encoder = self._here(typical(self.candidates))
        step = self._step(encoder, search.training, search.distillation)
        yield Work(
            SEARCH,
            f"{SEARCH}.measure_errors_node",
            f"{trained} of {everyone} candidates, typically {encoder.shape}",
            step,
            search.training.optimization.num_steps,
            trained * each,
            passes=self._passes(step, "validation", encoder, *against) + self._looks(step, search.training),
            num_starts=search.engine != "sequential",
            side_by_side=workers,
            variety=self.candidates,
            is_limit=is_limit,
            least_trainings=1 if is_limit else None,
            other_bytes=encoder.weight_bytes,
            **_states(search.training),
        )
        for work in searched_task_works(
            self.parameters, self.facts, encoder, trainings=trained * each, workers=workers
        ):
            yield replace(work, variety=self.candidates)

    def _pretraining(self, nodes: frozenset[str]) -> Iterator[Work]:
        params = self.parameters.pretrain_distill
        student, why = self.student(nodes)
        launched: JsonObject = {
            "num_devices": params.launch.num_processes,
            "is_sharded": params.launch.sharding == "full",
            "num_starts": params.launch.num_processes > 1,
        }
        if self.parameters.trains_teacher and params.teacher is not None:
            step = self._step(self.maximum, params.teacher)
            yield Work(
                PRETRAIN,
                f"{PRETRAIN}.train_teacher_node",
                f"the teacher {self.maximum.shape}",
                step,
                params.teacher.optimization.num_steps,
                passes=self._looks(step, params.teacher),
                other_bytes=self.maximum.weight_bytes,
                **_states(params.teacher),
                **launched,
            )
        num_steps, model = params.student.optimization.num_steps, student.weight_bytes
        training, top_k = params.student_training, params.teacher_cache.top_k
        twin = self._step(student, training)
        is_live = params.distillation if top_k is None or params.distillation.reads_layers else None
        step, looks = self._step(student, training, is_live), self._looks(twin, training)
        yield Work(
            PRETRAIN,
            f"{PRETRAIN}.distill_student_node",
            f"the student {student.shape} ({why})",
            step,
            num_steps,
            # The teacher is scored beside it, and asked beforehand where its answers are kept.
            passes=(
                *looks,
                *self._passes(step, "test", student, self.maximum),
                *([passed(step, self._tokens_asked(), self.maximum)] if top_k else []),
            ),
            other_bytes=model + (self._cache_bytes(top_k, student.vocabulary_size) if top_k else 0),
            **_states(params.student),
            **launched,
        )
        yield Work(
            PRETRAIN,
            f"{PRETRAIN}.train_without_teacher_node",
            "its twin, to compare",
            twin,
            num_steps,
            passes=looks + self._passes(twin, "test", student),
            other_bytes=model,
            **_states(params.student),
            **launched,
        )

    def _cache_bytes(self, top_k: int, vocabulary_size: int) -> int:
        """Of the teacher's answers; `pretraining.teacher_cache` counts them exactly once the corpus is there."""
        from bort_kedro.pretraining.teacher_targets import bytes_per_position

        share = self.parameters.pretrain_distill.student.masked_share
        return round(share * self._tokens_asked()) * bytes_per_position(top_k, vocabulary_size)

    def _tokens_asked(self) -> int:
        """That a teacher whose answers are kept reads."""
        params, train = self.parameters.pretrain_distill, self.facts.split_tokens.get("train")
        steps = params.distillation.logits.steps_taught(params.student.optimization.num_steps)
        seen = params.student.batch_tokens * steps
        return min(seen, train * params.teacher_cache.num_epochs) if train and params.teacher_cache.num_epochs else seen

    def _tasks(self, nodes: frozenset[str]) -> Iterator[Work]:
        teachers = {"student": self.student(nodes)[0], "teacher": self.maximum}
        named = self.parameters.finetune.teacher.encoder
        return task_works(
            self.parameters.finetune,
            self.facts,
            student=self.student(nodes)[0],
            teacher=teachers.get(named, UNKNOWN_ENCODER),
        )

    def _evaluation(self, nodes: frozenset[str]) -> Iterator[Work]:
        """Passes that are timed, of all encoders under all conditions, as one kind: of the largest of them."""
        speed = self.parameters.evaluate.speed
        shapes = [KNOWN_SHAPES[name].shape for name in speed.compare_with]
        every = [*shapes, self.student(nodes)[0].shape, self.maximum.shape]
        conditions = len(speed.num_threads) * (2 if speed.with_head else 1)
        rounds = (speed.warmup_rounds + speed.timed_rounds) * conditions
        for length in speed.sequence_lengths:
            tokens = sum(speed.batch_sizes) * length
            weights = sum(map(layer_weights, every)) / layer_weights(max(every, key=layer_weights))
            yield Work(
                EVALUATE,
                SPEED,
                f"{len(every)} encoders, timed: so many passes of the largest",
                Step(
                    Encoder(max(every, key=layer_weights), speed.vocabulary_size, speed.max_positions),
                    tokens=tokens,
                    length=length,
                    masked_share=0.0,
                    precision="no",
                    num_threads=max(speed.num_threads),
                    learns=False,
                ),
                max(1, round(rounds * weights)),
            )


def _states(settings: PretrainingSettings) -> JsonObject:
    """Those that a training keeps on its way and at its end, and whether one of them stays for good."""
    optimization = settings.optimization
    return {
        "num_states": ceil(optimization.num_steps / optimization.checkpoint_every_steps),
        "keeps_whole": optimization.schedule == "warmup_stable_decay",
    }


def typical(shapes: Sequence[BertShape]) -> BertShape:
    """The shape whose layers are nearest to the mean number of weights, which goes with operations."""
    mean = sum(map(layer_weights, shapes)) / len(shapes)
    return min(shapes, key=lambda shape: abs(layer_weights(shape) - mean))
