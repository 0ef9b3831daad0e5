"""Fine-tune the student on each task and predict on its dev and test splits."""

from bort_kedro.pipelines.finetune.pipeline import create_pipeline

__all__ = ["create_pipeline"]
