"""Parameters of the evaluate stage."""

from bort_kedro.evaluation.settings import BootstrapSettings
from bort_kedro.exports.settings import ExportSettings
from bort_kedro.frozen import FrozenModel
from bort_kedro.latency.settings import SpeedSettings
from bort_kedro.reporting.settings import CardSettings


class EvaluateParams(FrozenModel):
    """How the result is timed, told and exported, and how sure its scores are."""

    speed: SpeedSettings
    card: CardSettings
    bootstrap: BootstrapSettings
    export: ExportSettings
