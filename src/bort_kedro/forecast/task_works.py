"""The trainings of fine-tuning: a teacher, the student's trials by Agora or plainly, and those of its rivals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bort_kedro.finetuning.settings import FinetuningSettings
from bort_kedro.finetuning.theta import build_theta
from bort_kedro.forecast.facts import CHARACTERS_OF_WORD, Examples, Facts, tokens_of
from bort_kedro.forecast.work import Encoder, Step, Work, passed
from bort_kedro.params import Parameters
from bort_kedro.params.finetune import FinetuneParams, task_of
from bort_kedro.tasks.builtin import BUILTIN_TASKS

FINETUNE = "finetune"
# Of the built-in tasks the one whose examples are pairs of sentences.
PAIRS = "adjacent"
# A registered model lies in MLflow too, and beside it its exports: fp32, and two in int8.
COPIES = 2 + 1.5


def task_works(finetune: FinetuneParams, facts: Facts, *, student: Encoder, teacher: Encoder) -> Iterator[Work]:
    """Trainings of all tasks whose examples are known or bounded; a diagnostic has none."""
    for name in finetune.tasks:
        examples = examples_of(name, finetune, facts)
        if examples is None or task_of(name, finetune).is_diagnostic:
            continue
        yield from _of_task(name, examples, finetune, facts, student=student, teacher=teacher)


def searched_task_works(
    parameters: Parameters, facts: Facts, encoder: Encoder, *, trainings: int, workers: int
) -> Iterator[Work]:
    """The fine-tunings with which the trainings of candidates end, where their error is that of a task."""
    search, finetune = parameters.search, parameters.finetune
    examples = examples_of(search.task, finetune, facts) if search.searched_task is not None and search.task else None
    if examples is None:
        return
    asked = search.finetuning
    settings = finetune.training.changed(
        batch_tokens=(asked.batch_tokens,), num_epochs=asked.num_epochs, num_threads=search.training.num_threads
    )
    step, per_epoch = _step(encoder, settings, examples, facts)
    looks = _num_looks(settings)
    yield Work(
        "search",
        "search.measure_errors_node",
        f"their fine-tuning on `{search.task}`",
        step,
        max(1, round(settings.num_epochs * per_epoch)),
        trainings,
        side_by_side=workers,
        passes=(passed(step, looks * examples.num_dev * step.length),),
        num_looks=looks,
    )


def examples_of(name: str, finetune: FinetuneParams, facts: Facts) -> Examples | None:
    """Those that are there, else of a built-in task as many as may be made, and of another as many as are published;
    None where nothing is known."""
    if name in facts.examples:
        return facts.examples[name]
    if name not in BUILTIN_TASKS:
        size = task_of(name, finetune).size
        if size is None:
            return None
        # Half of the official dev becomes the test split.
        half = size.num_dev // 2
        return Examples(size.num_train, half, size.characters / CHARACTERS_OF_WORD, size.num_dev - half)
    made = finetune.builtin_tasks
    words = (made.min_words + made.max_words) / 2
    counts = made.max_examples
    return Examples(counts.train, counts.dev, 2 * words if name == PAIRS else words, counts.test)


def _of_task(
    name: str, examples: Examples, finetune: FinetuneParams, facts: Facts, *, student: Encoder, teacher: Encoder
) -> Iterator[Work]:
    def work(
        node: str,
        what: str,
        encoder: Encoder,
        settings: FinetuningSettings,
        *,
        trials: int,
        passes: float,
        least: int,
        asked: Sequence[float] = (),
    ) -> Work:
        """Trials that see the train split so often in all, beside tokens that the teacher is asked about."""
        step, per_epoch = _step(encoder, settings, examples, facts)
        first_steps = max(1, round(settings.num_epochs * per_epoch))
        num_steps = max(1, round(settings.num_epochs * per_epoch * passes / trials))
        # The best of all predicts the other splits.
        looks = _num_looks(settings, passes / trials)
        seen = (looks * examples.num_dev + examples.num_others // trials) * step.length
        return Work(
            FINETUNE,
            f"{FINETUNE}.{name}.{node}_node",
            f"`{name}`: {what}",
            step,
            num_steps,
            trials,
            passes=(passed(step, seen), *(passed(step, round(tokens / trials), teacher) for tokens in asked)),
            num_looks=looks,
            num_states=1 + num_steps // settings.checkpoint_every_steps,
            is_limit=settings.patience is not None or trials > least,
            first_steps=first_steps,
            least_steps=_least_steps(settings, first_steps, per_epoch),
            least_trainings=least,
            other_bytes=round(COPIES * encoder.weight_bytes),
        )

    sets = _num_sets(finetune.training, finetune)
    if finetune.method == "plain":
        yield work(
            "fine_tune_student",
            "the student's trials",
            student,
            finetune.training,
            trials=sets,
            passes=sets,
            least=sets,
        )
        return
    is_recorded = name in finetune.teacher.recorded
    if not is_recorded:
        training = finetune.teacher.training
        taught = _num_sets(training, finetune)
        yield work("fine_tune_teacher", "its teacher", teacher, training, trials=taught, passes=taught, least=taught)
    trials, passes = most_of_agora(sets, finetune.agora.max_replays, finetune.agora.max_points_share)
    # Points are made by a teacher, and labelled by it.
    length = _step(teacher, finetune.training, examples, facts)[0].length
    made = 2 * finetune.agora.max_points_share * examples.num_train * length * (sets - 1 + finetune.agora.max_replays)
    training = finetune.training
    # Under a teacher that is too weak they are the first round alone, and no rival has any.
    yield work(
        *("fine_tune_student", "trials of Agora", student, training),
        trials=trials,
        passes=passes,
        least=sets,
        asked=[] if is_recorded else [made],
    )
    # Plainly the first round is Agora's, and found finished.
    many, found = len(finetune.rivals), sets if "plain" in finetune.rivals else 0
    if many * trials > found:
        what = f"as many trials by {', '.join(finetune.rivals)}"
        yield work(
            *("fine_tune_rivals", what, student, training),
            trials=many * trials - found,
            passes=many * passes - found,
            least=0,
        )


def _num_sets(settings: FinetuningSettings, finetune: FinetuneParams) -> int:
    return len(build_theta(settings, draw_seed=finetune.split_seed))


def most_of_agora(num_sets: int, max_replays: int, max_points_share: float) -> tuple[int, float]:
    """Trials that Agora may take at most, and how often these see the train split, in train splits.

    Each round that is accepted drops one set at least and adds points at most; the first always is, and a replay then
    takes all that are left, with as many points as the round that it repeats.

    Args:
        num_sets: Of Theta.
        max_replays: In the whole run.
        max_points_share: Points of a round, as a share of the train split.
    """
    rounds = [(num_sets - number, 1 + number * max_points_share) for number in range(num_sets)]
    # Where they take most.
    replayed = max(rounds[1:], key=lambda each: each[0] * each[1], default=(0, 0.0))
    rounds += [replayed] * max_replays
    return sum(sets for sets, _ in rounds), sum(sets * size for sets, size in rounds)


def _least_steps(settings: FinetuningSettings, num_steps: int, per_epoch: float) -> int:
    """Of a trial that early stopping ends as soon as it may."""
    if settings.patience is None:
        return num_steps
    warmup = int(min(settings.warmup_shares) * num_steps)
    return min(num_steps, warmup + settings.patience * max(1, int(per_epoch / settings.looks_per_epoch)))


def _num_looks(settings: FinetuningSettings, growth: float = 1.0) -> int:
    """How often a trial is scored on dev, on its way and at its end; more often where the train split has grown."""
    return round(settings.looks_per_epoch * settings.num_epochs * growth) + 1


def _step(encoder: Encoder, settings: FinetuningSettings, examples: Examples, facts: Facts) -> tuple[Step, float]:
    """A step, and steps that see the train split once; of several batch sizes the mean."""
    batch = sum(settings.batch_tokens) / len(settings.batch_tokens)
    tokens = min(settings.max_tokens, tokens_of(examples.words, encoder.vocabulary_size))
    step = Step(
        encoder,
        tokens=round(batch),
        length=round(tokens),
        masked_share=0.0,
        precision=facts.precision(settings.mixed_precision),
        num_threads=settings.num_threads,
    )
    return step, examples.num_train * tokens / batch
