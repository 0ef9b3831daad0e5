"""The section of the report that says which shape was chosen, against what, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bort_kedro.encoders.shapes import shape_text
from bort_kedro.reporting.markdown import bullets, large, number, percent, table, times
from bort_kedro.reporting.report_certainty import certainty, error_text, is_recorded, runner_up_sentence, with_noise
from bort_kedro.statistics import is_missing

Row = Mapping[str, Any]

CANDIDATES_SHOWN = 8
MEASURES = {
    "error": "the share of hidden tokens that are guessed wrong",
    "loss": "the masked-LM loss on held-out text",
}
COSTS = {
    "operations": "operations",
    "modelled_latency": "milliseconds, modelled from operations",
    "measured_latency": "milliseconds, measured",
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


def choice_section(search: Row, candidates: Sequence[Row]) -> str:
    """Which shape, against what, and how sure."""
    parts = [
        f"{_setting(search)}\n\n{_outcome(search)}",
        runner_up_sentence(search),
        _candidate_table(candidates, search),
        *_parts_table(search),
        "How sure this is:\n\n" + bullets(certainty(search, candidates)),
        _sensitivity(search),
    ]
    if search["notes"]:
        parts.append("Before you believe it:\n\n" + bullets(search["notes"]))
    return "\n\n".join(parts)


def _setting(search: Row) -> str:
    """What was tried, what W is made of here, and what was asked for."""
    cost, measure = COSTS[search["cost"]], MEASURES[search["error_measure"]]
    if is_recorded(search):
        cost, measure = "operations" if search["cost"] == "operations" else "milliseconds, as recorded", "as recorded"
    caps = ", ".join(f"{name} {value:,g}" for name, value in search["caps"].items() if value is not None)
    return (
        f"{_effort(search)} W rewards having fewer parameters and a lower cost than the maximum point ({cost}), and a "
        f"low error, here {measure}. Asked for was {ANSWERS[search['answer']]}{f', within {caps}' if caps else ''}."
    )


def _effort(search: Row) -> str:
    """Who was tried, and beside which maximum point T."""
    name, num_trained, num_candidates = search["strategy"], search["num_trained"], search["num_candidates"]
    more = search["num_tried"] - num_trained
    if not is_recorded(search):
        partly = f", and {more} more for a part of it" if more else ""
        return (
            f"The strategy `{name}` trained {num_trained} of {num_candidates} candidates for a short time{partly} "
            f"({STRATEGIES[name]}), and the maximum point T, {shape_text(search['maximum_point'])}, a network at least "
            "as large as any of them."
        )
    partly = f", and {more} more on lower rungs, which see the final errors, too" if more else ""
    maximum = (
        f"the row of {shape_text(search['maximum_point'])}, the largest in parameters and cost."
        if search["is_network"]
        else f"a point {search['recorded_maximum_multiple']:g} times the largest row in parameters and cost, with the "
        "lowest error of the table: no network."
    )
    return (
        f"The strategy `{name}` looked up {num_trained} of {num_candidates} rows of a recorded table "
        f"({RECORDED_STRATEGIES[name]}){partly}. The maximum point T is {maximum}"
    )


def _outcome(search: Row) -> str:
    selected, maximum = search["selected"], search["maximum_point"]
    errors = [error_text(row, search) for row in (selected, maximum)]
    text = (
        f"**{shape_text(selected)}** has W {number(selected['w'], 3)}. Against the maximum point it has "
        f"{times(maximum['parameters'] / selected['parameters'])} fewer parameters, does "
        f"{times(maximum['operations'] / selected['operations'])} fewer operations, and "
    )
    if is_recorded(search):
        text += f"has an error of {errors[0]} instead of {errors[1]}"
    else:
        text += f"guesses {errors[0]} of the hidden tokens wrong instead of {errors[1]}"
    if "loss" in selected:
        text += f", at a loss of {number(selected['loss'], 3)} instead of {number(maximum['loss'], 3)} nats"
    text += "."
    if search["num_invalid"]:
        text += f" {search['num_invalid']} more combinations cannot be built: the heads do not divide the hidden size."
    if search["num_over_caps"]:
        text += f" {search['num_over_caps']} more are over the caps and were not tried."
    return text


def _sensitivity(search: Row) -> str:
    """How the choice moves with the size of the maximum point and with the measure of error."""
    columns = {name: f"by {title}" for name, title in (("by_error", "error rate"), ("by_loss", "loss"))}
    if is_recorded(search):
        columns["by_error"] = "by recorded error"
    shown = [name for name in columns if name in search["sensitivity"][0]]
    rows = [[f"{row['multiple']}x", *(shape_text(row[name]) for name in shown)] for row in search["sensitivity"]]
    measures = ", and for either measure of the error," if len(shown) > 1 else ","
    return (
        "The larger the maximum point, the more the error decides. With its parameters and cost multiplied"
        f"{measures} the largest W would be that of:\n\n"
        + table(["Size of T", *(columns[name] for name in shown)], rows)
    )


def _candidate_table(candidates: Sequence[Row], search: Row) -> str:
    """The best by W, the choice wherever it stands, and all of the front where that was asked for; T, baselines."""
    trained = [row for row in candidates if row["is_trained"] and not is_missing(row["w"])]
    ranked = sorted((row for row in trained if row["meets_caps"]), key=lambda row: -row["w"])
    whole_front = search["answer"] == "pareto_front"
    shown = [
        row
        for place, row in enumerate(ranked)
        if place < CANDIDATES_SHOWN or row["is_selected"] or (whole_front and row["is_pareto"])
    ]
    header = ["Shape (D, A, H, I)", "Parameters", "Operations", "Latency, ms", "Error", "Loss", "W", "Pareto"]
    rows = [
        [
            f"**{shape_text(row)}**" if row["is_selected"] else shape_text(row),
            *_sizes_and_errors(row, search, is_modelled=row["latency_source"] == "modelled"),
            with_noise(row["w"], row["w_standard_error"]),
            "yes" if row["is_pareto"] else "no",
        ]
        for row in shown
    ]
    maximum, dash = search["maximum_point"], number(None, 0)
    # As the cost, latency is modelled for T as for the candidates.
    is_modelled = search["cost"] == "modelled_latency" and not is_recorded(search)
    name = shape_text(maximum) if search["is_network"] else "made up, no network"
    rows.append([f"maximum point: {name}", *_sizes_and_errors(maximum, search, is_modelled=is_modelled), dash, dash])
    rows += [
        [f"{name} baseline", *[dash] * 3, percent(error), *[dash] * 3]
        for name, error in search["baseline_errors"].items()
    ]
    return f"{table(header, rows)}\n\n{_caption(trained, ranked, shown, search)}"


def _caption(trained: Sequence[Row], ranked: Sequence[Row], shown: Sequence[Row], search: Row) -> str:
    beyond = len(shown) - min(CANDIDATES_SHOWN, len(ranked))
    which = f"The best {len(shown) - beyond} of {len(ranked)} ranked candidates, by W"
    if beyond:
        is_front = search["answer"] == "pareto_front"
        which += f", and the other {beyond} on the Pareto front" if is_front else ", and the chosen one"
    num_pareto = sum(bool(row["is_pareto"]) for row in ranked)
    sentences = [
        f"{which}; {num_pareto} of them all are on the Pareto front: no other ranked candidate is better in one of "
        "parameters, cost and error and no worse in the others."
    ]
    if len(trained) > len(ranked):
        sentences.append(f"Over the cap on the error, hence not ranked: {len(trained) - len(ranked)} more.")
    if not is_recorded(search):
        sentences.append(
            f"Latency is that of one sequence of {search['sizes']['sequence_length']} tokens, measured in the search."
        )
    if any(row["latency_source"] == "modelled" for row in shown):
        sentences.append("Latencies with ~ are modelled from operations, not measured.")
    sentences.append(
        "Parameters, latencies and errors are as recorded; operations are counted from the shapes, layers alone."
        if is_recorded(search)
        else "Counts are for this corpus' vocabulary, masked-LM head included in the parameters, layers alone in the "
        "operations; `candidate_table` has the parts."
    )
    return " ".join(sentences)


def _parts_table(search: Row) -> list[str]:
    """The choice part by part beside T; nothing where a recorded table knows no parts."""
    if is_recorded(search):
        return []
    selected, maximum = search["selected"], search["maximum_point"]
    parts = {
        "embeddings": ("embedding_parameters", "embedding_operations"),
        "layers": ("layer_parameters", "operations"),
        "masked-LM head, all positions": ("head_parameters", "head_operations"),
        "pooler, where a task needs one": ("pooler_parameters", "pooler_operations"),
    }
    counts = {part: [row[name] for row in (selected, maximum) for name in columns] for part, columns in parts.items()}
    totals = [sum(column) for column in zip(*counts.values(), strict=True)]
    rows = [[part, *map(large, values)] for part, values in counts.items()]
    rows.append(["**all of these**", *map(large, totals)])
    header = ["Part", "Parameters", "Operations", "T: parameters", "T: operations"]
    length = search["sizes"]["sequence_length"]
    return [f"The choice part by part, for one sequence of {length} tokens:\n\n{table(header, rows)}"]


def _sizes_and_errors(row: Row, search: Row, *, is_modelled: bool) -> list[str]:
    latency = number(row.get("latency_ms"), 2)
    return [
        large(row["parameters"]),
        large(row["operations"]),
        f"~{latency}" if is_modelled else latency,
        error_text(row, search),
        number(row.get("loss"), 3),
    ]
