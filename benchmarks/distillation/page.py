"""The page of the distillation experiment; which sentences stand on it is decided by the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.distillation.arms import DEFAULT, LEARNT, PAIRS, TEACHER, Arm
from benchmarks.distillation.corpora import TASK_RATES
from benchmarks.distillation.findings import Estimate, Findings, seeds_error
from benchmarks.distillation.floors import CONSTANT, COUNTED
from benchmarks.distillation.trainings import MASKED, PROBE_ROUNDS, PROBE_STEPS
from benchmarks.page import Figure, Part, table
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.reporting.markdown import MISSING, bullets, large, number, percent


def parts_of(found: Sequence[Findings], arms: Sequence[Arm], shape: BertShape, *, num_steps: int) -> list[Part]:
    """All below the opening line; the first has the figures."""
    figures = [figure for each in found for figure in figures_of(each, arms)]
    return [
        Part("", _question(found[0], shape, num_steps), figures),
        Part("", _corpora(found)),
        Part("Same time", "\n\n".join(_results(each, arms) for each in found)),
        Part("Which arm wins", bullets(sentence for each in found for sentence in winners(each, arms))),
        Part("Who is better than whom", _pairs(found, arms)),
        Part("What a step takes", _steps(found)),
        Part("What came before the students", _before(found)),
        Part("Limits", bullets(_limits(found))),
    ]


def figures_of(found: Findings, arms: Sequence[Arm]) -> list[Figure]:
    """The figures of one corpus, for programs."""
    figures = []
    for arm in arms:
        title, outcomes = f"{found.name}, {arm.name}", found.outcomes[arm.name]
        figures += [
            Figure(f"{title}: steps", outcomes[0].num_steps, "steps"),
            Figure(f"{title}: seconds before the student", found.before.teacher_seconds(arm), "s"),
        ]
        for measure in found.measures:
            own = found.share(arm, measure)
            figures += [
                Figure(f"{title}: {measure}", own.value, "share"),
                Figure(f"{title}: {measure}, standard error over the seeds", own.seeds_error, "share"),
                Figure(f"{title}: {measure}, standard error over the test units", own.units_error, "share"),
            ]
            if arm != DEFAULT:
                ahead = found.lead(arm, DEFAULT, measure)
                figures += [
                    Figure(f"{title}: {measure}, lead over the default", ahead.value, "share"),
                    Figure(f"{title}: {measure}, standard error of that lead", ahead.error, "share"),
                ]
    figures += [
        Figure(f"{found.name}, {floor}: {measure}", share, "share")
        for measure, floors in found.floors.items()
        for floor, share in floors.items()
    ]
    return figures + [
        Figure(f"{found.name}, {name}: a step", 1000 * seconds, "ms") for name, seconds in found.probe.seconds.items()
    ]


def hundredths(value: float, standard_error: float, *, sign: str = "") -> str:
    """A share or a difference of shares in hundredths, with its standard error."""
    return f"{100 * value:{sign}.2f} ± {100 * standard_error:.2f}"


def _question(found: Findings, shape: BertShape, num_steps: int) -> str:
    parameters = found.before.parameters
    student, search = parameters.pretrain_distill.student, parameters.search
    return (
        f"What makes the most of the same time: a teacher beside the student, its layers to begin with, or neither? "
        f"Students of the shape {shape}, {len(found.outcomes[DEFAULT.name])} seeds each, trained with the settings of "
        f"`conf/base` ({student.batch_tokens} tokens a step, {100 * student.masked_share:.0f} % of them hidden) for as "
        f"many steps as fit into the time of {num_steps:,} under the published loss. Step times are medians over "
        f"{PROBE_ROUNDS} rounds in which all losses took turns, {PROBE_STEPS} steps each, so what is equal is steps "
        f"times the time of a step, not the clock. The teacher, {search.stated_maximum()}, is the search's T "
        f"trained for {found.before.steps[TEACHER]} more steps; what is trained before a student has a column of its "
        "own and is part of no arm's time, but where an arm is said to have the time of an encoder: there the student "
        "takes as many more steps as the training of that, which it does without, would have lasted. A candidate start "
        f"continues the short training of the search; “{DEFAULT.name}” is what `make run` does. Masked "
        "accuracy is the share of hidden tokens of the test split guessed, one set of masks for all; the tasks are "
        "the built-in ones, each student fine-tuned plainly "
        f"(learning rate {TASK_RATES[0]:g}, else as in `conf/base`) and scored on their test split."
    )


def _corpora(found: Sequence[Findings]) -> str:
    rows = []
    for each in found:
        corpus, splits = each.before.corpus, each.before.corpus.tokens.summary()
        batch_tokens = each.before.parameters.pretrain_distill.student.batch_tokens
        most = max(outcomes[0].num_steps for outcomes in each.outcomes.values())
        rows.append(
            [
                corpus.name,
                f"{large(corpus.characters)} of {large(corpus.read_characters)}",
                f"{corpus.num_documents:,}",
                f"{splits['train']['tokens']:,}",
                f"{most * batch_tokens / splits['train']['tokens']:.1f}",
                f"{len(each.outcomes[DEFAULT.name][0].is_right[MASKED]):,}",
            ]
        )
    header = ["corpus", "characters", "documents", "train tokens", "passes at most", "hidden test tokens"]
    return f"{table(header, rows)}\n\nWhole documents were drawn with a fixed seed until there were enough characters."


def _results(found: Findings, arms: Sequence[Arm]) -> str:
    rows = []
    for arm in arms:
        outcomes = found.outcomes[arm.name]
        losses = [outcome.loss for outcome in outcomes]
        row = [arm.name, number(found.before.teacher_seconds(arm), 0), f"{outcomes[0].num_steps:,}"]
        for measure in found.measures:
            own = found.share(arm, measure)
            ahead = None if arm == DEFAULT else found.lead(arm, DEFAULT, measure)
            row += [
                hundredths(own.value, own.error),
                MISSING if ahead is None else hundredths(ahead.value, ahead.error, sign="+"),
            ]
        rows.append([*row, f"{np.mean(losses):.3f} ± {seeds_error(losses):.3f}"])
    for floor in (CONSTANT, COUNTED):
        shares = (found.floors[measure][floor] for measure in found.measures)
        cells = (cell for share in shares for cell in (f"{100 * share:.2f}", MISSING))
        rows.append([f"*{floor}*", MISSING, MISSING, *cells, MISSING])
    header = ["training", "before it, s", "steps"]
    for measure in found.measures:
        header += [f"{measure}, %", "lead"]
    return (
        f"**{found.name}**\n\n{table([*header, 'loss, nats'], rows)}\n\nLeads are over “{DEFAULT.name}”, the default, "
        "in percentage points, paired by seed and position. Errors after ± hold the spread of the seeds and that of "
        "the test blocks or examples; those of the loss the seeds alone."
    )


def winners(found: Findings, arms: Sequence[Arm]) -> Iterator[str]:
    """By each measure the best arm, by how much, and who cannot be told from it."""
    for measure in found.measures:
        ranked = sorted(arms, key=lambda arm: -found.share(arm, measure).value)
        best = ranked[0]
        behind = {arm: found.lead(best, arm, measure) for arm in ranked[1:]}
        equal = [f"{arm.name} ({_points(lead)})" for arm, lead in behind.items() if lead.sign == 0]
        beaten = [f"{arm.name} by {_points(lead)}" for arm, lead in behind.items() if lead.sign > 0]
        told = f"ahead of {'; '.join(beaten)}" if beaten else "ahead of none beyond the noise"
        text = f"**{found.name}, {measure}**: {best.name}, {percent(found.share(best, measure).value)}, {told}."
        yield text + (f" Not told apart from it: {'; '.join(equal)}." if equal else "")


def _points(lead: Estimate) -> str:
    return hundredths(abs(lead.value), lead.error)


def _pairs(found: Sequence[Findings], arms: Sequence[Arm]) -> str:
    rows = []
    for own, other in PAIRS:
        if own not in arms or other not in arms:
            continue
        leads = [each.lead(own, other, measure) for each in found for measure in each.measures]
        signs = [lead.sign for lead in leads]
        cells = [
            ("**{}**" if lead.sign else "{}").format(hundredths(lead.value, lead.error, sign="+")) for lead in leads
        ]
        rows.append(
            [f"{own.name}, against {other.name}", *cells, f"{signs.count(1)} of {len(signs)}", str(signs.count(-1))]
        )
    header = ["arm", *(f"{each.name}, {measure}" for each in found for measure in each.measures), "better", "worse"]
    return (
        f"{table(header, rows)}\n\nPercentage points with their standard error; in bold what is beyond twice that, and "
        "counts as better or worse."
    )


def _steps(found: Sequence[Findings]) -> str:
    rows = [
        [f"{each.name}, {name}", number(1000 * each.probe.seconds[name], 1), f"{each.probe.ratio[name]:.2f}x"]
        for each in found
        for name in [*LEARNT, TEACHER]
    ]
    return (
        f"{table(['what is learnt', 'a step, ms', 'of the published loss'], rows)}\n\nThe last of a corpus is a step "
        "of the teacher's own training."
    )


def _before(found: Sequence[Findings]) -> str:
    rows = [
        [
            f"{each.name}, {name}",
            f"{each.before.steps[name]:,}",
            number(each.before.seconds[name], 0),
            percent(each.before.accuracy[name]),
        ]
        for each in found
        for name in each.before.encoders
    ]
    return (
        f"{table(['encoder', 'steps', 'seconds', 'masked accuracy'], rows)}\n\nSeconds are of one training each, "
        "beside another on the same machine, without those of what it begins with."
    )


def _limits(found: Sequence[Findings]) -> Iterator[str]:
    """What the figures do not say."""
    sequence_length = found[0].before.parameters.corpus.sequence_length
    num_seeds = len(found[0].outcomes[DEFAULT.name])
    yield (
        f"Tiny encoders, texts and vocabularies, and sequences of {sequence_length} tokens: nothing here says how "
        "large students fare."
    )
    yield (
        f"{num_seeds} seeds give an error over seeds with {num_seeds - 1} degrees of freedom; twice the error is then "
        "less sure than usual, and differences near it should not be leaned on. Nothing is corrected for the number "
        "of comparisons."
    )
    yield (
        "One T, teacher and candidate for each corpus, of one seed; another teacher may teach better or worse. Arms "
        "that begin alike share that luck."
    )
    yield "Learning rate and clipping are those of `conf/base` in every arm, tuned for none here."
    yield (
        "Same time holds for this machine and these shapes: the larger the teacher beside the student, the more steps "
        "a student without one gets for the time."
    )
