"""Pipelines that a user adds, as ``kedro pipeline create`` does: each a folder beside those of the stages."""

from importlib import import_module
from pkgutil import iter_modules

from kedro.pipeline import Pipeline

from bort_kedro import pipelines
from bort_kedro.errors import ConfigurationError
from bort_kedro.pipelines.namespaces import STAGES


def added_pipelines() -> dict[str, Pipeline]:
    """The pipelines of all folders here that are no stage, by the folder's name.

    Kedro's own `find_pipelines` would ask the stages too, which cannot be made without parameters.

    Raises:
        ConfigurationError: If such a folder has no function ``create_pipeline``, or it returns no pipeline.
    """
    names = [found.name for found in iter_modules(pipelines.__path__) if found.ispkg and found.name not in STAGES]
    return {name: _create(name) for name in names}


def _create(name: str) -> Pipeline:
    module = import_module(f"{pipelines.__name__}.{name}")
    create = getattr(module, "create_pipeline", None)
    made = create() if create else None
    if not isinstance(made, Pipeline):
        seen = f"whose `create_pipeline()` returns {made!r}" if create else "which has no function `create_pipeline`"
        raise ConfigurationError(
            f"The folder {', '.join(module.__path__)} is registered as the pipeline `{name}`, {seen}. Let its "
            "__init__.py have a `create_pipeline` that returns a kedro.pipeline.Pipeline, or remove the folder."
        )
    return made
