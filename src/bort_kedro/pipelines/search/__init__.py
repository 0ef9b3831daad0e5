"""Search the shape: costs, short trainings, W-coefficient, Pareto front."""

from bort_kedro.pipelines.search.pipeline import create_pipeline

__all__ = ["create_pipeline"]
