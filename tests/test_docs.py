"""What README.md and the pages of docs/ name is there: files, anchors, commands, parameters, stages."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from pydoc import locate
from urllib.parse import unquote

import click
import pytest
import yaml
from pydantic import BaseModel

from bort_kedro.cli import cli
from bort_kedro.errors import ConfigurationError
from bort_kedro.pipeline_registry import build_pipelines
from bort_kedro.pipelines.namespaces import STAGES
from project_parameters import CONF, parameters

PROJECT = Path(__file__).parent.parent
DOCS = PROJECT / "docs"
README = PROJECT / "README.md"
PAGES = sorted(DOCS.rglob("*.md"))
BASE = parameters()
NODES = build_pipelines(BASE)["__default__"].nodes
DATASETS = {name for node in NODES for name in (*node.inputs, *node.outputs)}
SITE = yaml.safe_load((PROJECT / "mkdocs.yml").read_text("utf-8"))
# A screen of GitHub shows some sixty lines.
MOST_LINES, MOST_BYTES = 180, 11_000
# What Kedro and its plugins add.
NOT_OURS = {"catalog", "jupyter", "mlflow", "package", "pipeline", "registry", "viz"}
# Whose prose tells a reader what to type. Others are of figures and reasons, or written by a test of their own.
INSTRUCTIONS = [README, *DOCS.glob("*.md"), *(DOCS / "how-to").glob("*.md"), *(DOCS / "benchmarks").glob("index.md")]
each_page = pytest.mark.parametrize("page", [README, PROJECT / "CONTRIBUTING.md", *PAGES], ids=lambda page: page.name)
each_instruction = pytest.mark.parametrize("page", INSTRUCTIONS, ids=lambda page: page.name)


def without_code(text):
    return re.sub(r"(?ms)^```.*?^```|`[^`\n]*`", "", text)


def links(page):
    """Relative targets of links and images; code shows none."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8")))
    return [unquote(link) for link in found if not re.match(r"[a-z]+:", link)]


@cache
def anchors(page):
    """Of the headings, as GitHub makes them, and of the marks in the text."""
    text = page.read_text("utf-8")
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", text))
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def typed(page):
    """Commands in shell blocks, continued lines joined, comments left out; and in the text those of make and kedro."""
    text = page.read_text("utf-8")
    lines = [line for block in re.findall(r"(?ms)^```sh\n(.*?)^```", text) for line in joined(block)]
    lines += re.findall(r"`((?:make|kedro|bort-kedro) [^`\n]+)`", text)
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def joined(block):
    return block.replace("\\\n", " ").splitlines()


def in_nav(entries):
    for entry in entries:
        target = entry if isinstance(entry, str) else next(iter(entry.values()))
        yield from in_nav(target) if isinstance(target, list) else [target]


def value_at(block, name):
    """Of a dotted name in the parameters of conf/base.

    Raises:
        LookupError: If there is no such parameter.
    """
    for part in name.split("."):
        fields = type(block).model_fields if isinstance(block, BaseModel) else block
        if not fields or part not in fields:
            raise LookupError(name)
        block = getattr(block, part) if isinstance(block, BaseModel) else block[part]
    return block


@each_page
def test_every_link_leads_to_a_file_and_to_an_anchor_that_is_there(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_docs_stay_in_docs_so_that_a_site_has_them(page):
    assert [link for link in links(page) if not (page.parent / link).resolve().is_relative_to(DOCS)] == []


def test_a_broken_link_and_anchor_would_be_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A *b*, c\n[x](gone.md) `[y](code.md)` ![z](page.md#a-b-c) [w](https://elsewhere)\n", "utf-8")
    assert links(page) == ["gone.md", "page.md#a-b-c"]
    assert anchors(page) == {"a-b-c"}


def test_a_command_that_is_not_there_would_be_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("`make run` and\n```sh\nA=1\nkedro run \\\n  --env smoke  # tiny\n```\n", "utf-8")
    assert typed(page) == [["A=1"], ["kedro", "run", "--env", "smoke"], ["make", "run"]]
    check_kedro(["run", "--pipelines", "search,evaluate", "--params", "search.caps.max_error=1,finetune.method=plain"])
    check_kedro(["viz", "run"])
    for words, fault in {
        "walk": AssertionError,
        "run --pipelines serch": AssertionError,
        "run --env smok": AssertionError,
        "run --budget 3": click.NoSuchOption,
        "run --params search.budget=3,search.bugdet=4": ConfigurationError,
        "run --params search.strategy=surogate": ConfigurationError,
    }.items():
        with pytest.raises(fault):
            check_kedro(words.split())


def test_every_page_stands_in_the_nav_once():
    assert sorted(in_nav(SITE["nav"])) == sorted(path.relative_to(DOCS).as_posix() for path in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_begins_with_its_title(page):
    assert re.match(r"# \S", page.read_text("utf-8"))


def test_the_index_leads_to_every_page_or_to_the_index_of_its_folder():
    reached = {DOCS / "index.md"}
    for index in (DOCS / "index.md", *DOCS.glob("*/index.md")):
        reached |= {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    apart = DOCS / "benchmarks"
    assert {page for page in PAGES if page not in reached and page.parent != apart} == set()


def test_the_readme_has_three_screens():
    text = README.read_text("utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert len(text.encode()) <= MOST_BYTES


def test_the_readme_says_what_was_never_run():
    assert "**Nothing here was ever run on CUDA, for want of a device**" in README.read_text("utf-8")


def test_the_graph_of_the_readme_is_that_of_the_pipelines():
    made = {name: node.namespace.partition(".")[0] for node in NODES for name in node.outputs}
    asked = [(made[name], node.namespace.partition(".")[0]) for node in NODES for name in node.inputs if name in made]
    edges = {(source, target) for source, target in asked if source != target}
    drawing = README.read_text("utf-8").split("```mermaid")[1].split("```")[0]
    assert set(re.findall(r"(?m)^ +(\w+) --(?: [\w ]+ --)?> (\w+)$", drawing)) == edges
    rows = re.findall(r"(?m)^\| `(\w+)` \|", README.read_text("utf-8"))
    assert sorted(rows) == sorted(STAGES)


@each_instruction
def test_commands_are_there_with_the_options_and_parameters_that_they_are_given(page):
    targets = re.search(r"\.PHONY: (.+)", (PROJECT / "Makefile").read_text("utf-8"))[1].split()
    for words in typed(page):
        command = Path(words[0]).name
        if command == "make":
            named = [word for word in words[1:] if "=" not in word and "*" not in word]
            assert set(named) <= set(targets), words
        if command == "kedro":
            check_kedro(words[1:])
        if command == "bort-kedro":
            check_kedro(words[1:] if set(words[1:2]) & {*cli.commands, "--help"} else ["run", *words[1:]])


def check_kedro(words):
    """Hold what follows ``kedro`` to the commands, options, stages, environments and parameters that there are."""
    name, *rest = words
    assert name in {*cli.commands, *NOT_OURS} or name.startswith("--"), words
    if name not in cli.commands:
        return
    given = cli.commands[name].make_context(name, list(rest)).params
    asked = given.get("pipelines") or ()
    assert set(asked) <= {"__default__", *STAGES}, words
    assert (CONF / (given.get("env") or "base")).is_dir(), words
    if changes := given.get("params"):
        parameters(given["env"] or "base", **changes)


@each_instruction
def test_parameters_that_prose_names_are_there(page):
    text = page.read_text("utf-8")
    blocks = "|".join(type(BASE).model_fields)
    for name in re.findall(rf"`((?:{blocks})\.[a-z_.]*[a-z_])(?::[^`]*)?`", text):
        if name not in DATASETS and not name.endswith((".json", ".csv", ".md", ".py")):
            value_at(BASE, name)
    # A table of a block's parameters names it in its header, and those in the first cells.
    for block, table in re.findall(r"(?m)^\| `([a-z_.]+)\.` \|.*\n\| --- .*\n((?:\|.*\n)+)", text):
        cells = [re.sub(r"\(.*\)", "", line.split(" | ")[0]) for line in table.splitlines()]
        for name in (name for cell in cells for name in re.findall(r"`([a-z_.]+)`", cell)):
            value_at(BASE, f"{block}.{name}")


@each_instruction
def test_what_pages_write_into_conf_is_taken(page):
    for block in re.findall(r"(?ms)^```yaml\n(.*?)^```", page.read_text("utf-8")):
        written = yaml.safe_load(block)
        if written.keys() <= type(BASE).model_fields.keys():
            parameters(**written)
        for entry in written.values():
            kind = entry.get("type") if isinstance(entry, dict) else None
            assert kind is None or locate(kind), kind


@pytest.mark.nightly
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    built = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert built >= {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in PAGES}
    shown = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert re.findall(r'src="https?:[^"]*"|<link [^>]*href="https?:[^"]*"', shown) == []
