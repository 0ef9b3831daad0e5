"""The datasets of the project, from the catalog of ``conf/base`` and the pipelines that it may have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import yaml
from kedro.io import CatalogConfigResolver
from kedro.pipeline import Node

from benchmarks.configured import PROJECT, raw_parameters
from bort_kedro.configuration import check_parameters
from bort_kedro.pipeline_registry import build_pipelines
from bort_kedro.pipelines.namespaces import BROUGHT, RESULTS, STAGES, stage_of, without_stage
from reference.markdown import code, page, table

CONF = PROJECT / "conf"
# Parameters that bring nodes or datasets which the default has not.
CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"search": {"error_source": "table"}},
    {"search": {"maximum_point": "an/encoder"}},
    {
        "search": {
            **{"cost": "recorded_latency", "earlier_candidates": "checked"},
            **{"error_measure": "task", "task": "library"},
        },
        "pretrain_distill": {
            "teacher": {"optimization": {"num_steps": 1, "learning_rate": 1.0}},
            "training_data": "stream",
        },
    },
    {
        "finetune": {
            "tasks": ["library", "cola"],
            "student": "an/encoder",
            "teacher": {"encoder": "an/encoder", "recorded": {"cola": {"file": "labels.tsv"}}},
        }
    },
)
INTRODUCTION = (
    "A name in braces is a pattern: it stands for all datasets that fit it and have no entry of their own, `{task}` "
    "for a task of `params:finetune.tasks`. What one stage alone uses is named under it. A versioned dataset is a "
    "folder with a file, or a folder, of its name for each run: `data/04_feature/selected_shape.json/<version>/"
    "selected_shape.json`. Classes are those of `bort_kedro.datasets`; `pandas.CSVDataset` is of kedro-datasets. What "
    "*you* write is there before the first run; some datasets are made or asked for only under other parameters than "
    "those of `conf/base`. To change an entry, put another of its name, or of the pattern's, in "
    "`conf/local/catalog.yml`."
)


def catalog_page() -> str:
    """Every entry and pattern: class, place, who writes and who reads it."""
    entries = _entries("base")
    writers, readers, members = _uses(entries)
    rows = [
        [
            code(name),
            code(entry["type"].removeprefix("bort_kedro.datasets.")),
            code(entry.get("filepath") or entry.get("folder") or ", ".join(entry.get("paths", []))),
            "yes" if entry.get("versioned") else "no",
            _writer(name, writers, readers),
            _stages(readers[name]),
            ", ".join(code(without_stage(each)) for each in sorted(members[name])) if "{name}" in name else "",
        ]
        for name, entry in sorted(entries.items())
    ]
    header = ["Dataset", "Class", "Path", "Versioned", "Written by", "Read by", "Stands for"]
    return page("Catalog", INTRODUCTION, table(header, rows), "## Other environments", *_changed_entries(entries))


def _entries(environment: str) -> dict[str, dict[str, Any]]:
    entries = yaml.safe_load((CONF / environment / "catalog.yml").read_text("utf-8"))
    return {name: entry for name, entry in entries.items() if not name.startswith("_")}


def _changed_entries(entries: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What the catalogs of other environments replace or add."""
    for file in sorted(CONF.glob("*/catalog.yml")):
        if (environment := file.parent.name) not in ("base", "local"):
            changed = sorted(name for name, entry in _entries(environment).items() if entry != entries.get(name))
            yield f"`conf/{environment}` has another {', '.join(map(code, changed))}."


def _uses(entries: dict[str, Any]) -> tuple[dict[str, set[str]], ...]:
    """By entry: stages that write it, stages that read it, and datasets that it stands for."""
    # Without any the resolver warns.
    resolver = CatalogConfigResolver(entries, default_runtime_patterns={"{default}": {}})
    writers, readers, members = (defaultdict[str, set[str]](set) for _ in range(3))
    for node in _nodes():
        for names, users in ((node.outputs, writers), (_read_by(node), readers)):
            for name in names:
                entry = name if name in entries else resolver.match_dataset_pattern(name)
                if entry is not None:
                    users[entry].add(stage_of(node) or "")
                    members[entry].add(name)
    return writers, readers, members


def _read_by(node: Node) -> list[str]:
    """What a node reads: by way of the results of a stage those datasets that they are opened for."""
    opened = [stage for stage, results in RESULTS.items() if node.name.endswith(f".open_{results}_node")]
    if node.name.endswith(".gather_results_node"):
        return []
    return [*node.inputs, *(f"{stage}.{without_stage(name)}" for stage in opened for name in node.outputs)]


def _nodes() -> Iterator[Node]:
    for changes in CHANGES:
        parameters = check_parameters(raw_parameters(**changes))
        pipelines = build_pipelines(parameters)
        yield from sum(pipelines.values(), start=pipelines["__default__"]).nodes


def _writer(name: str, writers: dict[str, set[str]], readers: dict[str, set[str]]) -> str:
    if name in BROUGHT:
        return "you"
    if writers[name]:
        return _stages(writers[name])
    return "whoever reads it" if readers[name] else "every run"


def _stages(names: set[str]) -> str:
    """In the order in which they run."""
    return ", ".join(stage for stage in STAGES if stage in names)
