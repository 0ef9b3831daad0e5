"""Parameters: typed, frozen, and refusing what they do not know. Values live in ``conf`` alone."""

from bort_kedro.params.base import FrozenModel, LatencyParams, MaskedLmParams, OptimizationParams
from bort_kedro.params.corpus import CorpusParams
from bort_kedro.params.evaluate import EvaluateParams, SpeedParams
from bort_kedro.params.finetune import BuiltinTasksParams, FinetuneParams, FinetuneTrainingParams
from bort_kedro.params.pretrain_distill import DistillationParams, PretrainDistillParams
from bort_kedro.params.search import SearchParams

__all__ = [
    "BuiltinTasksParams",
    "CorpusParams",
    "DistillationParams",
    "EvaluateParams",
    "FinetuneParams",
    "FinetuneTrainingParams",
    "FrozenModel",
    "LatencyParams",
    "MaskedLmParams",
    "OptimizationParams",
    "Parameters",
    "PretrainDistillParams",
    "SearchParams",
    "SpeedParams",
]


class Parameters(FrozenModel):
    """Everything under ``conf/*/parameters_*.yml``: one block a stage."""

    corpus: CorpusParams
    search: SearchParams
    pretrain_distill: PretrainDistillParams
    finetune: FinetuneParams
    evaluate: EvaluateParams
