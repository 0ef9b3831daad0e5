"""Parameters and texts with which a whole benchmark takes seconds, and a look at what it wrote."""

import json
import math
import re
from pathlib import Path

from benchmarks.configured import raw_parameters
from benchmarks.texts import embedded_text
from bort_kedro.configuration import check_parameters


def tiny_space_parameters(num_hidden_layers=(1, 2, 3), intermediate_size=(32, 64), num_steps=9):
    """Those of ``conf/bench`` with 24 shapes, two seeds and trainings of nine steps unless told otherwise."""
    space = {
        "num_hidden_layers": list(num_hidden_layers),
        "num_attention_heads": [2, 4],
        "hidden_size": [16, 32],
        "intermediate_size": list(intermediate_size),
    }
    optimization = {"num_steps": num_steps, "checkpoint_every_steps": num_steps}
    maximum = {"num_hidden_layers": 4, "num_attention_heads": 4, "hidden_size": 64, "intermediate_size": 128}
    changes = {
        "space": space,
        "maximum_point": maximum,
        "training": {"optimization": optimization, "batch_tokens": 64},
        "num_seeds": 2,
        "engine": "sequential",
        "num_workers": 1,
    }
    return check_parameters(raw_parameters("bench", search=changes))


def tiny_text(packages=("joblib",)):
    """The documentation of one small package."""
    return embedded_text(packages)


def text_files(folder: Path, packages=("rich",)) -> str:
    """A pattern of files with the documentation of another small package."""
    lines = [json.dumps({"text": text}) for text in tiny_text(packages)["text"]]
    (folder / "texts.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder / "*.jsonl")


def in_this_process(environment, function, *arguments, **keywords):
    """Stands for a process of its own, which would take seconds to start and see nothing of what a test patches."""
    return function(*arguments, **keywords)


def written(folder: Path, name: str, page_file: Path | None = None) -> tuple[str, dict]:
    """A page and its figures by name, each of them a number or None and named once."""
    record = json.loads((folder / f"{name}.json").read_text())
    figures = {each["name"]: each for each in record["figures"]}
    assert len(figures) == len(record["figures"]) > 0
    assert all(each["value"] is None or math.isfinite(each["value"]) for each in figures.values())
    page = (page_file or folder / f"{name}.md").read_text()
    assert page.startswith("# ")
    assert not re.search(r"\bnan\b", page)
    return page, figures
