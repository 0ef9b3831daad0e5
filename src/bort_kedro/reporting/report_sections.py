"""Sections of the report that show and judge results; `report` puts them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bort_kedro.encoders.costs import count_head_operations
from bort_kedro.encoders.shapes import KNOWN_SHAPES, BertShape
from bort_kedro.pretraining.report import PretrainingMetrics
from bort_kedro.reporting.markdown import (
    MISSING,
    bullets,
    large,
    number,
    percent,
    points,
    signed_points,
    table,
    times,
    with_interval,
)
from bort_kedro.reporting.paper_claims import BORT_KEYS, CLAIMS, SEQUENCE_LENGTH, VOCABULARY_SIZE, speed_claim_rows
from bort_kedro.reporting.task_rows import TaskRow
from bort_kedro.statistics import is_above_noise, is_missing

Row = Mapping[str, Any]


def verdict(rival: str, *, difference: float, standard_error: float) -> str:
    """Whether the student beats a rival in masked accuracy, said plainly.

    Args:
        rival: In words.
        difference: Accuracy of the student minus that of the rival.
        standard_error: Of that difference, paired.
    """
    margin = points(difference, standard_error)
    if is_above_noise(difference, standard_error):
        return f"The student **beats** {rival} by {margin} of masked accuracy."
    if is_above_noise(-difference, standard_error):
        return f"The student **did not beat** {rival}: it is {margin} of masked accuracy behind."
    side = "ahead" if difference > 0 else "behind"
    return (
        f"The student **did not beat** {rival}: it is {margin} of masked accuracy {side}, "
        "within two standard errors, so the two cannot be told apart."
    )


def verdicts(metrics: PretrainingMetrics) -> list[str]:
    """Whether the student beats counting, and itself without a teacher."""
    rivals = {
        "the bigram baseline": metrics.student_minus_bigram,
        "the same shape trained without a teacher": metrics.student_minus_undistilled,
    }
    return [
        verdict(rival, difference=lead.difference, standard_error=lead.standard_error) for rival, lead in rivals.items()
    ]


def pretraining_section(metrics: PretrainingMetrics) -> str:
    """The student beside its rivals."""
    encoders = {
        "student, with teacher": metrics.student,
        "same shape, no teacher": metrics.undistilled,
        "teacher": metrics.teacher,
    }
    counting = {"bigram: most frequent follower": metrics.bigram, "unigram: most frequent token": metrics.unigram}
    rows = [
        [
            name,
            percent(score.accuracy, score.accuracy_standard_error),
            number(score.loss, 3),
            number(score.perplexity, 1),
        ]
        for name, score in encoders.items()
    ]
    rows += [[name, percent(score.accuracy), MISSING, MISSING] for name, score in counting.items()]
    return (
        f"{metrics.num_steps:,} steps for the student, with and without the teacher. Scored on the test "
        f"split, {metrics.num_predicted:,} hidden tokens, the same for every row.\n\n"
        f"{table(['Model', 'Masked accuracy', 'Loss, nats', 'Perplexity'], rows)}\n\n"
        f"{bullets([*verdicts(metrics), *teacher_costs(metrics)])}\n\n"
        "Differences are paired token by token; standard errors take blocks as the independent unit, and know nothing "
        f"of the luck of a seed: each model was trained once. {_step_times(metrics)}"
    )


def _step_times(metrics: PretrainingMetrics) -> str:
    """What the teacher cost the student in time, since the comparison is at equal steps."""
    taught, alone = metrics.student.seconds, metrics.undistilled.seconds
    if not taught or not alone:
        return ""
    return (
        f"Both students did the same steps, not the same time: those under the teacher took {times(taught / alone)} as "
        "long."
    )


def teacher_costs(metrics: PretrainingMetrics) -> list[str]:
    """What a cached teacher leaves out and what a trimmed vocabulary saves and costs, where there is either."""
    said = []
    if (cache := metrics.teacher_cache) is not None:
        said.append(
            f"The teacher was cached, its {cache.top_k} likeliest tokens for each hidden one: the divergence that "
            f"the student learned from is {cache.divergence_with_cache:.4f} nats, that over the whole vocabulary "
            f"{cache.divergence:.4f} ({100 * cache.relative_error:.1f} % are left out; validation split)."
        )
    if (trimming := metrics.trimming) is not None:
        said.append(
            f"The vocabulary was trimmed from {trimming.ids_kept + trimming.ids_dropped:,} tokens to "
            f"{trimming.ids_kept:,}, which saves {trimming.parameters_saved:,} parameters; "
            f"{100 * trimming.teacher_mass_on_dropped:.2f} % of the teacher's belief falls on the others."
        )
    return said


def tasks_section(tasks: Sequence[TaskRow]) -> str:
    """Scores of the fine-tuned tasks on their test splits, and what other methods make of the same steps."""
    header = [
        "Task",
        "Method",
        "Metric",
        "Test examples",
        "Score",
        "Constant answer",
        "Advantage, points",
        "Dev score",
        "Truncated",
    ]
    rows = [
        [
            f"`{row.task}`",
            row.method,
            row.metric.replace("_", " "),
            number(row.num_examples, 0),
            score_with_interval(row),
            percent(row.majority_score),
            signed_points(row.advantage, row.advantage_standard_error),
            "" if row.dev_score is None else percent(row.dev_score, row.dev_standard_error),
            percent(row.truncated_share),
        ]
        for row in tasks
    ]
    lost = [f"`{row.task}`" for row in tasks if not row.beats_majority]
    outcome = (
        f"**Did not beat** the best constant answer by more than twice the standard error: {', '.join(lost)}."
        if lost
        else "Every task beats the best constant answer by more than twice the standard error."
    )
    return (
        f"{table(header, rows)}\n\n{outcome}\n\nScored on the test split, which fine-tuning never saw; the "
        "dev split chose among fine-tunings, and Agora learned from texts like those it got wrong there, so the dev "
        "score flatters. The constant answer is the best there is on this test split: its most frequent label, or the "
        "place where most right options stand, the mean of a regression. The advantage over it is paired by example, "
        "and so is its standard "
        f"error (a jackknife). In brackets is the {_level(tasks)}bootstrap interval of a score (`evaluate.bootstrap`)."
        f"\n\n{_what_test_is(tasks)}{_rivals(tasks)}"
    )


def _level(tasks: Sequence[TaskRow]) -> str:
    """Such as ``95 % ``; "" where no score has an interval."""
    levels = (row.interval_level for row in tasks)
    return next((f"{100 * level:g} % " for level in levels if level is not None), "")


def score_with_interval(row: TaskRow) -> str:
    """A score as ``57.2 ± 0.9 % (55.2 to 59.2)``."""
    low, high = (None if end is None else 100 * end for end in (row.interval_low, row.interval_high))
    return with_interval(percent(row.score, row.standard_error), low, high, digits=1)


def median_with_interval(row: Row) -> str:
    """A row of `speed_table` as ``2.00 (1.86 to 4.30)``, in milliseconds."""
    low, high = row.get("interval_low_ms"), row.get("interval_high_ms")
    return with_interval(number(row["median_ms"], 2), low, high, digits=2)


# de Wynter and Perry 2020, arXiv 2010.10499, abstract.
OTHER_CLAIMS = (
    "Claimed as well, and not held against this run: 288 GPU hours of pretraining, 1.2 % of those of RoBERTa-large, "
    "and 0.3 to 31 points above BERT-large on public benchmarks. Both are of another corpus and of a far longer "
    "training; the hours of this run stand above."
)
RIVAL_NAMES = {
    "plain": "labelled examples alone",
    "distilled": "labelled examples with the teacher's beliefs",
    "random_augmentation": "new points of random examples, labelled by the teacher",
}


def _what_test_is(tasks: Sequence[TaskRow]) -> str:
    """Where the test examples of each task come from, rows that could not be read, and points thrown away."""
    lines = []
    for row in tasks:
        said = [f"scored on the {row.test_split.removeprefix('the ')}"]
        if row.other_scores:
            said.append(f"further scores there: {row.other_scores}")
        if row.is_teacher_over is not None:
            weak = "" if row.is_teacher_over else ", so the task was fine-tuned plainly, without Agora"
            said.append(
                f"the teacher scored {percent(row.teacher_score)} on dev and had to be over "
                f"{percent(row.teacher_bar)}{weak}"
            )
        if row.num_rows_skipped:
            said.append(f"{number(row.num_rows_skipped, 0)} malformed rows were skipped")
        if row.num_made:
            said.append(
                f"Agora learned from {number(row.num_kept, 0)} of the {number(row.num_made, 0)} points it made; "
                f"{number(row.num_copies, 0)} were thrown away as near-duplicates of dev or test"
            )
        lines.append(f"`{row.task}`: {'; '.join(said)}.")
    return bullets(lines)


def _rivals(tasks: Sequence[TaskRow]) -> str:
    """How far Agora is ahead of other ways to spend the same steps; empty where none was trained."""
    found = [name for name in RIVAL_NAMES if any(name in row.rivals for row in tasks)]
    held = {row.task: [row.rivals[name] for name in found] for row in tasks if row.rivals}
    rows = [
        [f"`{task}`", *(signed_points(rival.lead, rival.lead_standard_error) for rival in rivals)]
        for task, rivals in held.items()
    ]
    if not rows:
        return ""
    header = ["Task", *(RIVAL_NAMES[name] for name in found)]
    clear = [
        f"`{task}`"
        for task, rivals in held.items()
        if all(is_above_noise(rival.lead, rival.lead_standard_error) for rival in rivals)
    ]
    return (
        "\n\nPoints that Agora is ahead of other ways to spend as many steps, with the same hyperparameters, on the "
        "same test examples:\n\n"
        f"{table(header, rows)}\n\nAhead of all of them by more than twice the standard error: "
        f"{', '.join(clear) or 'none'}. The standard errors cover the test examples, not the seeds."
    )


def chosen_row(speed: Sequence[Row]) -> Row:
    """The row of the chosen shape."""
    return next(row for row in speed if row["is_chosen"])


def speed_section(speed: Sequence[Row]) -> str:
    """Sizes and times of encoders."""
    header = [
        "Encoder",
        "Shape",
        "Parameters",
        "without embeddings",
        "Operations",
        "Median, ms",
        "Quartiles, ms",
        "BERT-base takes, measured",
        "by operations",
        "BERT-large takes, measured",
        "by operations",
    ]
    rows = [
        [
            f"**{row['name']}**" if row["is_chosen"] else row["name"],
            str(BertShape.from_row(row)),
            large(row["parameters"]),
            large(row["parameters_without_embeddings"]),
            large(row["operations"]),
            median_with_interval(row),
            f"{number(row['lower_quartile_ms'], 2)} to {number(row['upper_quartile_ms'], 2)}",
            times(row["measured_vs_bert_base"]),
            times(row["operations_vs_bert_base"]),
            times(row["measured_vs_bert_large"]),
            times(row["operations_vs_bert_large"]),
        ]
        for row in speed
    ]
    return f"{table(header, rows)}\n\n{_speed_conditions(speed)}"


def _speed_conditions(speed: Sequence[Row]) -> str:
    chosen = chosen_row(speed)
    length, vocabulary_size = int(chosen["sequence_length"]), int(chosen["vocabulary_size"])
    head = count_head_operations(BertShape.from_row(chosen), vocabulary_size=vocabulary_size, num_positions=length)
    untimed = [
        KNOWN_SHAPES[key].title for key in ("bert_base", "bert_large") if is_missing(chosen[f"measured_vs_{key}"])
    ]
    note = f" Not timed in this configuration: {', '.join(untimed)}." if untimed else ""
    return (
        f"One forward pass of {chosen['batch_size']} x {length} tokens on this machine, "
        f"{chosen['num_threads']} thread(s), fp32, random weights, **no head**: a masked-LM head over all "
        f"positions would add {times(head.total / chosen['operations'])} the operations of the chosen "
        "shape's layers. Rounds are interleaved, so that a slow spell of the machine falls on all; the "
        "quartiles hold the middle half of the passes, and an interval in brackets the median with 95 % certainty."
        f"{note} Every row is counted and timed with a "
        f"vocabulary of {number(vocabulary_size, 0)} tokens; the table of candidates counts this corpus' "
        "own."
    )


def paper_section(shape: BertShape, speed: Sequence[Row] = ()) -> str:
    """What the paper says, counted for each shape called Bort, and its speeds as measured here where they were.

    Args:
        shape: The chosen one.
        speed: Rows of `speed_table`, those of one condition.
    """
    header = [
        "Bort is",
        "Paper",
        *(f"{KNOWN_SHAPES[key].title} {KNOWN_SHAPES[key].shape}" for key in BORT_KEYS),
    ]
    rows = []
    for claim in CLAIMS:
        counts = {key: _with_unit(f"{claim.count(KNOWN_SHAPES[key].shape):.1f}", claim.unit) for key in BORT_KEYS}
        nearest = claim.nearest()
        counts[nearest] = f"**{counts[nearest]}**"
        rows.append([claim.statement, _with_unit(f"{claim.published:g}", claim.unit), *counts.values()])
    fits = Counter(claim.nearest() for claim in CLAIMS)
    best, count = fits.most_common(1)[0]
    own = [KNOWN_SHAPES[key].title for key in BORT_KEYS if KNOWN_SHAPES[key].shape == shape]
    relation = (
        f"The shape chosen here is one of these: {own[0]}."
        if own
        else f"**None of the paper's figures speaks of the shape chosen here**, {shape}: its sizes and its "
        "speed are those measured above."
    )
    return (
        f"{table(header, rows)}\n\nCounted for a vocabulary of {number(VOCABULARY_SIZE, 0)} and sequences "
        f"of {SEQUENCE_LENGTH}; pooler and masked-LM head are in the parameters, speed is by operations of "
        f"the layers. Bold is nearest to the paper: {count} of {len(CLAIMS)} figures fit "
        f"{KNOWN_SHAPES[best].title} {KNOWN_SHAPES[best].shape} best; the released checkpoint has "
        f"{KNOWN_SHAPES['bort'].shape}. {relation}{_measured_claims(speed)}\n\n{OTHER_CLAIMS}"
    )


def _with_unit(text: str, unit: str) -> str:
    return f"{text}{unit}" if unit == "x" else f"{text} {unit}"


def _measured_claims(speed: Sequence[Row]) -> str:
    """The published speed-ups beside the times of this run; empty where no shape called Bort was timed."""
    claims = [row for row in speed_claim_rows(speed) if not is_missing(row["measured"])]
    if not claims:
        return ""
    rows = [
        [
            row["statement"],
            f"**{row['name']}**" if row["is_nearest"] else row["name"],
            f"{row['published']:g}x",
            times(row["counted"]),
            times(row["measured"]),
        ]
        for row in claims
    ]
    header = ["Bort is", "Shape", "Paper", "by operations", "measured here"]
    return (
        f"\n\n{table(header, rows)}\n\nThe published speeds beside what was measured on this machine, in the same "
        "rounds as the table of speeds above. Bold is the shape whose operations are nearest to the paper."
    )
