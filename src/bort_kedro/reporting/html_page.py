"""A report as one HTML file that asks nobody for anything: style, text, tables and plots are all inside."""

import re
from collections.abc import Mapping
from html import unescape

from bort_kedro.reporting.templates import template


def html_page(markdown: str, plots: Mapping[str, str], *, script: str, footer: str) -> str:
    """One HTML file of a Markdown report, which starts with a heading of the first rank and has sections of the second.

    Plots, HTML by the address of the image in whose place they come, need a script, which is put in once. The footer is
    the last line.

    Raises:
        ValueError: If a plot is given for an image that the report does not have, or an image has no plot.
    """
    from markdown_it import MarkdownIt

    body = _with_plots(MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown), plots)
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    lead, *pieces = re.split(r"(?=<h2>)", body)
    heading = re.search(r"<h1>(.*?)</h1>", body, re.DOTALL)
    return template("page.html.jinja").render(
        name=_plain(heading.group(1)) if heading else "Report",
        script=script,
        lead=lead,
        sections=[_section(piece) for piece in pieces],
        footer=footer,
    )


def _section(piece: str) -> dict[str, str]:
    """A section with its title, and what a link to it is called."""
    title = _plain(piece[: piece.index("</h2>")]).strip()
    anchor = re.sub(r"[^a-z0-9]+", "-", unescape(title).lower()).strip("-")
    return {"title": title, "anchor": anchor, "text": piece.replace("<h2>", f'<h2 id="{anchor}">', 1)}


def _plain(html: str) -> str:
    """Without its tags."""
    return re.sub(r"<[^>]+>", "", html)


def _with_plots(body: str, plots: Mapping[str, str]) -> str:
    """Plots in the place of the images, each of which is a paragraph of its own."""
    images = re.findall(r'<p><img src="([^"]*)"[^>]*></p>', body)
    if set(images) != set(plots):
        raise ValueError(f"plots are given for the images {sorted(plots)}, the report has {sorted(images)}")
    return re.sub(
        r'<p><img src="([^"]*)"[^>]*></p>', lambda image: f'<div class="plot">{plots[image.group(1)]}</div>', body
    )
