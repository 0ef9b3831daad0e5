"""Read the examples of each task, or build them from the corpus, and split them."""

from bort_kedro.pipelines.tasks.pipeline import create_pipeline

__all__ = ["create_pipeline"]
