"""Evaluate: score the tasks, measure the speed, write the report."""

from bort_kedro.pipelines.evaluate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
