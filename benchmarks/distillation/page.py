"""The page of the distillation experiment; which sentences stand on it is decided by the figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.distillation.corpora import MIN_COUNT, VOCABULARY_SIZE
from benchmarks.distillation.figures import figures_of
from benchmarks.distillation.findings import SAME_STEPS, SCHEDULES, Findings, accuracy, seeds_error
from benchmarks.distillation.trainings import (
    ARMS,
    CACHE_EPOCHS,
    CACHED,
    LIVE,
    PROBE_ROUNDS,
    PROBE_STEPS,
    SEEDS,
    SHAPE,
    TEACHER_SHAPE,
    TRIMMED,
    UNTAUGHT,
)
from benchmarks.distillation.words import PAIRS, comparison, failures, hundredths, limits, scales
from benchmarks.page import Part, table
from bort_kedro.pretraining.teacher_targets import bytes_per_position
from bort_kedro.reporting.markdown import MISSING, bullets, large, number


def parts_of(found: Sequence[Findings], *, num_steps: int, teacher_steps: int) -> list[Part]:
    """All below the opening line; the first has the figures."""
    figures = [figure for findings in found for figure in figures_of(findings)]
    return [
        Part("", _question(found[0], num_steps, teacher_steps), figures),
        Part("", _corpora(found, num_steps)),
        *(Part(schedule.capitalize(), _results(found, schedule, num_steps)) for schedule in SCHEDULES),
        Part(
            "Who is better than whom",
            "Percentage points of masked accuracy with their standard error, that over "
            "the seeds and that over the test blocks together; a difference counts beyond twice that.\n\n"
            + bullets(comparison(found, own, other) for own, other in PAIRS),
        ),
        Part("What failed or did not help", bullets(failures(found, num_steps))),
        Part("What a cache keeps and takes", _caches(found)),
        Part("What trimming saves and costs", _trimming(found)),
        Part("The scale of the losses", scales(found)),
        Part("Limits", bullets(limits(found))),
    ]


def _question(found: Findings, num_steps: int, teacher_steps: int) -> str:
    student = found.experiment.parameters.pretrain_distill.student
    weights = found.experiment.parameters.pretrain_distill.distillation
    return (
        f"Does a student learn more under a teacher? Students of the shape {SHAPE}, {len(SEEDS)} seeds each (initial "
        f"weights, order and masks), trained with the settings of `conf/base` for {num_steps} steps of "
        f"{student.batch_tokens} tokens, {100 * student.masked_share:.0f} % of them hidden. With a teacher the loss is "
        f"{weights.masked_lm_weight:g} "
        f"of the cross-entropy and {weights.logits.weight:g} of T² times the divergence from the teacher at T = "
        f"{weights.logits.temperature:g}, as published with Bort; without, the cross-entropy. The teacher has the "
        f"shape {TEACHER_SHAPE} and took {teacher_steps} steps on the same text from random weights; its own training "
        "is counted nowhere. A cache keeps the teacher's likeliest tokens and the mass of the others as one; its masks "
        f"repeat after {CACHE_EPOCHS} pass over the text, those of the other arms never. One tokenizer of "
        f"{VOCABULARY_SIZE} ids was trained on the training splits of both corpora; the trimmed vocabulary keeps the "
        f"ids that the one corpus' training split uses at least {MIN_COUNT} times, and what its tokenizer needs to "
        "spell the rest. Masked accuracy is the share of hidden tokens guessed right on the test split, one set of "
        "masks for all."
    )


def _corpora(found: Sequence[Findings], num_steps: int) -> str:
    rows = []
    for each in found:
        corpus, splits = each.experiment.corpus, each.experiment.whole.tokens.summary()
        characters = int(corpus.documents["text"].str.len().sum())
        batch_tokens = each.experiment.parameters.pretrain_distill.student.batch_tokens
        rows.append(
            [
                corpus.name,
                f"{large(characters)} of {large(corpus.read_characters)}",
                f"{len(corpus.documents):,}",
                f"{splits['train']['tokens']:,}",
                f"{num_steps * batch_tokens / splits['train']['tokens']:.1f}",
                f"{splits['test']['tokens']:,}",
                f"{each.experiment.teacher_score.num_predicted:,}",
            ]
        )
    header = ["corpus", "characters", "documents", "train tokens", "passes at most", "test tokens", "hidden of them"]
    return (
        f"{table(header, rows)}\n\nWhole documents were drawn with a fixed seed until there were enough characters. "
        "The splits are those of `conf/base`; documents for built-in tasks, of which none is made here, join the test "
        "split."
    )


def _results(found: Sequence[Findings], schedule: str, num_steps: int) -> str:
    text = (
        "Every student takes the same number of steps. Seconds are means of the trainings, the filling of a cache "
        "included. Errors after ± are over the seeds, those in the columns beside over the test blocks. Leads are "
        "paired by seed and position; the trimmed vocabulary has test tokens of its own, so its error over blocks is "
        "that of two independent means."
        if schedule == SAME_STEPS
        else f"Every student is trained anew with a schedule of as many steps as fit in the time that {num_steps} take "
        f"under the live teacher. Step times are medians over {PROBE_ROUNDS} rounds in which the arms took turns, "
        f"{PROBE_STEPS} steps each; the time to fill a cache is taken off first. So what is equal is steps times the "
        "time of a step, not the clock: the trainings ran one after another, and beside their seconds stands "
        "what multiple of the live teacher's they took in the end."
    )
    tables = [f"**{each.experiment.corpus.name}**\n\n{_results_of(each, schedule)}" for each in found]
    return "\n\n".join([text, *tables])


def _results_of(found: Findings, schedule: str) -> str:
    rows = []
    for arm in ARMS:
        outcomes = found.outcomes[schedule].get(arm.name)
        if outcomes is None:
            rows.append([arm.name, "0", *[MISSING] * 7])
            continue
        own, losses = accuracy(outcomes), [outcome.score.loss for outcome in outcomes]
        ahead = None if arm == UNTAUGHT else found.lead(schedule, arm, UNTAUGHT)
        rows.append(
            [
                arm.name,
                f"{outcomes[0].num_steps:,}",
                number(found.seconds(schedule, arm), 0),
                f"{found.seconds(schedule, arm) / found.seconds(schedule, LIVE):.2f}x",
                hundredths(own.value, own.seeds_error),
                number(100 * own.blocks_error, 2),
                MISSING if ahead is None else hundredths(ahead.value, ahead.seeds_error, sign="+"),
                MISSING if ahead is None else number(100 * ahead.blocks_error, 2),
                f"{np.mean(losses):.3f} ± {seeds_error(losses):.3f}",
            ]
        )
    teacher, result = found.experiment.teacher_score, found.experiment.teacher_result
    last = [f"{result.history[-1]['step']:,}", number(result.seconds, 0), MISSING, f"{100 * teacher.accuracy:.2f}"]
    rows.append(
        [
            "the teacher",
            *last,
            number(100 * teacher.accuracy_standard_error, 2),
            MISSING,
            MISSING,
            f"{teacher.loss:.3f}",
        ]
    )
    header = [
        "training",
        "steps",
        "seconds",
        "of the live teacher's",
        "masked accuracy, %",
        "blocks",
        "lead over no teacher",
        "blocks",
        "loss, nats",
    ]
    return table(header, rows)


def _caches(found: Sequence[Findings]) -> str:
    rows = []
    for each in found:
        steps = each.probe.step_seconds
        for arm in CACHED:
            error, filling = each.cache_errors[arm.name], each.probe.filling_seconds[arm.name]
            saved = steps[LIVE.name] - steps[arm.name]
            rows.append(
                [
                    f"{each.experiment.corpus.name}, {arm.name}",
                    f"{each.probe.cache_bytes[arm.name] / 1e6:.1f} MB",
                    str(bytes_per_position(arm.top_k, each.experiment.whole.tokens.vocabulary.size)),
                    number(filling, 1),
                    number(1000 * steps[arm.name], 1),
                    number(1000 * steps[LIVE.name], 1),
                    f"{filling / saved:,.0f}" if saved > 0 else "never",
                    f"{error.divergence:.4f}",
                    f"{error.divergence_with_cache:.4f}",
                    f"{100 * error.relative_error:.2f} %",
                ]
            )
    header = ["cache", "size", "bytes a position", "filling, s", "step, ms", "live step, ms", "pays back after, steps"]
    header += ["divergence", "of what is kept", "lost"]
    return (
        f"{table(header, rows)}\n\nA cache is of one pass and one seed, since masks are part of it. Divergences are T² "
        "KL(teacher || student) in nats, over validation batches, of a student that the live teacher trained: over the "
        "whole vocabulary, and over what is kept of the teacher in half precision. Merging the other tokens into one "
        "can only lose divergence, never add any."
    )


def _trimming(found: Sequence[Findings]) -> str:
    rows = []
    for each in found:
        trimming, held_out = each.trimming, each.experiment.trimming["held_out"]
        parameters = each.outcomes[SAME_STEPS][LIVE.name][0].student.model.num_parameters()
        saved = trimming.parameters_saved
        rows.append(
            [
                each.experiment.corpus.name,
                f"{trimming.ids_kept:,} of {trimming.ids_kept + trimming.ids_dropped:,}",
                f"{saved:,} of {parameters:,} ({100 * saved / parameters:.0f} %)",
                f"{100 * held_out['share_of_dropped_ids']:.2f} %",
                f"{100 * held_out['growth']:+.2f} %",
                f"{100 * trimming.teacher_mass_on_dropped:.2f} %",
                f"{each.probe.step_ratio[TRIMMED.name]:.2f}x",
            ]
        )
    header = ["corpus", "ids kept", "parameters saved", "test tokens changed", "more test tokens"]
    header += ["teacher's belief on dropped ids", "time of a step"]
    return (
        f"{table(header, rows)}\n\nThe time is against a step of the live teacher with the whole vocabulary. "
        "Accuracies of the trimmed vocabulary are of its own test tokens: where tokens changed, the questions did, and "
        "the hidden positions were drawn anew in the blocks that moved."
    )
