"""Check all parameters at once, before the first node, and names of an older version in the catalog."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from copy import deepcopy
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from kedro.config import OmegaConfigLoader
from kedro.io import CatalogProtocol
from kedro.utils import find_kedro_project
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from yaml import MarkedYAMLError, YAMLError

from bort_kedro.datasets.listing import LocalFiles
from bort_kedro.errors import LONGEST_SAID, ConfigurationError, said_by, shortened
from bort_kedro.frozen import JsonObject
from bort_kedro.params import Parameters
from bort_kedro.pipelines.added import added_pipelines

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# Datasets that older versions had under the name after the stage alone, or after the task alone.
RENAMED = {
    "corpus": ("corpus_manifest", "vocabulary_report"),
    "search": (
        *("candidate_shapes", "invalid_shapes", "candidate_costs", "candidate_latency", "modelled_latency"),
        *("latency_check", "latency_calibration", "growth_check", "maximum_point_costs", "maximum_point_size"),
        *("search_space", "maximum_point", "maximum_point_history", "candidate_errors", "candidate_history"),
        *("worker_restarts", "baseline_errors", "w_plot", "error_by_step_plot", "latency_plot", "recorded_counts"),
        *("strategy_comparison", "strategy_plot", "candidate_table", "search_report", "pareto_plot"),
    ),
    "pretrain_distill": (
        *("undistilled_encoder", "teacher_cache", "teacher_history", "student_history", "undistilled_history"),
        *("pretraining_metrics", "pretraining_plot"),
    ),
    "finetune": ("finetuning_teacher",),
    "evaluate": (
        *("task_scores", "leaderboard", "submission_archives", "submission_report", "speed_table", "speed_plot"),
        *("stage_costs", "report", "report_page", "encoder_card"),
    ),
}
RENAMED_OF_TASKS = {
    "tasks": ("examples_report",),
    "finetune": (
        *("teacher_classifier", "teacher_history", "teacher_predictions", "teacher_report"),
        *("history", "predictions", "finetuning_report", "rivals_history", "rival_predictions", "rivals_report"),
    ),
    "evaluate": ("metrics", "model_card", "export", "export_report"),
}

# Parameters of older versions, and what says the same now.
MOVED = {
    "pretrain_distill.pretrained_teacher": "`search.maximum_point`, whose layers the student can then begin with,"
    " or `finetune.teacher.encoder`",
    "finetune.teacher.pretrained": "`finetune.teacher.encoder` (null is `teacher` there)",
    # Of what the two stages may take from the block they share.
    **{
        f"{stage}.distillation.{name}": f"`distillation.logits.{now}`"
        for stage in ("pretrain_distill", "search")
        for name, now in {"temperature": "temperature", "distillation_weight": "weight"}.items()
    },
}

# Blocks that trainings share, and the stages' blocks that take from them what they do not state.
SHARED = {
    "masked_lm": ("search.training", "pretrain_distill.teacher", "pretrain_distill.student"),
    "distillation": ("search.distillation", "pretrain_distill.distillation"),
    "task_training": ("finetune.training", "finetune.teacher.training"),
}


# The environment of what a user states, which wins over any other.
LOCAL = "local"
# The configuration that an installed wheel has along; of no editable installation, whose project has it.
PACKAGED = Path(__file__).parent / "conf"
# What is raised for a file that holds no configuration.
_UNREADABLE = (YAMLError, OmegaConfBaseException, OSError, RecursionError, ValueError)


class _AnyFolderLoader(OmegaConfigLoader):
    """Kedro's loader, for folders of any name; an environment that the project has no folder of is the package's.

    A parameter may take the place of one of another form, such as a list that of a map, which OmegaConf does not merge.
    """

    def _merge_and_resolve(self, key: str, config_per_file: dict[Path, DictConfig]) -> JsonObject:
        layers = [*config_per_file.values(), self.runtime_params] if key == "parameters" and config_per_file else []
        if layers:
            plain = (OmegaConf.to_container(OmegaConf.merge(layer)) for layer in layers)
            config_per_file = {Path(): DictConfig(reduce(_over, plain))}
        merged: JsonObject = super()._merge_and_resolve(key, config_per_file)
        return merged

    @staticmethod
    def _soft_merge(config: JsonObject, env_config: JsonObject, env_path: str | None = None) -> JsonObject:
        merged: JsonObject = _over(config, env_config)
        return merged

    def _get_conf_env_path(self, env: str) -> str:
        folder: str = super()._get_conf_env_path(env)
        is_packaged = self._protocol == "file" and not self._fs.isdir(folder) and (PACKAGED / env).is_dir()
        return str(PACKAGED / env) if is_packaged else folder

    def _is_hidden(self, path_str: str) -> bool:
        # Folders above the package's, such as `.venv`, hide nothing.
        path = Path(path_str)
        if path.is_relative_to(PACKAGED):
            return any(part.startswith(".") for part in path.relative_to(PACKAGED).parts)
        is_hidden: bool = super()._is_hidden(path_str)
        return is_hidden

    @staticmethod
    def _initialise_filesystem_and_protocol(conf_source: str) -> tuple[AbstractFileSystem, str]:
        files, protocol = OmegaConfigLoader._initialise_filesystem_and_protocol(conf_source)
        return (LocalFiles() if protocol == "file" else files), protocol


class ConfigurationLoader(_AnyFolderLoader):
    """Kedro's loader, which lays ``conf/local`` over the environment that a run asks for.

    Of the parameters it writes what trainings share into the stages' blocks.

    Attributes:
        local_files: Those of ``conf/local`` that were read, such as ``conf/local/catalog.yml``.

    Raises:
        ConfigurationError: From the constructor, if the environment that is asked for has no folder.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.local_files: set[str] = set()
        super().__init__(*arguments, **options)
        places = [place for place in (Path(self.conf_source), PACKAGED) if self._protocol == "file" and place.is_dir()]
        if self.env is not None and places and not any((place / self.env).is_dir() for place in places):
            known = sorted({folder.name for place in places for folder in place.iterdir() if folder.is_dir()})
            raise ConfigurationError(
                f"`--env` names `{self.env}`, and {places[0]} has no such folder. {hint_at(self.env, known)}There are: "
                f"{', '.join(known)}."
            )

    def said(self) -> str:
        """Which files were laid over the environment that was asked for; empty where there were none."""
        if self.env in (None, LOCAL) or not self.local_files:
            return ""
        return f"Laid over the environment {self.env}: {', '.join(sorted(self.local_files))}."

    def __getitem__(self, key: str) -> JsonObject:
        try:
            values = super().__getitem__(key)
        except (*_UNREADABLE, AttributeError, TypeError) as fault:
            raise ConfigurationError(self._unreadable(key, fault)) from fault
        return with_shared(values) if key == "parameters" else values

    def _unreadable(self, key: str, fault: Exception) -> str:
        """Which file is at fault, and why; of files that can be read, what does not go together in them."""
        folders = dict.fromkeys((self.base_env, self.env or self.default_run_env, LOCAL))
        patterns = [f"{self._get_conf_env_path(each)}/{name}" for each in folders for name in self.config_patterns[key]]
        for path in sorted({Path(found) for pattern in patterns for found in self._fs.glob(pattern)}):
            if self._is_valid_config_path(path) and (reason := _fault_of(path)):
                return f"{path} cannot be read: {reason}. Mend it there; texts with signs such as `:` stand in quotes."
        name = getattr(fault, "full_key", "")
        return (
            f"{f'`{name}` of ' if name else ''}the {key} in {self.conf_source} cannot be put together: "
            f"{said_by(fault)}. Mend it in the file that states it."
        )

    def _resolve_from_raw_config(self, key: str, *read: Any) -> JsonObject:
        """Lay what ``conf/local`` states over what Kedro makes of the base and the environment that it has read."""
        folder, files = self._get_conf_env_path(LOCAL), set[Path]()
        stated = {}
        if self._fs.isdir(folder):
            patterns = self.config_patterns[key]
            stated = self._read_dir_configs(folder, patterns, key, files, key == "credentials")
        # The last argument has what was read; without any file of this key Kedro refuses.
        read[-1].update(files)
        values = super()._resolve_from_raw_config(key, *read)
        self.local_files |= {os.path.relpath(file, Path(self.conf_source).parent) for file in files}
        merged: JsonObject = self._merge_configs(values, self._merge_and_resolve(key, stated), key, folder)
        return merged


def _fault_of(path: Path) -> str:
    """What keeps a file of the configuration from being read; "" where nothing does."""
    try:
        content = OmegaConf.load(path)
    except MarkedYAMLError as fault:
        line = f"line {fault.problem_mark.line + 1}: " if fault.problem_mark else ""
        return f"{line}{(fault.problem or said_by(fault)).rstrip('.')}"
    except _UNREADABLE as fault:
        return said_by(fault)
    return "" if isinstance(content, DictConfig) else "it is a list, and names with values are expected"


def load_parameters(conf: Path, environment: str = "local", **changes: Any) -> JsonObject:
    """The parameters of an environment alone, not yet checked; keywords are laid over them, as ``--params`` are.

    Other than in a run, ``conf/local`` is read only where it is the environment: what benchmarks and tests measure does
    not hang on what somebody states there.
    """
    loader = _AnyFolderLoader(
        str(conf),
        env=environment,
        base_env="base",
        default_run_env="local",
        merge_strategy={"parameters": "soft"},
        runtime_params=changes,
    )
    return with_shared(loader["parameters"])


def with_shared(parameters: JsonObject) -> JsonObject:
    """The parameters with each block of a training whole: what it states, wherever that was, over what it shares."""
    for name, blocks in SHARED.items():
        for stage, *rest in (block.split(".") for block in blocks):
            below = deepcopy(parameters.get(name, {}))
            for part in reversed(rest):
                below = {part: below}
            if stage in parameters:
                parameters = parameters | {stage: _over(below, parameters[stage])}
    return parameters


def _over(below: Any, stated: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(stated, dict):
        return stated
    return below | {name: _over(below[name], value) if name in below else value for name, value in stated.items()}


def added_parameters(raw: JsonObject) -> set[str]:
    """Names of the blocks that are for pipelines which a user has added: named like one, or read by one.

    One that reads all of ``parameters`` may mean any block but those named almost like one of ours.
    """
    added = added_pipelines()
    read = {name for pipeline in added.values() for name in pipeline.inputs()}
    names = {*added, *(name.removeprefix("params:").partition(".")[0] for name in read if name.startswith("params:"))}
    if "parameters" in read:
        names |= {name for name in raw if not get_close_matches(name, Parameters.model_fields, n=1)}
    return names


def check_parameters(raw: JsonObject, added: Collection[str] = ()) -> Parameters:
    """Build the typed parameters; blocks that were added for a user's own pipelines are taken as they are.

    Raises:
        ConfigurationError: Names every fault at once: the key, the value, what is allowed.
    """
    known = [*Parameters.model_fields, *sorted({*added} - Parameters.model_fields.keys())]
    lines = [
        f"{_unknown(str(name), raw[name], known, str(name))} A pipeline of yours in src/bort_kedro/pipelines has the "
        f"block of its name, and what it reads as `params:{name}`."
        for name in raw
        if name not in known
    ]
    parameters = None
    try:
        parameters = Parameters.model_validate(raw)
    except ValidationError as faults:
        # What stands in a shared block is a fault of every training that takes it from there.
        lines += dict.fromkeys(_explain(fault, raw) for fault in faults.errors(include_url=False))
    if parameters is None or lines:
        raise ConfigurationError(
            f"{len(lines)} parameter(s) cannot be used:\n"
            + "\n".join(f"  - {line}" for line in lines)
            + "\nChange them where they are set: in conf/local, --params, the environment given by --env, or conf/base."
        )
    return parameters


def _explain(fault: Any, raw: JsonObject) -> str:
    # Which of its forms a parameter has is part of the place, and of no name.
    whole = ".".join(str(part) for part in fault["loc"] if not str(part).startswith("<"))
    path = _written_at(whole, fault["input"], raw)
    if whole in MOVED:
        shown = shortened(repr(fault["input"]), LONGEST_SAID)
        return f"`{path}` (value {shown}) is a parameter of an older version. Write {MOVED[whole]} instead."
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return _unknown(path, fault["input"], _fields_at(fault["loc"][:-1]), str(fault["loc"][-1]))
    if fault["type"] == "missing":
        return f"`{path}` is missing."
    message = fault["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(fault["input"], dict) else f" (value {shortened(repr(fault['input']), LONGEST_SAID)})"
    return f"`{path}`{shown}: {message}." if path else f"{message}."


def _unknown(path: str, value: Any, known: list[str], name: str) -> str:
    shown = shortened(repr(value), LONGEST_SAID)
    return f"`{path}` is unknown (value {shown}). {hint_at(name, known)}Allowed here: {', '.join(known)}."


def hint_at(name: str, known: Iterable[str]) -> str:
    """The name that a mistyped one was meant to be, as a question; empty where none is like it."""
    near = get_close_matches(name, known, n=1)
    return f"Did you mean `{near[0]}`? " if near else ""


def _written_at(path: str, value: Any, raw: JsonObject) -> str:
    """The path of a faulty value in the shared block, if the stage's block has it from there."""
    for name, blocks in SHARED.items():
        for block in blocks:
            rest = path.removeprefix(f"{block}.")
            found: Any = raw.get(name)
            for part in rest.split("."):
                found = found.get(part) if isinstance(found, dict) else None
            if rest != path and found is not None and found == value:
                return f"{name}.{rest}"
    return path


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    """Names of the fields of the model at a path."""
    fields: dict[str, Any] = Parameters.model_fields
    for part in location:
        if part in fields:  # else it is a place in a list, or a key of a map, whose members all have one model
            fields = _fields_of(fields[part])
    return list(fields)


def _fields_of(field: Any) -> dict[str, Any]:
    """The fields of the model that a field is of, or a map or list of; none where it is of none."""
    kinds = [getattr(field, "annotation", field)]
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return dict(kind.model_fields)
        if isinstance(kind, type) and is_dataclass(kind):
            return {field.name: None for field in dataclass_fields(kind)}
        kinds += get_args(kind)
    return {}


def check_dataset_names(catalog: Iterable[str]) -> None:
    """Refuse the entries of a catalog that an older version would have used.

    Raises:
        ConfigurationError: Names every such entry and what it is called now.
    """
    renamed = {name: f"{stage}.{name}" for stage, names in RENAMED.items() for name in names}
    of_tasks = {name: stage for stage, names in RENAMED_OF_TASKS.items() for name in names}
    for entry in catalog:
        _, dot, name = entry.partition(".")
        if dot and name in of_tasks:
            renamed[entry] = f"{of_tasks[name]}.{entry}"
    faulty = [entry for entry in catalog if entry in renamed]
    if faulty:
        raise ConfigurationError(
            f"{len(faulty)} catalog entry(s) have a name of an older version, which nothing reads now:\n"
            + "\n".join(f"  - `{entry}` is called `{renamed[entry]}`" for entry in faulty)
            + "\nRename them in conf/local/catalog*.yml, or in the environment given by --env."
        )


def configuration_hash(parameters: Parameters) -> str:
    """Hash of every parameter value; equal for equal configurations, wherever they were written."""
    text = json.dumps(parameters.model_dump(mode="json", fallback=repr), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def session_parameters(catalog: CatalogProtocol) -> Parameters:
    """The parameters of a session, from its catalog."""
    return Parameters.model_validate(catalog["parameters"].load())


def base_parameters() -> Parameters:
    """The parameters of ``conf/base``, for commands that begin no session."""
    project = find_kedro_project(Path.cwd()) or Path.cwd()
    raw = load_parameters(project / "conf")
    return check_parameters(raw, added_parameters(raw))
