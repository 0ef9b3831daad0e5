"""A report as one HTML file that asks nobody for anything: style, text, tables and plots are all inside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #57606a; --line: #d8dee4; --shade: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --faint: #8d96a0; --line: #30363d; --shade: #161b22; }
  .plot { background: #fff; border-radius: 6px; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.6 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; }
h2 { margin-top: 2.6rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .9rem; }
a { color: inherit; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { background: var(--shade); font-weight: 600; }
code { background: var(--shade); padding: .1em .3em; border-radius: 4px; font-size: .9em; }
td[style*="right"] { white-space: nowrap; }
.plot { margin: 1.2rem 0; overflow-x: auto; }
footer { margin-top: 3rem; color: var(--faint); font-size: .85rem; }
"""


def html_page(markdown: str, plots: Mapping[str, str], *, script: str, footer: str) -> str:
    """One HTML file of a Markdown report.

    Args:
        markdown: Starts with a heading of the first rank; its sections have headings of the second.
        plots: HTML of plots by the address of the image in whose place they come.
        script: JavaScript that the plots need, put in once; "" where there are none.
        footer: Text of the last line.

    Raises:
        ValueError: If a plot is given for an image that the report does not have, or an image has no plot.
    """
    from markdown_it import MarkdownIt

    body = _with_plots(MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown), plots)
    pieces = re.split(r"(?=<h2>)", body)
    titles = [_title(piece) for piece in pieces[1:]]
    links = "".join(f'<a href="#{_anchor(title)}">{escape(title, quote=False)}</a>' for title in titles)
    sections = [pieces[0], f"<nav>{links}</nav>"]
    for title, piece in zip(titles, pieces[1:], strict=True):
        sections.append(piece.replace("<h2>", f'<h2 id="{_anchor(title)}">', 1))
    text = "\n".join(sections).replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    heading = re.search(r"<h1>(.*?)</h1>", body, re.DOTALL)
    name = re.sub(r"<[^>]+>", "", heading.group(1)) if heading else "Report"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{STYLE}</style>\n"
        + (f"<script>{script}</script>\n" if script else "")
        + f"</head>\n<body>\n<main>\n{text}\n<footer>{escape(footer)}</footer>\n</main>\n</body>\n</html>\n"
    )


def _with_plots(body: str, plots: Mapping[str, str]) -> str:
    """Plots in the place of the images, each of which is a paragraph of its own."""
    images = re.findall(r'<p><img src="([^"]*)"[^>]*></p>', body)
    if set(images) != set(plots):
        raise ValueError(f"plots are given for the images {sorted(plots)}, the report has {sorted(images)}")
    return re.sub(
        r'<p><img src="([^"]*)"[^>]*></p>', lambda image: f'<div class="plot">{plots[image.group(1)]}</div>', body
    )


def _title(piece: str) -> str:
    from html import unescape

    return unescape(re.sub(r"<[^>]+>", "", piece[: piece.index("</h2>")])).strip()


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
