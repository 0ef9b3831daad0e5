"""Parameters of the pretraining stage."""

from __future__ import annotations

from pydantic import Field

from bort_kedro.params.base import FrozenModel, MaskedLmParams


class DistillationParams(FrozenModel):
    """The pretraining loss under a teacher."""

    temperature: float = Field(gt=0, description="Softens both distributions.")
    masked_lm_weight: float = Field(ge=0, description="Of the cross-entropy with the true tokens.")
    distillation_weight: float = Field(gt=0, description="Of the divergence from the teacher.")


class PretrainDistillParams(FrozenModel):
    """Pretraining of the selected shape."""

    teacher: MaskedLmParams = Field(description="Further training of the maximum point.")
    student: MaskedLmParams = Field(description="Of the selected shape, with and without the teacher.")
    distillation: DistillationParams
