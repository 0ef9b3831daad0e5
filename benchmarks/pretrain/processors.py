"""One page for each kind of processor, and one on which they stand side by side."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from benchmarks.page import processor_title, table
from bort_kedro.datasets.pending import pending
from bort_kedro.device import describe_device
from bort_kedro.reporting.markdown import MISSING, number, percent

PREFIX, COMMAND = "pretrain-on-", "make bench-pretrain"
TITLE = "Pretraining, by processor"


def name_of_processor() -> str:
    """Of this machine's, for file names: its name, and the widest instructions that torch uses on it."""
    capability = torch.backends.cpu.get_cpu_capability()
    words = f"{describe_device()['processor']} {'' if capability == 'DEFAULT' else capability}"
    return re.sub("[^a-z0-9]+", "-", words.lower()).strip("-")


def write_side_by_side(about_cuda: str, folder: Path) -> None:
    """Write ``pretrain.md`` from the figures of all processors that lie in the folder, those with a target first."""
    records = {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(folder.glob(f"{PREFIX}*.json"))}
    columns = [{figure["name"]: figure for figure in record["figures"]} for record in records.values()]
    names = dict.fromkeys(name for figures in columns for name in figures)
    targets = {name: figure["target"] for figures in columns for name, figure in figures.items()}
    header = ["", *(f"[{processor_title(each['about']['device'])}]({name}.md)" for name, each in records.items())]
    rows = [["written", *(record["about"]["date"] for record in records.values())]]
    for name in sorted(names, key=lambda name: targets[name] is None):
        title = name if targets[name] is None else f"{name} (target {targets[name]:g})"
        rows.append([title, *(_cell(figures.get(name)) for figures in columns)])
    text = (
        f"{about_cuda}\n\nEach column is a run of `{COMMAND}` on another processor; its page says how it was measured "
        "and what explains a miss."
    )
    with pending(folder / "pretrain.md") as temporary:
        temporary.write_text(f"# {TITLE}\n\n{text}\n\n{table(header, rows)}\n", "utf-8")


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return MISSING if figure is None or figure["met"] is None else "not run"
    value, unit = figure["value"], figure["unit"]
    text = percent(value) if unit == "share" else f"{number(value, 2)}{'' if unit == 'x' else ' '}{unit}"
    return f"**{text}**, missed" if figure["met"] is False else text
