"""The commands of the project, from what they print with ``--help``."""

from __future__ import annotations

from inspect import cleandoc

import click

from bort_kedro.cli import cli
from reference.markdown import code, page, table

INTRODUCTION = (
    "Each is typed in the folder of the project, or in one below it, and prints the same with `--help`. An installed "
    "package has `bort-kedro` in the place of `kedro`, and `bort-kedro` alone is `bort-kedro run`. Other commands of "
    "`kedro`, such as `kedro viz` and `kedro registry list`, are Kedro's own."
)

AS_IT_IS = "\b\n"


def command_line_page() -> str:
    """Every command with its options."""
    return page("Command line", INTRODUCTION, *(_command(name, cli.commands[name]) for name in sorted(cli.commands)))


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"kedro {name}", terminal_width=120)
    help_text = "\n\n".join(map(_paragraph, cleandoc(click.unstyle(command.help or "")).split("\n\n")))
    usage = command.get_usage(context).removeprefix("Usage: ")
    told = (each.get_help_record(context) for each in command.get_params(context))
    by_name = sorted(filter(None, told), key=lambda option: option[0].rpartition("--")[2])
    options = table(["Option", "What it does"], ([code(names), click.unstyle(meaning)] for names, meaning in by_name))
    return "\n\n".join([f"## kedro {name}", help_text, f"```text\n{usage}\n```", options])


def _paragraph(text: str) -> str:
    """As Markdown; what click is told to leave as it is, by a backspace before it, is typed."""
    return f"```sh\n{text.removeprefix(AS_IT_IS)}\n```" if text.startswith(AS_IT_IS) else text
