"""The parameters, from the models that check them and the files under ``conf`` that give them values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import yaml

from benchmarks.configured import PROJECT
from bort_kedro.agora.settings import TRANSFORMATIONS
from bort_kedro.configuration import SHARED
from bort_kedro.encoders.shapes import KNOWN_SHAPES
from bort_kedro.exports.formats import FORMATS
from bort_kedro.params import Parameters
from bort_kedro.search.answers import ANSWERS
from bort_kedro.search.measures import MEASURES
from bort_kedro.search.settings import COSTS
from bort_kedro.search.strategies import STRATEGIES
from bort_kedro.tasks.metrics import METRICS
from bort_kedro.tasks.table import TASKS
from reference.markdown import code, page, table

INTRODUCTION = (
    "Every parameter of `conf/base/parameters_*.yml`, with the value there. `kedro run --params "
    "search.budget=12` changes one for a run, a file in `conf/local` for all runs; lists can be changed in files only. "
    "The last column has what the other environments, taken with `--env`, say instead. What trainings share stands "
    "once, under `masked_lm`, `distillation` and `task_training`: a stage's own block takes from there what it does "
    "not state, and may state any of it. `<name>` stands for a name of yours, and `[]` for each member of a list."
)
# Names that a text may be, which are checked against a table of the code.
NAMES: dict[str, Iterable[str]] = {
    "evaluate.export.formats": FORMATS,
    "evaluate.speed.compare_with": KNOWN_SHAPES,
    "finetune.agora.transformation.weights": TRANSFORMATIONS,
    "finetune.own_tasks.<name>.metrics": METRICS,
    "finetune.tasks": TASKS,
    "search.answer": ANSWERS,
    "search.cost": COSTS,
    "search.error_measure": MEASURES,
    "search.latency.runtime": FORMATS,
    "search.strategy": STRATEGIES,
}
BOUNDS = {"exclusiveMinimum": "> {}", "minimum": "≥ {}", "exclusiveMaximum": "< {}", "maximum": "≤ {}"}
Schema = dict[str, Any]


class _Missing:
    """In the place of a value that no file gives."""


MISSING = _Missing()


class Parameter(NamedTuple):
    """A row of the page."""

    name: str
    schema: Schema
    description: str
    default: object


def parameters_page() -> str:
    """Every parameter: type, default, what is allowed, meaning, and where environments differ."""
    header = ["Parameter", "Type", "Default", "Allowed", "Meaning", "Elsewhere"]
    rows = sorted(parameters())
    parts = []
    for block in sorted(Parameters.model_fields):
        within = [row for row in rows if row.name.partition(".")[0] == block]
        parts += [f"## {block}", table(header, map(_cells, within))]
    return page("Parameters", INTRODUCTION, *parts)


def parameters() -> Iterator[Parameter]:
    """Of the models; one that has values in ``conf/base`` at each place, any other once."""
    with_values: list[tuple[str, str, object]] = [("", "", as_written("base"))]
    without: list[tuple[str, str, object]] = []
    given: set[str] = set()
    while with_values or without:
        name, model, values = (with_values or without).pop(0)
        if values is MISSING and model in given:
            continue
        given.add(model)
        for parameter in _fields(name, model, values):
            yield parameter
            for path, inner in _models(parameter.name, parameter.schema):
                value = parameter.default if path == parameter.name else MISSING
                if value is MISSING and _shared(path):
                    value = {}
                is_given = isinstance(value, dict)
                (with_values if is_given else without).append((path, inner, value if is_given else MISSING))


@cache
def _schema() -> Schema:
    """That of all parameters; the blocks that trainings share are of the model of those trainings."""
    whole = Parameters.model_json_schema()
    for shared, (place, *_) in SHARED.items():
        stage, name = place.split(".")
        model = whole["$defs"][whole["properties"][stage]["$ref"].rpartition("/")[2]]
        whole["properties"][shared] |= {"$ref": model["properties"][name]["$ref"], "default": MISSING}
    return whole


@cache
def as_written(environment: str) -> dict[str, Any]:
    """What the files of an environment say, as they say it."""
    files = sorted((PROJECT / "conf" / environment).glob("parameters_*.yml"))
    return {name: value for file in files for name, value in yaml.safe_load(file.read_text("utf-8")).items()}


@cache
def environments() -> tuple[str, ...]:
    """Those beside the base that come with the project."""
    folders = (file.parent.name for file in (PROJECT / "conf").glob("*/parameters_*.yml"))
    return tuple(sorted(set(folders) - {"base", "local"}))


def value_at(values: object, name: str) -> object:
    """What stands at a dotted name."""
    for part in name.split("."):
        values = values.get(part, MISSING) if isinstance(values, dict) else MISSING
    return values


def _fields(name: str, model: str, values: object) -> Iterator[Parameter]:
    definition = _schema()["$defs"][model] if model else _schema()
    told = dict(re.findall(r"(?m)^    (\w+): (.+)$", definition.get("description", "")))
    for field, found in definition["properties"].items():
        path = f"{name}.{field}".removeprefix(".")
        value = value_at(values, field)
        is_said = any(value_at(as_written(each), path) is not MISSING for each in ("base", *environments()))
        if is_said or not _shared(path) or path == _shared(path):
            meaning = found.get("description") or told.get(field) or _of_model(found)
            default = MISSING if _shared(path) else found.get("default", MISSING)
            yield Parameter(path, found, meaning, default if value is MISSING else value)


def _models(name: str, schema: Schema) -> Iterator[tuple[str, str]]:
    """Models inside a parameter, each with the name that its values have before their own."""
    if "$ref" in schema:
        yield name, schema["$ref"].rpartition("/")[2]
        return
    for form in _forms(schema):
        yield from _models(name, form)
    if "items" in schema:
        yield from _models(f"{name}[]", schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _models(f"{name}.<name>", schema["additionalProperties"])


def _forms(schema: Schema) -> list[Schema]:
    return schema.get("anyOf") or schema.get("oneOf") or []


def _of_model(schema: Schema) -> str:
    models = [model for _, model in _models("", schema)]
    return _schema()["$defs"][models[0]].get("description", "").partition("\n")[0] if models else ""


def _shared(name: str) -> str:
    """The block that trainings share, or one that takes from it, in which a parameter is; empty for any other."""
    blocks = [block for shared, takers in SHARED.items() for block in (shared, *takers)]
    return next((block for block in blocks if f"{name}.".startswith(f"{block}.")), "")


def _cells(parameter: Parameter) -> list[str]:
    return [
        code(parameter.name),
        _kind(parameter.schema),
        _default(parameter),
        _allowed(parameter),
        parameter.description.replace("``", "`"),
        "; ".join(_elsewhere(parameter)),
    ]


def _kind(schema: Schema) -> str:
    if "$ref" in schema:
        return "block"
    if forms := _forms(schema):
        return " or ".join(dict.fromkeys(map(_kind, forms)))
    if "items" in schema:
        return f"list of {_kind(schema['items'])}s"
    names = {"string": "text", "object": "map", "boolean": "true or false"}
    return names.get(schema["type"], schema["type"])


def _default(parameter: Parameter) -> str:
    shares = {taker: shared for shared, takers in SHARED.items() for taker in takers}
    if parameter.default is MISSING:
        block = _shared(parameter.name)
        return f"as {code(parameter.name.replace(block, shares[block], 1))}" if block in shares else "must be stated"
    return "" if _is_block(parameter, parameter.default) else _written(parameter.default)


def _is_block(parameter: Parameter, value: object) -> bool:
    """Whether it is told by rows of its own."""
    return isinstance(value, dict) and any(
        path == parameter.name for path, _ in _models(parameter.name, parameter.schema)
    )


def _elsewhere(parameter: Parameter) -> Iterator[str]:
    for environment in environments():
        value = value_at(as_written(environment), parameter.name)
        is_told_below = _is_block(parameter, value) and parameter.default is not None
        if value is not MISSING and value != parameter.default and not is_told_below:
            yield f"{environment}: {_written(value)}"


def _written(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
    return code(text.removesuffix("\n").removesuffix("\n..."))


def _allowed(parameter: Parameter) -> str:
    names = NAMES.get(parameter.name)
    return ", ".join(map(_written, names)) if names else "; ".join(dict.fromkeys(_bounds(parameter.schema)))


def _bounds(schema: Schema) -> Iterator[str]:
    if "enum" in schema:
        yield ", ".join(map(_written, schema["enum"]))
    numbers = [text.format(f"{schema[name]:.10g}") for name, text in BOUNDS.items() if name in schema]
    if numbers:
        yield " and ".join(numbers)
    if "minItems" in schema:
        yield f"at least {schema['minItems']} of them"
    for name in ("items", "propertyNames", "additionalProperties"):
        if isinstance(schema.get(name), dict) and "$ref" not in schema:
            yield from _bounds(schema[name])
    for form in _forms(schema):
        yield from _bounds(form)
