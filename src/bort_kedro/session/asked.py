"""What the options of `kedro run` ask for, known before there is a session: parameters, nodes and the catalog."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import chdir, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.config import MissingConfigException
from kedro.framework.project import pipelines, settings
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from bort_kedro.configuration import ConfigurationLoader, added_parameters, check_parameters, hint_at
from bort_kedro.errors import ConfigurationError
from bort_kedro.frozen import JsonObject
from bort_kedro.pipelines.namespaces import RESULTS

if TYPE_CHECKING:
    from bort_kedro.params import Parameters


@contextmanager
def in_project() -> Iterator[Path]:
    """The folder of the project, or the working folder outside of one; the working folder of the block."""
    project = find_kedro_project(Path.cwd()) or Path.cwd()
    with chdir(project):
        yield project


@dataclass(frozen=True)
class Asked:
    """What a command asks for; to be used in the project's folder, where relative paths of the catalog begin.

    Args:
        options: Of ``kedro run``, as click has them; those that are not there are as if not given.

    Raises:
        ConfigurationError: From what is read of it, if a parameter or the name of a pipeline cannot be used.
    """

    project: Path
    options: Mapping[str, Any]

    @cached_property
    def _loader(self) -> ConfigurationLoader:
        return ConfigurationLoader(
            self.options.get("conf_source") or str(self.project / settings.CONF_SOURCE),
            env=self.options.get("env") or os.environ.get("KEDRO_ENV"),
            runtime_params=self.options.get("params"),
            **settings.CONFIG_LOADER_ARGS,
        )

    @cached_property
    def parameters(self) -> Parameters:
        """Checked."""
        raw = self.configuration["parameters"]
        return check_parameters(raw, added_parameters(raw))

    @cached_property
    def configuration(self) -> JsonObject:
        """What is stated, under ``parameters`` and ``catalog``; each look of Kedro at it reads all files anew."""
        return {key: self._loader[key] for key in ("parameters", "catalog")}

    @cached_property
    def pipelines(self) -> dict[str, Pipeline]:
        """All that there are under these parameters, by name; Kedro's own registry has them from then on."""
        # Imported with all its nodes, so not for commands that ask for none.
        from bort_kedro.pipeline_registry import build_pipelines

        pipelines.update(built := build_pipelines(self.parameters))
        return built

    @cached_property
    def pipeline(self) -> Pipeline:
        """The nodes that would run."""
        options = self.options
        names = [options["pipeline"]] if options["pipeline"] else options["pipelines"] or ["__default__"]
        if unknown := unknown_names("--pipelines", names, self.pipelines):
            raise ConfigurationError("\n".join(unknown))
        whole = sum((self.pipelines[name] for name in names), start=Pipeline([]))
        same = ("from_nodes", "to_nodes", "from_inputs", "to_outputs", "node_names", "tags")
        return whole.filter(**{name: options[name] for name in same}, node_namespaces=options["namespaces"])

    def catalog(self, load_versions: Mapping[str, str]) -> DataCatalog:
        """The catalog, where other than the newest versions are to be loaded of some datasets."""
        return DataCatalog.from_config(
            deepcopy(self.configuration["catalog"]), credentials=self._credentials(), load_versions=dict(load_versions)
        )

    def _credentials(self) -> JsonObject:
        """Those that there are, as of a session."""
        try:
            return self._loader["credentials"]
        except MissingConfigException:
            return {}


def unknown_names(option: str, asked: Iterable[str], known: Iterable[str]) -> list[str]:
    """A sentence for each name that an option gives and that is not there, with all that are."""
    known = sorted(known)
    return [
        f"`{option}` names `{name}`, which is not there. {hint_at(name, known)}There are: {', '.join(known) or 'none'}."
        for name in asked
        if name not in known
    ]


def data_read(pipeline: Pipeline) -> list[str]:
    """What nodes read of the catalog and do not make, with what they open of the results of other stages."""
    named = (name for name in pipeline.inputs() if not name.startswith("params:") and name != "parameters")
    return [*sorted(named), *_results_read(pipeline)]


def _results_read(pipeline: Pipeline) -> list[str]:
    """What is opened of the results of stages that are no part of the run."""
    asked = {results: stage for stage, results in RESULTS.items() if results in pipeline.inputs()}
    return sorted(
        f"{asked[name]}.{output.partition('.')[2]}"
        for node in pipeline.nodes
        for name in node.inputs
        if name in asked
        for output in node.outputs
    )


def parameters_named(values: JsonObject, names: set[str], path: str = "") -> JsonObject:
    """Every parameter of one of these names, by its path."""
    found: JsonObject = {}
    for key, value in values.items():
        here = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict):
            found |= parameters_named(value, names, here)
        elif key in names:
            found[here] = value
    return found
