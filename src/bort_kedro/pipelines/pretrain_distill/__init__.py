"""Pretrain the selected shape under a teacher, and the same shape without one."""

from bort_kedro.pipelines.pretrain_distill.pipeline import create_pipeline

__all__ = ["create_pipeline"]
