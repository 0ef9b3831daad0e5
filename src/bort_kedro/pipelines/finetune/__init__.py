"""Fine-tune the student on each task and predict on its dev and test splits."""

from bort_kedro.pipelines.finetune.pipeline import OWN_STUDENT, OWN_TEACHER, create_pipeline

__all__ = ["OWN_STUDENT", "OWN_TEACHER", "create_pipeline"]
