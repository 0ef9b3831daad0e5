"""A Markdown report as one file."""

import re

import pytest

from bort_kedro.core.html_page import html_page

REPORT = (
    "# Small & fast: (1, 2)\n\nFirst.\n\n## The shape, and why\n\nBecause <b>.\n\n"
    "## Speed\n\n| a | b |\n| :--- | ---: |\n| x | 1 |\n"
)


def test_sections_are_linked_and_plots_stand_at_the_end_of_theirs():
    page = html_page(
        REPORT, {"The shape, and why": ["<i>plot 1</i>", "<i>plot 2</i>"]}, script="", footer="Done & said."
    )
    assert '<nav><a href="#the-shape-and-why">The shape, and why</a><a href="#speed">Speed</a></nav>' in page
    assert '<h2 id="the-shape-and-why">The shape, and why</h2>' in page
    shape, speed = page.split('<h2 id="speed">')
    assert shape.rstrip().endswith('<div class="plot"><i>plot 1</i></div><div class="plot"><i>plot 2</i></div>')
    assert "plot" not in speed
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


def test_a_plot_for_a_section_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="plots are given") as caught:
        html_page(REPORT, {"Costs": ["plot"]}, script="", footer="")
    assert (
        str(caught.value)
        == "plots are given for the sections ['Costs'], the report has ['The shape, and why', 'Speed']"
    )
