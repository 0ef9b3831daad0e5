"""The section of the report that says which shape was chosen, against what, and how sure that is."""

from collections.abc import Sequence

from bort_kedro.reporting.report_certainty import error_text, guarantee_sentence, runner_up_sentence
from bort_kedro.reporting.templates import render
from bort_kedro.search.measures import MEASURES
from bort_kedro.search.report import Candidate, SearchReport
from bort_kedro.statistics import is_missing

CANDIDATES_SHOWN = 8
COSTS = {
    "operations": "operations",
    "modelled_latency": "milliseconds, modelled from operations",
    "measured_latency": "milliseconds, measured",
    "exported_latency": "milliseconds of the export, modelled from operations where it was not timed",
    "recorded_latency": "milliseconds, as recorded, modelled from operations where they were not",
}
ANSWERS = {
    "largest_w": "the largest W",
    "pareto_front": "the whole Pareto front; of its members, the later stages take the one with the largest W",
    "smallest_error": "the smallest error",
    "knee": "the knee of the Pareto front, where paying more starts to buy little",
}
STRATEGIES = {
    "fptas": "the representative of each interval of the space",
    "surrogate": "representatives of the space first, then those that a regression on the shape promised most of",
    "successive_halving": "many for a few steps, the better ones for more",
    "random": "candidates drawn at random",
    "exhaustive": "every one",
}
# A table has no steps: every rung shows its final errors.
RECORDED_STRATEGIES = STRATEGIES | {"successive_halving": "many first, then the better ones of them"}


PARTS = {
    "embeddings": ("embedding_parameters", "embedding_operations"),
    "layers": ("layer_parameters", "operations"),
    "masked-LM head, all positions": ("head_parameters", "head_operations"),
    "pooler, where a task needs one": ("pooler_parameters", "pooler_operations"),
}


def choice_section(search: SearchReport, candidates: Sequence[Candidate]) -> str:
    """Which shape, against what, and how sure."""
    is_recorded = search.is_recorded
    trained = [row for row in candidates if row.is_trained]
    with_w = [row for row in trained if not is_missing(row.w)]
    ranked = sorted((row for row in with_w if row.meets_caps), key=lambda row: -(row.w or 0.0))
    shown = _shown(ranked, has_front=search.answer == "pareto_front")
    return render(
        "choice",
        search=search,
        strategy=(RECORDED_STRATEGIES if is_recorded else STRATEGIES)[search.strategy],
        more=search.num_tried - search.num_trained - search.num_failed,
        cost=_recorded_cost(search) if is_recorded else COSTS[search.cost],
        own_cost=search.own_cost,
        has_latency=any(not is_missing(row.latency_ms) for row in shown),
        measure="as recorded" if is_recorded else f"the {MEASURES[search.error_measure].label}",
        answer=ANSWERS[search.answer],
        caps=", ".join(f"{name} {value:,g}" for name, value in search.caps if value is not None),
        runner_up=runner_up_sentence(search),
        shown=shown,
        num_ranked=len(ranked),
        num_beyond=len(shown) - min(CANDIDATES_SHOWN, len(ranked)),
        num_pareto=sum(row.is_pareto for row in ranked),
        num_over_error=len(with_w) - len(ranked),
        is_maximum_modelled=search.maximum_point.latency_source == "modelled",
        is_any_modelled=any(row.latency_source == "modelled" for row in shown),
        is_all_measured=all(row.latency_source == "measured" for row in candidates),
        parts=_parts(search) if search.sizes else {},
        guarantee=guarantee_sentence(search),
        num_trained=len(trained),
        num_noise_known=sum(not is_missing(row.error_standard_error) for row in trained),
        others=search.selected.beside_error,
        error_of=lambda row: error_text(row, search),
    )


def _recorded_cost(search: SearchReport) -> str:
    if search.own_cost:
        return f"`{search.own_cost}`, as recorded"
    return "operations" if search.cost == "operations" else "milliseconds, as recorded"


def _shown(ranked: Sequence[Candidate], *, has_front: bool) -> list[Candidate]:
    """The best by W, the choice wherever it stands, and all of the front where that was asked for."""
    return [
        row
        for place, row in enumerate(ranked)
        if place < CANDIDATES_SHOWN or row.is_selected or (has_front and row.is_pareto)
    ]


def _parts(search: SearchReport) -> dict[str, list[int]]:
    """The choice part by part beside T, and the sums."""
    rows = (search.selected, search.maximum_point)
    counts = {part: [getattr(row, name) for row in rows for name in columns] for part, columns in PARTS.items()}
    return counts | {"**all of these**": [sum(column) for column in zip(*counts.values(), strict=True)]}
