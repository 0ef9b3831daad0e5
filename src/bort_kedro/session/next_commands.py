"""Which three commands make sense after a run, by the last stage that it had."""

from collections.abc import Collection
from typing import NamedTuple

from bort_kedro.session.typed import python, typed_as

MOST = 3
GAP = "  "
# Beyond that, as parameters that were typed can make it, a command has a line of its own length.
LONGEST_ALIGNED = 60
# What a run may have to have made for a command to make sense.
TRAINED_SEARCH, EXPORTS = "trained search", "exports"
VIZ, MLFLOW = "make viz", "make mlflow"


class Next(NamedTuple):
    """A command to go on with.

    Attributes:
        command: As it is typed; ``kedro`` and ``python`` as they are found here, ``run`` and ``plan`` with the
            environment and the parameters of this run.
    """

    command: str
    why: str
    needs: str | None = None


NEXT = {
    "corpus": (
        Next("kedro run --pipelines search", "choose a shape for this text"),
        Next("kedro plan", "what all stages will take"),
        Next(VIZ, "the documents beside the graph"),
    ),
    "tasks": (
        Next("kedro run", "all stages; finished trainings are not repeated"),
        Next("kedro plan", "what they will take"),
        Next(VIZ, "the examples beside the graph"),
    ),
    "search": (
        Next("kedro run --pipelines pretrain_distill", "train the chosen shape for longer", TRAINED_SEARCH),
        Next(VIZ, "all candidates and their plots beside the graph"),
        Next("make notebook", "the same search under other caps, without training"),
        Next("kedro compare", "what changed since the run before"),
    ),
    "pretrain_distill": (
        Next("kedro run --pipelines finetune", "fine-tune the student on the tasks"),
        Next(MLFLOW, "its curve beside those of other runs"),
        Next(VIZ, "tables and plots beside the graph"),
    ),
    "finetune": (
        Next("kedro run --pipelines evaluate", "scores on test, exports, the report"),
        Next(MLFLOW, "every training with its curve"),
        Next(VIZ, "predictions and reports beside the graph"),
    ),
    "evaluate": (
        Next(VIZ, "the report, tables and plots"),
        Next(MLFLOW, "every training with its curve"),
        Next("python -m pydoc bort_kedro.exports.folder.open_export", "how to use an export", EXPORTS),
        Next("kedro compare", "what changed since the run before"),
    ),
}


def next_lines(stages: Collection[str | None], made: Collection[str]) -> list[str]:
    """The commands, and what each is good for, after a run with nodes of these stages; none after a user's own.

    What some commands need, `TRAINED_SEARCH` or `EXPORTS`, must have been made.
    """
    last = [stage for stage in NEXT if stage in stages][-1:]
    found = [each for stage in last for each in NEXT[stage] if each.needs is None or each.needs in made][:MOST]
    commands = [_typed(each.command) for each in found]
    width = max((len(command) for command in commands if len(command) <= LONGEST_ALIGNED), default=0)
    return [
        f"{'Next' if number == 0 else '    '}{GAP}{command.ljust(width)}{GAP}# {each.why}"
        for number, (command, each) in enumerate(zip(commands, found, strict=True))
    ]


def _typed(command: str) -> str:
    program, *words = command.split()
    if program == "python":
        return " ".join([python(), *words])
    return typed_as(*words) if program == "kedro" else command
