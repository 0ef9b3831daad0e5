"""Check all parameters at once, before the first node, and hold those of the session that runs."""

from __future__ import annotations

import hashlib
import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from kedro.config import OmegaConfigLoader
from kedro.utils import find_kedro_project
from pydantic import BaseModel, ValidationError

from bort_kedro.errors import ConfigurationError
from bort_kedro.params import Parameters

_active: list[Parameters] = []


def check_parameters(raw: dict[str, Any]) -> Parameters:
    """Build the typed parameters.

    Raises:
        ConfigurationError: Names every fault at once: the key, the value, what is allowed.
    """
    try:
        return Parameters.model_validate(raw)
    except ValidationError as faults:
        lines = [_explain(fault) for fault in faults.errors(include_url=False)]
        raise ConfigurationError(
            f"{len(lines)} parameter(s) cannot be used:\n"
            + "\n".join(f"  - {line}" for line in lines)
            + "\nChange them in conf/base/parameters_*.yml, in the environment given by --env, or in --params."
        ) from faults


def _explain(fault: Any) -> str:
    path = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _fields_at(fault["loc"][:-1])
        near = get_close_matches(str(fault["loc"][-1]), known, n=1)
        hint = f"Did you mean `{near[0]}`? " if near else ""
        return f"`{path}` is unknown (value {fault['input']!r}). {hint}Allowed here: {', '.join(known)}."
    if fault["type"] == "missing":
        return f"`{path}` is missing."
    message = fault["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(fault["input"], dict) else f" (value {fault['input']!r})"
    return f"`{path}`{shown}: {message}." if path else f"{message}."


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    """Names of the fields of the model at a path."""
    model: Any = Parameters
    for part in location:
        if isinstance(part, int):  # a place in a list, whose members all have one model
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        model = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)


def configuration_hash(parameters: Parameters) -> str:
    """Hash of every parameter value; equal for equal configurations, wherever they were written."""
    text = json.dumps(parameters.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def activate(parameters: Parameters) -> None:
    """Make these the parameters of the session; the registry builds one namespace for each of their tasks."""
    _active[:] = [parameters]


def active_tasks() -> tuple[str, ...]:
    """Tasks of the session's parameters, or of ``conf/base`` where no session has begun."""
    return tuple(_active_value("finetune", "tasks"))


def active_finetuning() -> dict[str, Any]:
    """What the fine-tuning pipeline is built by beside its tasks, likewise."""
    teacher = _active_value("finetune", "teacher")
    return {
        "method": str(_active_value("finetune", "method")),
        "has_rivals": bool(_active_value("finetune", "rivals")),
        "has_own_teacher": (teacher.pretrained if _active else teacher["pretrained"]) is not None,
    }


def active_error_source() -> str:
    """Where the search has its errors from, likewise."""
    return str(_active_value("search", "error_source"))


def active_pretraining() -> dict[str, Any]:
    """What the pretraining pipeline is built by, likewise."""
    return {
        "has_pretrained_teacher": _active_value("pretrain_distill", "pretrained_teacher") is not None,
        "training_data": str(_active_value("pretrain_distill", "training_data")),
    }


def _active_value(stage: str, name: str) -> Any:
    return getattr(getattr(_active[0], stage), name) if _active else _base_parameters()[stage][name]


def _base_parameters() -> dict[str, Any]:
    project = find_kedro_project(Path.cwd()) or Path.cwd()
    loader = OmegaConfigLoader(
        str(project / "conf"),
        base_env="base",
        default_run_env="local",
        merge_strategy={"parameters": "soft"},
    )
    return dict(loader["parameters"])


def active_parameters() -> Parameters:
    """The parameters of the session that runs."""
    return _active[0]
