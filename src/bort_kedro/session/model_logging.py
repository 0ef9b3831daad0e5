"""Fine-tuned models in MLflow's registry, as models that `mlflow models serve` answers texts with."""

from __future__ import annotations

import copy
import importlib.metadata
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.session.tracking_store import is_unreachable
from bort_kedro.tasks.description import Form, Task

if TYPE_CHECKING:
    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.evaluation.task_metrics import TaskMetrics

LOGGER = logging.getLogger(__name__)
# What serving needs; MLflow adds itself.
SERVING_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "numpy", "pandas")
REGISTRY_PREFIX = "bort_kedro"
# Of texts of a run nothing leaves it: the example is made up.
EXAMPLE = {"text": "Return the mean of the values along the given axis.", "text_pair": "The values have a mean."}
# With a blank it is no name that the hub knows, so that MLflow looks for no card and no licence there.
NO_REPOSITORY = "not on the hub"


@dataclass(frozen=True)
class ServedTask:
    """What serving must know of a task beside its model.

    Args:
        max_tokens: Longest input that the model was fine-tuned on; longer ones are cut.
    """

    task: Task
    has_pairs: bool
    max_tokens: int

    @property
    def columns(self) -> tuple[str, ...]:
        """What a request holds for each example."""
        return ("text", "text_pair") if self.has_pairs else ("text",)


class ModelLogging:
    """Logs and registers the fine-tuned models of one Kedro run; the active MLflow run is theirs."""

    def __init__(self, kedro_run: str) -> None:
        self._kedro_run = kedro_run
        # Registered name and version, by task.
        self._versions: dict[str, tuple[str, str]] = {}

    def log(self, model: Pretrained, served: ServedTask) -> None:
        """Log a model with signature, example and pinned requirements, and register it as ``bort_kedro-<task>``.

        Tracking is no part of the result: what MLflow refuses, such as a store without a registry, is a warning. A
        server that does not answer is a fault of MLflow's, as everywhere.
        Multiple choice is left out, and said so: MLflow's text classification scores each option alone, while the
        answer is the best of a question's options.
        """
        from mlflow import MlflowClient, register_model
        from mlflow.exceptions import MlflowException

        task = served.task
        if task.form == Form.MULTIPLE_CHOICE:
            LOGGER.info(
                "Task `%s` is multiple choice: its model is not registered in MLflow, whose text classification cannot "
                "choose among the options of a question. Its folder under data/06_models/finetuned is whole.",
                task.name,
            )
            return
        name = f"{REGISTRY_PREFIX}-{task.name}"
        try:
            with _quietly():
                logged = _log(model, served)
                version = register_model(logged.model_uri, name, tags=self._tags(model, task)).version
            MlflowClient().update_model_version(name, version, description=description_of(served))
        except MlflowException as fault:
            if is_unreachable(fault):
                raise
            LOGGER.warning("The model of task `%s` is not registered in MLflow: %s", task.name, fault)
            return
        self._versions[task.name] = (name, str(version))

    def tell_score(self, task: str, metrics: TaskMetrics) -> None:
        """Tag the version that this run registered with its score on the test split."""
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        if task not in self._versions or (test := metrics.test) is None:
            return
        name, version = self._versions[task]
        tags: dict[str, str | float] = {"metric": metrics.metric, "test_score": test.score.value}
        if test.interval is not None:
            tags |= {"test_low": test.interval.low, "test_high": test.interval.high}
        try:
            for key, value in tags.items():
                text = value if isinstance(value, str) else f"{value:.6g}"
                MlflowClient().set_model_version_tag(name, version, key, text)
        except MlflowException as fault:
            if is_unreachable(fault):
                raise
            LOGGER.warning("Version %s of %s in MLflow has no tag of its score: %s", version, name, fault)

    def _tags(self, model: Pretrained, task: Task) -> dict[str, str]:
        config = model.model.config.to_dict()
        shape = "-".join(str(config[name]) for name in SHAPE_COLUMNS if name in config)
        return {"task": task.name, "form": str(task.form), "kedro_run": self._kedro_run, "shape": shape}


def requirements() -> list[str]:
    """The installed versions, as pip asks for them; builds such as ``+cpu`` are no part of a version on the index."""
    return [f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in SERVING_PACKAGES]


def description_of(served: ServedTask) -> str:
    """What a person who sends texts must know, as sentences."""
    task = served.task
    said = [f"Task `{task.name}` ({task.form}). Send {' and '.join(f'`{name}`' for name in served.columns)}."]
    if task.form == Form.TOKENS:
        said.append(f"Inputs over {served.max_tokens} tokens are read in windows that overlap by half.")
        said.append("Words are what blanks part; `spans` are those found, with their places in characters.")
    else:
        said.append(f"Inputs over {served.max_tokens} tokens are cut, the longer text first.")
    if task.form == Form.REGRESSION:
        said.append("`score` is the value itself; `label` means nothing.")
    if task.has_marked_spans:
        said.append("Spans in question stand between ` [ ` and ` ] `, as words of their own; cutting may lose them.")
    return " ".join(said)


def _log(model: Pretrained, served: ServedTask) -> Any:
    """MLflow's record of the model that it has stored."""
    import pandas as pd
    from mlflow import transformers as flavor
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from transformers import TextClassificationPipeline

    from bort_kedro.encoders.pretrained import standalone_tokenizer

    if served.task.form == Form.TOKENS:
        return _log_spans(model, served)
    # Hooks change nothing: the name is that of a shallow copy.
    unnamed = copy.copy(model.model)
    unnamed.name_or_path = NO_REPOSITORY
    pipeline = TextClassificationPipeline(
        model=unnamed, tokenizer=standalone_tokenizer(model), task="text-classification", device="cpu"
    )
    return flavor.log_model(
        pipeline,
        name=served.task.name,
        signature=ModelSignature(
            inputs=Schema([ColSpec("string", name) for name in served.columns]),
            outputs=Schema([ColSpec("string", "label"), ColSpec("double", "score")]),
        ),
        input_example=pd.DataFrame([{name: EXAMPLE[name] for name in served.columns}]),
        pip_requirements=requirements(),
        model_config={"truncation": True, "max_length": served.max_tokens},
    )


def _log_spans(model: Pretrained, served: ServedTask) -> Any:
    """The same of a model of tagged words, with the code that makes spans of its answers."""
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import Array, Object, Property

    from bort_kedro.encoders.pretrained import standalone_tokenizer

    kinds = {"type": "string", "text": "string", "start": "long", "end": "long", "score": "double"}
    span = Object([Property(name, kind) for name, kind in kinds.items()])
    with TemporaryDirectory() as folder:
        model.model.save_pretrained(folder)
        standalone_tokenizer(model).save_pretrained(folder)
        return pyfunc.log_model(
            name=served.task.name,
            python_model=str(Path(__file__).with_name("served_spans.py")),
            artifacts={"model": folder},
            signature=ModelSignature(
                inputs=Schema([ColSpec("string", "text")]), outputs=Schema([ColSpec(Array(span), "spans")])
            ),
            input_example=pd.DataFrame([{"text": EXAMPLE["text"]}]),
            pip_requirements=requirements(),
            model_config={"max_tokens": served.max_tokens},
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Without bars, advice on licences and lines that say what was registered, between those of a run."""
    logger = logging.getLogger("mlflow.transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
