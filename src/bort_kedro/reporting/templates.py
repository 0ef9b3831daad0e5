"""The fixed sentences of reports and cards, which stand in `templates/`; Python gives them figures and choices."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from bort_kedro.encoders.shapes import shape_text
from bort_kedro.reporting import markdown
from bort_kedro.statistics import is_missing

# Lines that begin so start anew; any other line goes on with the one before it, as Markdown reads it.
STARTS = ("- ", "|", "#", "!", "> ", "```", "---")
# Between two of these, lines stay as they are.
FENCES = ("```", "---")


def render(name: str, **context: object) -> str:
    """A template of `templates/`, by its name without ``.md.jinja``, filled in; its paragraphs and list items, which
    may be broken anywhere, as one line.

    Raises:
        jinja2.UndefinedError: If the template uses a name that was not given.
    """
    return joined(template(f"{name}.md.jinja").render(context))


def template(name: str) -> Template:
    """A file of `templates/`, which is filled in as it stands."""
    return _environment().get_template(name)


def joined(text: str) -> str:
    """Markdown with every paragraph and list item on one line, one empty line between blocks, none at either end."""
    lines: list[str] = []
    is_fenced = False
    for line in text.splitlines():
        goes_on = line.strip() and lines and lines[-1] and not line.startswith(STARTS)
        if not is_fenced and goes_on and not lines[-1].startswith(FENCES):
            lines[-1] += " " + line.strip()
        elif line.strip() or is_fenced or (lines and lines[-1]):
            lines.append(line.rstrip())
        is_fenced ^= line.startswith(FENCES)
    return "\n".join(lines).strip()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bort_kedro.reporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Markdown, which is no HTML, and HTML made of it.
        autoescape=False,  # noqa: S701
    )
    environment.filters |= {
        "cell": lambda text: str(text).replace("|", "\\|"),
        "duration": markdown.duration,
        "large": markdown.large,
        "number": markdown.number,
        "percent": markdown.percent,
        "shape": shape_text,
        "sources": markdown.sources,
        "times": markdown.times,
        "with_noise": markdown.with_noise,
    }
    environment.tests["missing"] = is_missing
    environment.globals |= {"points": markdown.points, "signed_points": markdown.signed_points}
    return environment
