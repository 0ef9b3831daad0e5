"""The trainings of fine-tuning: a teacher, the student's trials by its method, and those of its rivals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bort_kedro.agora.settings import LEAST_DEV
from bort_kedro.finetuning.settings import FinetuningSettings
from bort_kedro.finetuning.theta import build_theta
from bort_kedro.forecast.facts import CHARACTERS_OF_WORD, Examples, Facts
from bort_kedro.forecast.task_trials import FINETUNE, Learner, Trials, most_of_agora, step_of, trial_work
from bort_kedro.forecast.work import COMPARED, COMPARED_TEACHERS, TEACHERS_OF_PARTS, TRIALS, Encoder, Work, passed
from bort_kedro.params import Parameters
from bort_kedro.params.finetune import WEAK_SUPERVISION, FinetuneParams, task_of
from bort_kedro.tasks.builtin import BUILTIN_TASKS

# Of the built-in tasks the one whose examples are pairs of sentences.
PAIRS = "adjacent"


def task_works(finetune: FinetuneParams, facts: Facts, *, student: Encoder, teacher: Encoder) -> Iterator[Work]:
    """Trainings of all tasks whose examples are known or bounded; a diagnostic has none."""
    for name in finetune.tasks:
        examples = examples_of(name, finetune, facts)
        if examples is None or task_of(name, finetune).is_diagnostic:
            continue
        yield from _TaskWorks(name, examples, finetune, facts, student, teacher).works()


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
    step, per_epoch = step_of(encoder, settings, examples, facts)
    # On its way and at its end.
    looks = round(settings.looks_per_epoch * settings.num_epochs) + 1
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


@dataclass(frozen=True)
class _TaskWorks:
    """What one task trains."""

    name: str
    examples: Examples
    finetune: FinetuneParams
    facts: Facts
    student_encoder: Encoder
    teacher_encoder: Encoder

    def works(self) -> Iterator[Work]:
        """In the order of the nodes."""
        method, examples = self.finetune.method, self.examples
        if method == "plain":
            yield self._work("student", "the student's trials", self._student, self._by(method, examples))
            return
        if not self._is_recorded:
            taught = self._teacher.num_sets
            yield self._work("teacher", "its teacher", self._teacher, Trials(taught, taught, needed=1))
        if method == "auto":
            yield from self._comparison()
        if method in ("auto", "distilled"):
            yield from self._teachers_of_parts("student")
        if method in ("distilled", WEAK_SUPERVISION):
            trials = self._by(method, examples)
            yield self._work("student", f"the student's trials by {method}", self._student, trials)
            return
        # Under a teacher that is too weak they are the first round alone, and no rival has any.
        what = "trials of Agora" if method == "agora" else "trials of the method that was chosen"
        may_be = [self._by(each, examples) for each in (self._compared if method == "auto" else ["agora"])]
        most = max(may_be, key=lambda each: each.passes + sum(each.lasts))
        yield self._work("student", what, self._student, most, asked=self._points_asked(examples))
        if method == "agora" and "distilled" in self.finetune.rivals:
            yield from self._teachers_of_parts("rivals")
        rivals = self._rivals()
        if rivals.count:
            names = ", ".join(self.finetune.rivals)
            yield self._work("rivals", f"as many trials by {names}", self._student, rivals)

    @cached_property
    def _student(self) -> Learner:
        return self._learner(self.student_encoder, self.finetune.training)

    @cached_property
    def _teacher(self) -> Learner:
        return replace(self._learner(self.teacher_encoder, self.finetune.teacher.training), is_teacher=True)

    def _learner(self, encoder: Encoder, settings: FinetuningSettings) -> Learner:
        return Learner(encoder, settings, len(build_theta(settings, draw_seed=self.finetune.split_seed)))

    @property
    def _is_recorded(self) -> bool:
        return self.name in self.finetune.teacher.recorded

    @property
    def _most_grown(self) -> float:
        """What Agora's last round learns at most."""
        return 1 + (self._student.num_sets - 1) * self.finetune.agora.max_points_share

    @property
    def _compared(self) -> list[str]:
        """That auto chooses from."""
        return ["plain", "distilled", *([WEAK_SUPERVISION] if self._is_recorded else []), "agora"]

    def _learned(self, method: str, examples: Examples) -> float:
        """What a method learns at most in its last round, in train splits."""
        # Some of dev have to be recorded, too.
        num_recorded = max(0, self.facts.recorded.get(self.name, 0) - min(LEAST_DEV, examples.num_dev))
        grown = {WEAK_SUPERVISION: 1 + num_recorded / examples.num_train}
        return (grown | dict.fromkeys(("agora", "random_augmentation"), self._most_grown)).get(method, 1.0)

    def _work(
        self,
        node: str,
        what: str,
        learner: Learner,
        trials: Trials,
        *,
        examples: Examples | None = None,
        asked: Sequence[tuple[Encoder, float]] = (),
        kind: str = TRIALS,
    ) -> Work:
        if trials.lasts:
            count = len(trials.lasts)
            what += ", then one more that learns dev too" if count == 1 else f", then {count} more that learn dev too"
        return trial_work(
            f"{FINETUNE}.{self.name}.fine_tune_{node}_node",
            f"`{self.name}`: {what}",
            learner,
            trials,
            examples or self.examples,
            self.facts,
            asked=asked,
            kind=kind,
        )

    def _lasts(self, *passes: float) -> tuple[float, ...]:
        return passes if self.finetune.ends_with_dev else ()

    def _by(self, method: str, examples: Examples) -> Trials:
        """The student's by a method, at most: every set of Theta once, or as many as Agora may take."""
        settings, sets, learned = self.finetune.agora, self._student.num_sets, self._learned(method, examples)
        trials, passes = sets, sets * learned
        if method == "agora":
            trials, passes = most_of_agora(sets, settings.max_replays, settings.max_points_share)
        return Trials(trials, passes, self._lasts(learned + _dev_share(examples)), needed=1)

    def _rivals(self) -> Trials:
        """As many of each rival as Agora may take; plainly the first round is Agora's, and found finished."""
        rivals, agora, dev = self.finetune.rivals, self._by("agora", self.examples), _dev_share(self.examples)
        found = self._student.num_sets if "plain" in rivals else 0
        # They learn their examples for as many steps as Agora its grown ones, and dev as often.
        lasts = [self._most_grown * (1 + dev / self._learned(name, self.examples)) for name in rivals]
        return Trials(len(rivals) * agora.count - found, len(rivals) * agora.passes - found, self._lasts(*lasts))

    def _points_asked(self, examples: Examples, times: int = 1) -> list[tuple[Encoder, float]]:
        """Points are made by a teacher, and labelled by it."""
        if self._is_recorded:
            return []
        settings = self.finetune.agora
        length = step_of(self.teacher_encoder, self.finetune.training, examples, self.facts)[0].length
        rounds = self._student.num_sets - 1 + settings.max_replays
        return [(self.teacher_encoder, 2 * times * settings.max_points_share * examples.num_train * length * rounds)]

    def _teachers_of_parts(self, node: str) -> Iterator[Work]:
        """For distilled: each answers the part of train that it has not learned."""
        if self._is_recorded:
            return
        count = self.finetune.num_folds * self._teacher.num_sets
        what = f"teachers for distilled, each on {self._but_one}"
        part = _without_fold(self.examples, self.finetune.num_folds)
        yield self._work(node, what, self._teacher, Trials(count, count), examples=part, kind=TEACHERS_OF_PARTS)

    def _comparison(self) -> Iterator[Work]:
        """Every method by which auto may fine-tune, on all parts of train but one in turn."""
        folds, part = self.finetune.num_folds, _without_fold(self.examples, self.finetune.num_folds)
        if not self._is_recorded:
            # Each time one, and for distilled one for each part of these parts, on all of them but that one.
            sets = self._teacher.num_sets
            count, passes = folds * (1 + folds) * sets, folds * (1 + (folds - 1)) * sets
            trials = Trials(count, passes, smallest=(folds - 1) / folds)
            # Those answer the parts that the first has learned.
            answered = replace(part, num_others=folds * self.examples.num_train)
            what = f"to choose a method, teachers on {self._but_one}"
            yield self._work("student", what, self._teacher, trials, examples=answered, kind=COMPARED_TEACHERS)
        # Agora's first round is that of plain, which trains no more but for the last.
        plain, *others = (self._by(method, part) for method in self._compared)
        trials = Trials(
            folds * sum(each.count for each in others),
            folds * sum(each.passes for each in others),
            folds * tuple(last for each in (plain, *others) for last in each.lasts),
        )
        answered = replace(part, num_others=len(self._compared) * self.examples.num_train)
        *names, last = self._compared
        what = f"to choose a method, trials of {', '.join(names)} and {last} on {self._but_one}"
        asked = self._points_asked(part, folds)
        yield self._work("student", what, self._student, trials, examples=answered, asked=asked, kind=COMPARED)

    @property
    def _but_one(self) -> str:
        return f"{self.finetune.num_folds - 1} of {self.finetune.num_folds} parts of train"


def _dev_share(examples: Examples) -> float:
    return examples.num_dev / examples.num_train


def _without_fold(examples: Examples, num_folds: int) -> Examples:
    """All parts of train but one, which is answered in its turn; of all turns together the whole of train."""
    rest = examples.num_train * (num_folds - 1) // num_folds
    return replace(examples, num_train=rest, num_others=examples.num_train)
