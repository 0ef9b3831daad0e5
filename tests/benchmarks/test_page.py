"""What every benchmark writes."""

import json
import math

import pytest

from benchmarks.page import Figure, Part, interval_text, table, write_page

SPEED = Figure("speed", 2.0, "x", target=1.5, met=True)


def test_a_page_is_its_parts_and_the_figures_of_all_of_them(tmp_path, capsys):
    parts = [
        Part("", "Words first."),
        Part("Speed", "Twice as fast.", [SPEED]),
        Part("Size", "Unknown.", [Figure("size", None, "MB")]),
    ]
    write_page("toy", "A toy", parts, {"rounds": 3}, packages=["numpy"], setting="one thread", folder=tmp_path)
    heading, opening, *rest = (tmp_path / "toy.md").read_text().rstrip("\n").split("\n\n")
    assert heading == "# A toy"
    assert opening.startswith("Written by `make bench-toy` on ")
    assert opening.endswith(", one thread.")
    assert rest == ["Words first.", "## Speed", "Twice as fast.", "## Size", "Unknown."]
    record = json.loads((tmp_path / "toy.json").read_text())
    assert record["about"]["conditions"] == {"rounds": 3}
    assert record["about"]["versions"].keys() == {"numpy"}
    assert record["figures"] == [
        {"name": "speed", "value": 2.0, "unit": "x", "target": 1.5, "met": True},
        {"name": "size", "value": None, "unit": "MB", "target": None, "met": None},
    ]
    assert capsys.readouterr().out == (tmp_path / "toy.md").read_text() + "\n"


def test_a_page_may_stand_elsewhere_and_bring_files(tmp_path, capsys):
    write_page(
        "toy",
        "A toy",
        [],
        {},
        command="make toy",
        files={"toy.csv": "a,b\n"},
        folder=tmp_path / "figures",
        page_file=tmp_path / "toys.md",
        is_shown=False,
    )
    assert capsys.readouterr().out == ""
    assert "Written by `make toy` on " in (tmp_path / "toys.md").read_text()
    assert (tmp_path / "figures" / "toy.csv").read_text() == "a,b\n"
    assert {file.name for file in (tmp_path / "figures").iterdir()} == {"toy.csv", "toy.json"}


def test_a_figure_that_is_nan_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_page("toy", "A toy", [Part("", "", [Figure("speed", math.nan, "x")])], {}, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cells_say_what_is_met_and_how_wide_an_interval_is():
    assert [Figure("", 1.0, "x", met=met).met_text for met in (True, False, None)] == ["yes", "**no**", "–"]
    assert interval_text(1.0, 2.25, 2) == "1.00 to 2.25"
    assert interval_text(1.0, None) == "–"


def test_a_table_escapes_bars():
    assert table(["a", "b"], [["x|y", "1"]]) == "| a | b |\n| :--- | ---: |\n| x\\|y | 1 |"
