"""What a search over three candidates left behind, for tests of what is said of it."""

from __future__ import annotations

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.search.report import Candidate, MaximumPointRow, SearchReport

CHOSEN, SECOND, MAXIMUM = BertShape(1, 2, 64, 128), BertShape(2, 2, 64, 64), BertShape(4, 4, 128, 512)
MISSED = BertShape(3, 4, 96, 256)
PARTS = {
    "embedding_parameters": 60_000,
    "layer_parameters": 35_000,
    "head_parameters": 5_000,
    "pooler_parameters": 4_000,
    "embedding_operations": 10_000,
    "head_operations": 500_000,
    "pooler_operations": 8_000,
}
MAXIMUM_ROW = {
    **MAXIMUM.to_row(),
    **PARTS,
    "parameters": 1_000_000,
    "operations": 40_000_000,
    "latency_ms": 0.75,
    "error": 0.58,
    "error_standard_error": 0.004,
    "loss": 3.1,
    "loss_standard_error": 0.02,
}


def candidate(shape, w, **changes):
    """A row of the candidate table."""
    row = {
        **shape.to_row(),
        **PARTS,
        "parameters": 100_000,
        "operations": 2_000_000,
        "latency_ms": 0.75,
        "latency_source": "measured",
        "error": 0.612,
        "error_standard_error": 0.004,
        "loss": 3.1,
        "loss_standard_error": 0.02,
        "w": w,
        "w_standard_error": None if w is None else 0.012,
        "is_trained": True,
        "meets_caps": True,
        "is_pareto": True,
        "is_selected": False,
    }
    return Candidate.from_json(row | changes)


def candidates(**changes):
    """The three, the best last but one, the last not trained."""
    nothing = {"is_trained": False, "is_pareto": False, "meets_caps": False, "error_standard_error": None}
    return [
        candidate(SECOND, 0.539, **changes),
        candidate(CHOSEN, 0.541, is_selected=True, **changes),
        candidate(BertShape(2, 2, 32, 64), None, **changes | nothing),
    ]


def trained_search(**changes):
    """A search report whose errors were trained for."""
    report = {
        "strategy": "fptas",
        "budget": 2,
        "cost": "operations",
        "answer": "largest_w",
        "caps": {"max_parameters": None, "max_latency_ms": None, "max_error": None},
        "error_measure": "error",
        "error_source": "training",
        "is_network": True,
        "num_invalid": 3,
        "num_over_caps": 0,
        "baseline_errors": {"unigram": 0.95, "bigram": 0.84},
        "num_candidates": 24,
        "num_trained": 2,
        "num_tried": 2,
        "num_on_plateau": 0,
        "num_better_than_maximum": 0,
        "num_seeds": 1,
        "trainings_spent": 2.0,
        "selected": candidate(CHOSEN, 0.541, is_selected=True),
        "runner_up": candidate(SECOND, 0.539),
        "maximum_point": MaximumPointRow.of(MAXIMUM_ROW),
        "is_distinguishable": True,
        "sensitivity": [
            {
                "multiple": 4,
                "by_measure": {"error": BertShape(2, 4, 96, 256).to_row(), "loss": BertShape(3, 4, 96, 256).to_row()},
            }
        ],
        "guarantee": {
            "noise": None,
            "epsilon": 0.25,
            "bound": 0.72,
            "bound_index": 5,
            "bound_shape": MISSED.to_row(),
            "num_comparable": 1,
            "num_violations": 0,
            "num_beating_maximum": 0,
        },
        "error_model": {"num_candidates": 2, "rank_correlation": None},
        "pareto_front": [],
        "notes": [],
        "seconds": 125.0,
        "num_tokens": 4000,
        "sizes": {"vocabulary_size": 600, "max_positions": 64, "sequence_length": 16},
    }
    return SearchReport.from_json(report | changes)


def recorded(row, **changes):
    """A row as a table has it: no losses, no parts."""
    unknown = dict.fromkeys(("loss", "loss_standard_error", *PARTS))
    if isinstance(row, Candidate):
        unknown["latency_source"] = "recorded"
    return row.changed(**unknown | changes)


def recorded_search(**changes):
    """A search report whose errors were looked up; its maximum point is made up, its noise unknown."""
    unknown = {"error_standard_error": None, "w_standard_error": None}
    base = trained_search()
    report = {
        **dict.fromkeys(("num_seeds", "sizes")),
        "selected": recorded(base.selected, **unknown),
        "runner_up": recorded(base.runner_up, **unknown),
        "maximum_point": recorded(base.maximum_point, error_standard_error=None, is_network=False),
        "error_source": "table",
        "is_network": False,
        "recorded_maximum_multiple": 4.0,
        "baseline_errors": {},
        "num_invalid": 0,
        "is_distinguishable": False,
        "sensitivity": [{"multiple": 1, "by_measure": {"error": CHOSEN.to_row()}}],
        "seconds": 0.0,
    }
    return base.changed(**report | changes)
