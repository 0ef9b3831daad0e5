"""The page of the benchmark of a real encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.page import FOLDER, Figure, Part, interval_text, table, write_page
from benchmarks.real.arms import CUT, DISTILLED, ENCODER, EXTRACTED, RANDOM, STARTS
from benchmarks.real.setting import DISTILLATION_TOKENS, MAX_TOKENS, TASK_TOKENS, Setting
from benchmarks.real.shares import LEAST_LEAD, LEVEL, NUM_RESAMPLES, KeptShare, Score, is_counted, kept_share
from bort_kedro.evaluation.floors import floors_among
from bort_kedro.exports.runtimes import RUNTIMES
from bort_kedro.reporting.markdown import MISSING, bullets, duration, large, number, percent, times

if TYPE_CHECKING:
    from benchmarks.real.arms import Arm
    from benchmarks.real.runtimes import TimedExport
    from benchmarks.real.selection import Selected
    from benchmarks.real.students import Distilled
    from bort_kedro.finetuning.data import TaskData

CONSTANT = "constant"
# A difference counts beyond so many of its standard errors.
SURE = 2.0


@dataclass(frozen=True)
class Found:
    """All that was measured.

    Args:
        encoder: Name of its folder and what is in it, in words.
        corpus: Its documents and tokens, in words.
        setting: What was spent.
        arms: In the order of the tables.
        selected: By cap.
        distilled: By cap.
        tasks: By name.
        faults: Of tasks that were left out, by name.
        scores: By task, then by arm or floor; of an export under ``<arm>/<runtime>``.
        runtimes: By arm and runtime.
        seconds: By part.
    """

    encoder: str
    corpus: str
    setting: Setting
    arms: Sequence[Arm]
    selected: Mapping[str, Selected]
    distilled: Mapping[str, Distilled]
    tasks: Mapping[str, TaskData]
    faults: Mapping[str, str]
    scores: Mapping[str, Mapping[str, Score]]
    runtimes: Mapping[tuple[str, str], TimedExport]
    seconds: Mapping[str, float]

    @property
    def titles(self) -> dict[str, str]:
        """Of all that is scored, by name."""
        floors = {name: floor.title for name, floor in floors_among(self.scores.values()).items()}
        return {arm.name: arm.title for arm in self.arms} | floors

    @property
    def counted(self) -> dict[str, Mapping[str, Score]]:
        """Scores of the tasks in which the encoder is far enough ahead of the constant answer."""
        return {task: of for task, of in self.scores.items() if is_counted(of[ENCODER], of[CONSTANT])}

    def kept(self, name: str) -> KeptShare | None:
        """What an arm keeps of the encoder's lead, over the tasks that count."""
        return kept_share(*([of[each] for of in self.counted.values()] for each in (name, ENCODER, CONSTANT)))

    def metric(self, task: str) -> str:
        """In words."""
        return self.tasks[task].task.metrics[0].replace("_", " ")


def leads_part(found: Found) -> Part:
    """What each arm keeps of the encoder's lead over the constant answer."""
    counted = found.counted
    ahead = f"more than {LEAST_LEAD:.0f} standard errors ahead of the constant answer"
    if not counted:
        text = f"On no task is the encoder {ahead}."
        return Part("What is kept of the encoder's lead", text, [Figure("tasks that count", 0, "tasks")])
    rows, figures = [], [Figure("tasks that count", len(counted), "tasks")]
    for name, title in found.titles.items():
        share = found.kept(name)
        if share is None or name in (ENCODER, CONSTANT):
            continue
        own = [percent(_lead_share(of, name)) for of in counted.values()]
        rows.append([title, percent(share.value), interval_text(100 * share.low, 100 * share.high), *own])
        figures += [
            Figure(f"{name}: mean share of the lead", share.value, "share"),
            Figure(f"{name}: mean share of the lead, lower end", share.low, "share"),
            Figure(f"{name}: mean share of the lead, upper end", share.high, "share"),
        ]
    tasks = [found.tasks[task].task.title for task in counted]
    text = f"""On {len(counted)} of {len(found.tasks)} tasks the encoder is {ahead}. Over these:

{table(["Arm", "Mean share of the lead", f"{LEVEL:.0%} interval", *tasks], rows)}

The interval is that of {NUM_RESAMPLES} resamples of these tasks and of the examples of each; those drawn are the same
for arm, encoder and constant answer. Of few tasks it is wide, and other seeds are not in it.

{bullets(_verdicts(found))}"""
    return Part("What is kept of the encoder's lead", text, figures)


def _verdicts(found: Found) -> list[str]:
    """The distilled student against the others of its cap, task by task."""
    sentences = []
    for cap in found.selected:
        for other in (EXTRACTED, CUT, RANDOM):
            of_tasks = found.counted.items()
            leads = {task: of[f"{cap} {DISTILLED}"].lead_over(of[f"{cap} {other}"]) for task, of in of_tasks}
            ahead = [task for task, lead in leads.items() if lead.value > SURE * lead.standard_error]
            behind = [task for task, lead in leads.items() if -lead.value > SURE * lead.standard_error]
            sentences.append(
                f"{cap}: the distilled student is ahead of `{STARTS[other]}` by more than two standard errors on "
                f"{_listed(ahead)} and behind on {_listed(behind)} of these tasks."
            )
    return sentences


def students_part(found: Found) -> Part:
    """What was fine-tuned, and where the students come from."""
    operations = {arm.name: arm.operations(MAX_TOKENS) for arm in found.arms}
    shares = {name: count / operations[ENCODER] for name, count in operations.items()}
    rows = [[arm.title, str(arm.shape), large(operations[arm.name]), percent(shares[arm.name])] for arm in found.arms]
    searched = [
        f"{cap}: at most {percent(found.setting.caps[cap])} of the operations. Of {each.num_allowed} shapes that are "
        f"allowed the {each.num_candidates} costliest were candidates, and {each.num_trained} of these were trained, "
        f"{found.setting.search_steps} steps each. {each.shape} came nearest to the encoder: "
        f"{number(each.distance, 4)} nats lie between their relations on held-out text, {number(each.runner_up, 4)} "
        "between those of the next best."
        for cap, each in found.selected.items()
    ]
    taught = [
        f"{cap}: {found.setting.distillation_steps} steps of {DISTILLATION_TOKENS} tokens, {large(each.num_tokens)} "
        f"tokens in all, {duration(each.seconds)}. Before, {number(each.before, 4)} nats lay between its relations and "
        f"the encoder's on held-out text, and {number(each.after, 4)} after."
        for cap, each in found.distilled.items()
    ]
    text = f"""The encoder is {found.encoder}.

{table(["Arm", "(D, A, H, I)", f"Operations at {MAX_TOKENS} tokens", "Of the encoder's"], rows)}

The search:

{bullets(searched)}

The distillation, on {found.corpus}, teaches relations of the attention and hidden states; no token is hidden and none
predicted:

{bullets(taught)}"""
    figures = [Figure(f"{name}: operations of the encoder's", share, "share") for name, share in shares.items()]
    return Part("Encoder and students", text, figures)


def scores_part(found: Found) -> Part:
    """Every arm on every task."""
    header = ["Arm", *(f"{data.task.title}, {found.metric(name)}" for name, data in found.tasks.items())]
    of_tasks = found.scores.values()
    rows = [[title, *(_cell(of[name]) for of in of_tasks)] for name, title in found.titles.items()]
    shares = [
        [title, *(percent(_ratio(of[name], of[ENCODER])) for of in of_tasks)]
        for name, title in found.titles.items()
        if name != ENCODER
    ]
    sizes = [
        f"{data.task.title}: {len(data.units['train'])} to learn from, {len(data.units['dev'])} to choose by, "
        f"{len(data.units['test'])} scored"
        for data in found.tasks.values()
    ]
    left = f"Left out, as files are missing: {', '.join(found.faults)}." if found.faults else ""
    text = f"""Scores times 100 and their standard errors over the scored examples; {len(found.setting.seeds)} seed(s):

{table(header, rows)}

The share of the encoder's score:

{table(header, shares)}

The official dev is scored, or the official test where that has labels; what chooses among the passes is then drawn of
train. Examples, those that are answered together counted as one:

{bullets(sizes)}

{left}"""
    figures = [
        figure
        for task, scores in found.scores.items()
        for name, score in scores.items()
        for figure in (
            Figure(f"{task}, {name}: score", score.value, found.metric(task)),
            Figure(f"{task}, {name}: standard error", score.standard_error, found.metric(task)),
        )
    ]
    return Part("Scores", text.rstrip(), figures)


def runtimes_part(found: Found) -> Part:
    """Speed, size and what the runtime does to the scores."""
    rows, figures = [], []
    slowest = found.runtimes[ENCODER, "onnx"].latency.median_ms
    for (arm, runtime), timed in found.runtimes.items():
        latency, name = timed.latency, f"{arm}, {runtime}"
        key = f"{arm}/{runtime}"
        changes = [of[key].lead_over(of[arm]).value if key in of else None for of in found.scores.values()]
        rows.append(
            [
                found.titles[arm],
                RUNTIMES[runtime].title,
                number(timed.bytes / 1e6, 1),
                number(latency.median_ms, 1),
                interval_text(latency.interval_low_ms, latency.interval_high_ms),
                times(slowest / latency.median_ms),
                *(MISSING if change is None else f"{100 * change:+.1f}" for change in changes),
            ]
        )
        figures += [
            Figure(f"{name}: latency", latency.median_ms, "ms"),
            Figure(f"{name}: file", timed.bytes, "bytes"),
            Figure(f"{name}: speed-up over the encoder in fp32", slowest / latency.median_ms, "x"),
        ]
    tasks = [data.task.title for data in found.tasks.values()]
    header = ["Arm", "Runtime", "MB", "Median ms", f"{LEVEL:.0%} interval", "Speed-up", *tasks]
    text = f"""One sequence of {MAX_TOKENS} tokens with a classifier's head, one thread, all in interleaved rounds; the
speed-up is that over the encoder in fp32. Under a task stands by how many points int8 changes the score:

{table(header, rows)}"""
    return Part("Runtimes", text, figures)


def method_part(found: Found) -> Part:
    """How it was done, and what it leaves open."""
    setting = found.setting
    fewest, most = setting.passes
    notes = [
        f"Every arm is fine-tuned alike, plainly: {fewest} to {most} passes over the examples, as many as come nearest "
        f"to {large(setting.tokens_seen)} tokens, in batches of {TASK_TOKENS}, learning rate {_rates(setting)}, inputs "
        f"of at most {MAX_TOKENS} tokens. The pass that is best on dev is kept.",
        "A classifier reads the first token through a dense layer and tanh, as BERT's pooler does. The encoder and its "
        "first layers bring their own where its files have one; that of the others is drawn. The others do not tell "
        "the two texts of a pair apart by types of tokens either.",
        "Constant answer: the best there is for the scored examples. TF-IDF: a logistic regression over words and "
        "pairs of words, fitted to the same examples.",
        *(f"{part}: {duration(seconds)}." for part, seconds in found.seconds.items()),
    ]
    figures = [Figure(f"time: {part}", seconds, "s") for part, seconds in found.seconds.items()]
    return Part("How it was measured", bullets(notes), figures)


def _rates(setting: Setting) -> str:
    rates = ", ".join(f"{rate:g}" for rate in setting.learning_rates)
    return rates if len(setting.learning_rates) == 1 else f"out of {rates} by dev"


def _cell(score: Score) -> str:
    return f"{100 * score.value:.1f} ± {100 * score.standard_error:.1f}"


def _ratio(score: Score, other: Score) -> float:
    return score.value / other.value if other.value > 0 else float("nan")


def _lead_share(scores: Mapping[str, Score], name: str) -> float:
    constant = scores[CONSTANT]
    return scores[name].lead_over(constant).value / scores[ENCODER].lead_over(constant).value


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def write(found: Found, *, command: str, folder: Path = FOLDER) -> None:
    """Write the page with its figures."""
    conditions: dict[str, Any] = {
        "encoder": found.encoder,
        "setting": found.setting.conditions(),
        "shapes": {arm.name: arm.shape.to_row() for arm in found.arms},
    }
    write_page(
        "real",
        "A student of a real encoder",
        [leads_part(found), students_part(found), scores_part(found), runtimes_part(found), method_part(found)],
        conditions,
        command=command,
        setting="one thread a training",
        packages=("torch", "transformers", "tokenizers", "scikit-learn", "onnxruntime"),
        folder=folder,
    )
