"""A Markdown report as one file."""

import re

import pytest

from bort_kedro.reporting.html_page import html_page

REPORT = (
    "# Small & fast: (1, 2)\n\nFirst.\n\n## The shape, and why\n\nBecause <b>.\n\n"
    "## Speed\n\n| a | b |\n| :--- | ---: |\n| x | 1 |\n"
)


def test_sections_are_linked_and_plots_come_in_the_place_of_images():
    text = REPORT.replace("Because <b>.", "Because <b>.\n\n![Why (1, 2)](why.svg)")
    page = html_page(text, {"why.svg": "<i>plot</i>"}, script="", footer="Done & said.")
    assert '<nav><a href="#the-shape-and-why">The shape, and why</a><a href="#speed">Speed</a></nav>' in page
    assert '<h2 id="the-shape-and-why">The shape, and why</h2>' in page
    shape, speed = page.split('<h2 id="speed">')
    assert shape.rstrip().endswith('<div class="plot"><i>plot</i></div>')
    assert "plot" not in speed
    assert "<img" not in page
    assert "<footer>Done &amp; said.</footer>" in speed


def test_the_title_is_the_first_heading_and_markup_in_the_text_stays_text():
    page = html_page(REPORT, {}, script="", footer="")
    assert "<title>Small &amp; fast: (1, 2)</title>" in page
    assert "Because &lt;b&gt;." in page


def test_tables_scroll_on_a_narrow_screen():
    assert html_page(REPORT, {}, script="", footer="").count('<div class="scroll"><table>') == 1


def test_the_page_asks_nobody_for_anything():
    page = html_page(REPORT, {}, script="", footer="")
    assert not re.search(r"""(?:src|href)=["'](?!#)|@import|url\(""", page)
    assert "<script" not in page
    assert html_page(REPORT, {}, script="let a = 1", footer="").count("<script>let a = 1</script>") == 1


@pytest.mark.parametrize(
    ("text", "plots", "said"),
    [
        (REPORT, {"cost.svg": "plot"}, "plots are given for the images ['cost.svg'], the report has []"),
        (REPORT + "\n![Why](why.svg)\n", {}, "plots are given for the images [], the report has ['why.svg']"),
    ],
)
def test_images_and_plots_that_do_not_match_are_refused(text, plots, said):
    with pytest.raises(ValueError, match="plots are given") as caught:
        html_page(text, plots, script="", footer="")
    assert str(caught.value) == said
