"""The section of the report that says which shape was chosen, against what, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bort_kedro.core.markdown import bullets, is_missing, large, number, percent, table, times
from bort_kedro.core.shapes import BertShape, shape_text

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
    "smallest_error": "the smallest error under the caps",
    "knee": "the knee of the Pareto front, where paying more starts to buy little",
}
STRATEGIES = {
    "fptas": "the representative of each interval of the space",
    "surrogate": "representatives of the space first, then those that a regression on the shape promised most of",
    "successive_halving": "many for a few steps, the better ones for more",
    "random": "candidates drawn at random",
    "exhaustive": "every one",
}


def choice_section(shape: BertShape, search: Row, candidates: Sequence[Row]) -> str:
    """Which shape, against what, and how sure."""
    parts = [
        _outcome(shape, search),
        _runner_up(search),
        _candidate_table(candidates, search),
        *_parts_table(search),
        "How sure this is:\n\n" + bullets(_certainty(search)),
        _sensitivity(search),
    ]
    if search["notes"]:
        parts.append("Before you believe it:\n\n" + bullets(search["notes"]))
    return "\n\n".join(parts)


def _outcome(shape: BertShape, search: Row) -> str:
    selected, maximum = search["selected"], search["maximum_point"]
    caps = ", ".join(f"{name} {value:,g}" for name, value in search["caps"].items() if value is not None)
    text = (
        f"The strategy `{search['strategy']}` trained {search['num_trained']} of {search['num_candidates']} candidates "
        f"for a short time ({STRATEGIES[search['strategy']]}), and the maximum point {shape_text(maximum)}, a network "
        "larger than all of them. W rewards having fewer parameters and a lower cost than the maximum point "
        f"({COSTS[search['cost']]}), and a low error, here {MEASURES[search['error_measure']]}. Asked for was "
        f"{ANSWERS[search['answer']]}{f', within {caps}' if caps else ''}.\n\n**{shape}** has W "
        f"{number(selected['w'], 3)}. Against the maximum point it has "
        f"{times(maximum['parameters'] / selected['parameters'])} fewer parameters, does "
        f"{times(maximum['operations'] / selected['operations'])} fewer operations, and guesses "
        f"{percent(selected['error'], selected['error_standard_error'])} of the hidden tokens wrong instead of "
        f"{percent(maximum['error'], maximum['error_standard_error'])}"
    )
    if "loss" in selected:
        text += f", at a loss of {number(selected['loss'], 3)} instead of {number(maximum['loss'], 3)} nats"
    text += "."
    if search["num_invalid"]:
        text += f" {search['num_invalid']} more combinations cannot be built: the heads do not divide the hidden size."
    if search["num_over_caps"]:
        text += f" {search['num_over_caps']} more are over the caps and were not tried."
    return text


def _runner_up(search: Row) -> str:
    second = search["runner_up"]
    if second is None:
        return "Only one candidate was ranked, so there is nothing to compare the choice with."
    name = f"{BertShape.from_row(second)} with W {number(second['w'], 3)}"
    if search["is_distinguishable"]:
        return f"The second best is {name}; the two differ by more than the noise of their errors."
    return (
        f"**The two best cannot be told apart:** the second best is {name}, and the two differ by less than "
        "the noise of their errors. Taking it instead would be as well founded."
    )


def _certainty(search: Row) -> list[str]:
    """What bounds the choice, what its noise is made of, and whether the theory's condition holds."""
    bound, model, sentences = search["guarantee"], search["error_model"], []
    if bound["bound_shape"] is None:
        sentences.append("Every candidate was trained, so none was overlooked.")
    else:
        sentences.append(
            f"The largest W found is at least {percent(1 - bound['epsilon'])} of the largest of the space, if no "
            "network has a higher error than one it contains: of those not trained, "
            f"{shape_text(bound['bound_shape'])} could have most, {number(bound['bound'], 3)}."
        )
    if model["rank_correlation"] is not None:
        sentences.append(
            f"A regression of the error on the shape, fitted to {model['num_candidates']} candidates, ranks those left "
            f"out of it with a correlation of {number(model['rank_correlation'], 2)}; it predicts the untrained ones."
        )
    seeds = search.get("num_seeds", 1)
    sentences.append(
        f"Errors are means over {seeds} seeds, and their spread is in the standard errors."
        if seeds > 1
        else "Every candidate was trained with one seed; the standard errors do not cover its luck "
        "(`search.num_seeds` trains more)."
    )
    if "growth_check" in search:
        sentences.append(search["growth_check"]["sentence"])
    if "latency_calibration" in search:
        sentences.append(_latency_sentence(search["latency_calibration"]))
    for restart in search.get("worker_restarts", ()):
        sentences.append(f"A worker died ({restart['reason']}); started again: {restart['jobs']}.")
    return sentences


def _latency_sentence(calibration: Row) -> str:
    if is_missing(calibration["rank_correlation"]):
        return f"Latency was measured for {calibration['num_measured']} shapes, too few to judge the model of the rest."
    return (
        f"Latency was measured for {calibration['num_measured']} shapes, the maximum point among them, and modelled "
        "from operations for the rest. Shapes left out of the model are ranked with a correlation of "
        f"{number(calibration['rank_correlation'], 2)} and missed by "
        f"{percent(calibration['median_relative_residual'])} in the median, "
        f"{percent(calibration['largest_relative_residual'])} at worst."
    )


def _sensitivity(search: Row) -> str:
    """How the choice moves with the size of the maximum point and with the measure of error."""
    columns = {name: f"by {title}" for name, title in (("by_error", "error rate"), ("by_loss", "loss"))}
    shown = [name for name in columns if name in search["sensitivity"][0]]
    rows = [[f"{row['multiple']}x", *(shape_text(row[name]) for name in shown)] for row in search["sensitivity"]]
    return (
        "The larger the maximum point, the more the error decides. With its parameters and cost multiplied, and for "
        "either measure of the error, the largest W would be that of:\n\n"
        + table(["Size of T", *(columns[name] for name in shown)], rows)
    )


def _candidate_table(candidates: Sequence[Row], search: Row) -> str:
    maximum = search["maximum_point"]
    ranked = [row for row in candidates if row["is_trained"] and not is_missing(row["w"])]
    ranked = sorted(ranked, key=lambda row: -row["w"])
    header = ["Shape (D, A, H, I)", "Parameters", "Operations", "Latency, ms", "Error", "Loss", "W", "Pareto"]
    rows = [
        [
            f"**{shape_text(row)}**" if row["is_selected"] else shape_text(row),
            *_sizes_and_errors(row),
            f"{row['w']:.3f} ± {row['w_standard_error']:.3f}",
            "yes" if row["is_pareto"] else "no",
        ]
        for row in ranked[:CANDIDATES_SHOWN]
    ]
    shown = len(rows)
    rows.append([f"maximum point {shape_text(maximum)}", *_sizes_and_errors(maximum), number(None, 0), number(None, 0)])
    rows += [
        [f"{name} baseline", *[number(None, 0)] * 3, percent(error), *[number(None, 0)] * 3]
        for name, error in search["baseline_errors"].items()
    ]
    num_pareto = sum(bool(row["is_pareto"]) for row in ranked)
    return (
        f"{table(header, rows)}\n\nThe best {shown} of {len(ranked)} ranked candidates, by W; "
        f"{num_pareto} of them all are on the Pareto front: no other trained candidate is better in one of "
        "parameters, cost and error and no worse in the others. Counts are for this corpus' "
        "vocabulary, masked-LM head included in the parameters, layers alone in the operations; "
        "`candidate_table` has the parts."
    )


def _parts_table(search: Row) -> list[str]:
    """The choice part by part beside T; nothing where a recorded table knows no parts."""
    selected, maximum = search["selected"], search["maximum_point"]
    if "embedding_parameters" not in selected:
        return []
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


def _sizes_and_errors(row: Row) -> list[str]:
    return [
        large(row["parameters"]),
        large(row["operations"]),
        number(row.get("latency_ms"), 2),
        percent(row["error"], row["error_standard_error"]),
        number(row.get("loss"), 3),
    ]
