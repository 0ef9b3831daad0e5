"""What Kedro-Viz shows of a finished run, in a browser: served by `make viz`, and as the folder of `make viz-site`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import bort_kedro
from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.pipelines.namespaces import STAGES
from chromium import opened
from project_copy import PROJECT
from servers import serving

pytestmark = [pytest.mark.session, pytest.mark.nightly, pytest.mark.browser, pytest.mark.enable_socket]
VIZ = ["-m", "kedro", "viz", "run", "--host", "127.0.0.1", "--port", "{port}", "--no-browser"]
SITE = ["-m", "http.server", "--bind", "127.0.0.1", "--directory", "build/viz", "{port}"]


@pytest.fixture(scope="module")
def project(smoke, tmp_path_factory):
    """A copy, in which the site is written."""
    copied = smoke.copied(tmp_path_factory.mktemp("viewed"))
    words = [sys.executable, PROJECT / "viz_site.py"]
    subprocess.run(words, cwd=copied.root, env=copied.environment, check=True, capture_output=True)
    return copied


@pytest.fixture(scope="module", params=[VIZ, SITE], ids=["viz", "viz-site"])
def address(request, project):
    log = project.root / "viz.log"
    with serving([sys.executable, *request.param], project.root, project.environment, log) as served:
        yield served


@pytest.fixture
def page(browser):
    with opened(browser) as (page, _):
        yield page


def details(page, address, name):
    """What is shown beside the graph of a dataset that is clicked at."""
    page.goto(f"{address}/?pid={name.partition('.')[0]}&sn={name}")
    shown = page.locator(".pipeline-metadata")
    shown.get_by_role("heading", name=name).wait_for()
    return shown


def test_the_graph_opens_with_a_box_for_each_stage(page, address):
    page.goto(address)
    page.locator(".pipeline-node").first.wait_for()
    boxes = page.locator(".pipeline-node--modularPipeline").all_text_contents()
    assert sorted(boxes) == sorted(STAGES)


def test_a_table_is_shown_with_its_columns_and_rows(page, address, project):
    table = pd.read_csv(project.latest("08_reporting/candidate_table.csv"))
    shown = details(page, address, "search.candidate_table")
    shown.locator(".preview-table__data").first.wait_for()
    assert shown.locator("th").all_text_contents() == list(table.columns)
    cells = shown.locator(".preview-table__data").all_text_contents()
    sizes = len(SHAPE_COLUMNS)
    rows = [cells[start : start + sizes] for start in range(0, len(cells), len(table.columns))]
    assert rows == table[list(SHAPE_COLUMNS)].astype(str).to_numpy().tolist()


def test_a_plot_is_drawn(page, address):
    shown = details(page, address, "search.pareto_plot")
    shown.locator(".scatterlayer .trace").first.wait_for()
    assert shown.locator(".xtitle").text_content() == "parameters, logarithmic"
    assert shown.locator(".scatterlayer .points path").count() > 4


def test_the_report_is_shown_as_a_page(page, address, project):
    text = project.latest("08_reporting/report.md").read_text("utf-8")
    shown = details(page, address, "evaluate.report").locator(".html-renderer")
    shown.wait_for()
    title, sections = re.findall(r"(?m)^# (.+)$", text)[0], re.findall(r"(?m)^## (.+)$", text)
    assert shown.inner_text().strip().startswith(title)
    assert [name for name in sections if name not in shown.inner_text()] == []


def test_the_site_has_no_path_of_this_machine(project):
    files = [path for path in (project.root / "build" / "viz").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"index.html", "main", "__default__", "search"}
    paths = [f"{path}/".encode() for path in (project.root, PROJECT, Path(bort_kedro.__file__).parent, Path.home())]
    assert [file for file in files for path in paths if path in file.read_bytes()] == []
    code = {json.loads(file.read_text("utf-8")).get("filepath") for file in files if file.parent.name == "nodes"}
    assert {"src/bort_kedro/pipelines/corpus/nodes.py", "data/08_reporting/report.md"} <= code


def test_the_site_asks_no_other_machine(browser, project):
    with (
        serving([sys.executable, *SITE], project.root, project.environment, project.root / "site.log") as address,
        opened(browser) as (page, elsewhere),
    ):
        page.goto(address)
        page.locator(".pipeline-node").first.wait_for()
    assert elsewhere == set()
