"""The part of the page that is of real tasks."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.finetune.real import SETTING, SHAPE, RealOutcome
from benchmarks.page import Figure, Part, table
from bort_kedro.evaluation.floors import floors_among
from bort_kedro.reporting.markdown import number, percent, signed_points


def real_part(found: Sequence[RealOutcome], encoder: str) -> Part:
    """Every real task, beside the floors and other methods."""
    floors = floors_among(each.score.floors for each in found)
    others = {"teacher": "Teacher", "plain": "Plainly", "distilled": "Distilled"}
    rows = [
        [
            each.name,
            " / ".join(str(each.report["num_units"].get(split, 0)) for split in ("train", "dev", "test")),
            f"{percent(each.check['score'], each.check['error'])} / {percent(each.check['bar'])}",
            each.report["metrics"][0].replace("_", " "),
            each.report["method"],
            percent(each.score.score.value, each.score.score.standard_error),
            *(percent(each.rivals[other].score) if other in each.rivals else "" for other in others),
            *(percent(each.score.floors[name].score) for name in floors),
        ]
        for each in found
    ]
    header = ["Task", "train / dev / test", "Teacher / its bar (dev)", "Metric", "Method", "Score", *others.values()]
    header += [floor.title for floor in floors.values()]
    ahead = [
        [
            each.name,
            *(
                signed_points(other.lead, other.lead_standard_error) if other else ""
                for other in (
                    *(each.rivals.get(name) for name in ("plain", "distilled")),
                    *(each.score.floors[name] for name in floors),
                )
            ),
        ]
        for each in found
    ]
    leads = table(["Task", "Plainly", "Distilled", *(floor.title for floor in floors.values())], ahead)
    tokens = number(SETTING.tokens_seen / 1000, 0)
    text = f"""`{encoder}` teaches a student of the shape {SHAPE}, which begins with parts of its layers and was not
pretrained further. Both are fine-tuned alike, {tokens} k tokens a training; points change the order and the number of
words alone, since this encoder predicts none. The student learns by Agora where the teacher is over its bar, else
plainly; all end with dev.

{table(header, rows)}

Points that the student is ahead, paired by example:

{leads}

The official dev is scored; dev is drawn of train. Standard errors are those of a jackknife over the scored examples,
one training each. {_at_the_floor(found)}"""
    figures = []
    for each in found:
        metric, score = each.report["metrics"][0], each.score.score
        figures += [
            Figure(f"{each.name}: {metric}, {each.report['method']}", score.value, "share"),
            Figure(f"{each.name}: its standard error", score.standard_error, "share"),
            *(Figure(f"{each.name}: of {other}", rival.score, "share") for other, rival in each.rivals.items()),
            *(
                Figure(f"{each.name}: of {floors[name].words}", floor.score, "share")
                for name, floor in each.score.floors.items()
            ),
        ]
    return Part("Real tasks", text, figures)


def _at_the_floor(found: Sequence[RealOutcome]) -> str:
    """Tasks that are no better than a constant answer, and what they had to learn from."""
    low = [each for each in found if not each.score.floors["constant"].is_beaten]
    if not low:
        return "Every task is above the best constant answer by more than two standard errors."
    rows = ", ".join(f"{each.name} with {each.report['num_units']['train']} examples" for each in low)
    weak = [each.name for each in low if not each.check["is_over"]]
    why = f" The teacher itself is under its bar on {', '.join(weak)}, so there was nothing to hand on." if weak else ""
    return f"Not above the best constant answer by two standard errors: {rows} to learn from.{why}"
