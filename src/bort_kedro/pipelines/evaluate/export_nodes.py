"""Nodes that write the fine-tuned models for other runtimes."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.exports.settings import ExportSettings
from bort_kedro.frozen import JsonObject
from bort_kedro.params import FinetuneParams
from bort_kedro.params.finetune import task_of


def exporter_of(name: str) -> Callable[..., tuple[TemporaryDirectory[str], JsonObject]]:
    """The node function that exports the model of one task."""

    def export_model(
        finetuned_model: Pretrained,
        examples: pd.DataFrame,
        finetune: FinetuneParams,
        export: ExportSettings,
        corpus_documents: pd.DataFrame | None = None,
    ) -> tuple[TemporaryDirectory[str], JsonObject]:
        """Convert the model, hold each format against PyTorch on the test split, and keep those that hold."""
        from bort_kedro.exports.verification import export_task
        from bort_kedro.finetuning.data import check_examples

        data = check_examples(examples, task_of(name, finetune))
        # An encoder of somebody else has no corpus here; the task's own train split is as near to its inputs.
        source = examples if corpus_documents is None else corpus_documents
        texts = source.loc[source["split"] == "train", "text"].tolist()
        folder = TemporaryDirectory(prefix="bort_kedro_export_")
        try:
            report = export_task(
                finetuned_model,
                data,
                texts,
                max_tokens=finetune.training.max_tokens,
                settings=export,
                folder=Path(folder.name),
            )
        except BaseException:
            folder.cleanup()
            raise
        return folder, report.to_json()

    return export_model
