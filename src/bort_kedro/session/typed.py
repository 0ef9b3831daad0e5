"""The command that began a run, as its user typed it, for what is said of going on from there."""

import shlex
import shutil
import sys
from pathlib import Path

import click

from bort_kedro.datasets.local_disk import seen
from bort_kedro.redaction import redacted

WORDS = "bort_kedro.words"
# Options that say what a run works with, not which nodes it has, and the commands that take them.
OF_ANY_RUN = ("env", "conf_source", "config", "params")
TAKE_THEM = ("run", "plan")


class TypedCommand(click.Command):
    """Keeps its words as they are, of which Kedro hands on the values that it made; takes each option once."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = tuple(args)
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        if repeated := next((each for each in given if given.count(each) > 1), None):
            raise click.ClickException(
                f"`{max(repeated.opts, key=len)}` is given {given.count(repeated)} times, and the last alone would "
                "count. Give it once: --env takes one environment, options with lists take commas, as in --params "
                "a=1,b=2."
            )
        return super().parse_args(ctx, args)


def typed() -> str:
    """The command that runs now, ready to be typed again."""
    ctx = click.get_current_context()
    return redacted(shlex.join([*_program(ctx), *ctx.meta[WORDS]]))


def typed_as(command: str, *words: str) -> str:
    """Another command, such as ``run``, with those of its options that were typed for the one that runs now."""
    ctx = click.get_current_context(silent=True)
    if ctx is None or WORDS not in ctx.meta:
        return shlex.join(["kedro", command, *words])
    given, _, _ = ctx.command.make_parser(ctx).parse_args(list(ctx.meta[WORDS]))
    options = {each.name: max(each.opts, key=len) for each in ctx.command.params}
    alike = OF_ANY_RUN if command in TAKE_THEM else ()
    same = [word for name in alike if name in given for word in (options[name], given[name])]
    program = [*_program(ctx)[:-1], command] if ctx.parent else _program(ctx)
    return redacted(shlex.join([*program, *same, *words]))


def _program(ctx: click.Context) -> list[str]:
    """Such as ``kedro run``; by its path where the shell would not find it, as `make run` has it."""
    path = Path(sys.argv[0])
    command = [ctx.info_name] if ctx.parent and ctx.info_name else []
    if sys.argv[0].startswith("python -m "):  # as Kedro names itself
        return [*sys.argv[0].split(), *command]
    if path.stem == "__main__":
        return ["python", "-m", path.parent.name, *command]
    if shutil.which(path.name):
        return [path.name, *command]
    return [seen(path), *command]


def python() -> str:
    """The interpreter of this run, by its path where the shell would take another one."""
    own, found = Path(sys.executable), shutil.which("python")
    return "python" if found and Path(found).parent == own.parent else shlex.quote(seen(own))
