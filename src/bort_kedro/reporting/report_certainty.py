"""What the report says of how sure the choice of a shape is: runner-up, guarantee, noise, models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bort_kedro.encoders.shapes import shape_text
from bort_kedro.reporting.markdown import number, percent
from bort_kedro.statistics import is_missing

Row = Mapping[str, Any]


def is_recorded(search: Row) -> bool:
    """Whether errors were looked up in a table rather than trained for."""
    return bool(search["error_source"] == "table")


def done_words(search: Row) -> str:
    """What was done to the candidates that could be ranked; halving drops others before."""
    if not is_recorded(search):
        return "trained to the end"
    return "looked up on the last rung" if search["num_tried"] > search["num_trained"] else "looked up"


def effort_words(search: Row) -> str:
    """How much was spent."""
    if is_recorded(search):
        return f"{search['num_tried']} rows looked up"
    return f"{search['trainings_spent']:g} short trainings"


def with_noise(value: float | None, standard_error: float | None) -> str:
    """A number such as ``0.541 ± 0.012``; without the second where it is unknown."""
    if is_missing(value) or is_missing(standard_error):
        return number(value, 3)
    return f"{number(value, 3)} ± {number(standard_error, 3)}"


def error_text(row: Row, search: Row) -> str:
    """The error of a row: a share of tokens in percent, or a recorded number, which may be anything."""
    write = with_noise if is_recorded(search) else percent
    return write(row["error"], row["error_standard_error"])


def runner_up_sentence(search: Row) -> str:
    """Who comes next by what the answer goes by, and whether noise could have put it first."""
    second, answer = search["runner_up"], search["answer"]
    if second is None:
        return "Only one candidate was ranked, so there is nothing to compare the choice with."
    if answer == "knee":
        # The knee is a place on the front; no single number of a candidate says how nearly it was one.
        return f"The largest W of the others is that of {shape_text(second)}, {number(second['w'], 3)}."
    key = search["error_measure"] if answer == "smallest_error" else "w"
    name = f"the second best is {shape_text(second)} with {_standing(search, key)}"
    if search["is_distinguishable"]:
        return f"{_capitalised(name)}; the two differ by more than twice the noise of their errors."
    unknown = [row for row in (search["selected"], second) if is_missing(row[f"{key}_standard_error"])]
    if unknown:
        errors = "their errors" if len(unknown) > 1 else "one of their errors"
        reason = f"the table gives no noise of {errors}" if is_recorded(search) else f"the noise of {errors} is unknown"
        return f"{_capitalised(name)}; {reason}, so whether the two can be told apart is not known."
    return (
        f"**The two best cannot be told apart:** {name}, and the two differ by no more than twice the noise of their "
        "errors. Taking it instead would be as well founded."
    )


def _standing(search: Row, key: str) -> str:
    """What the runner-up has, beside what the choice has where that is not said elsewhere."""
    first, second = search["selected"], search["runner_up"]
    if key == "w":
        return f"W {number(second['w'], 3)}"
    if key == "error":
        return f"an error of {error_text(second, search)} against {error_text(first, search)}"
    losses = [with_noise(row["loss"], row["loss_standard_error"]) for row in (second, first)]
    return f"a loss of {losses[0]} against {losses[1]} nats"


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def guarantee_sentence(search: Row) -> str:
    """How far the largest W found can be from the largest there is, and what that rests on."""
    bound, done = search["guarantee"], done_words(search)
    if bound["bound_shape"] is None:
        return f"Every {'row' if is_recorded(search) else 'candidate'} was {done}, so none was overlooked."
    space = "the space" + (" within the caps" if any(cap is not None for cap in search["caps"].values()) else "")
    if search["num_on_plateau"]:
        space += ", those on the unigram plateau left aside"
    text = (
        f"The largest W found is at least {percent(_rounded_down(1 - bound['epsilon']))} of the largest of {space}, if "
        f"no network has a higher error than one it contains: of those not {done}, {shape_text(bound['bound_shape'])} "
        f"could have most, {number(bound['bound'], 3)}."
    )
    if search["num_better_than_maximum"]:
        text += (
            f" That premise does not hold for T: {search['num_better_than_maximum']} of those {done} had a lower "
            f"{search['error_measure']}. The lowest of theirs, less twice its noise, stands in for T's."
        )
    return text if search["answer"] == "largest_w" else f"{text} This does not bound the answer asked for."


def certainty(search: Row, candidates: Sequence[Row]) -> list[str]:
    """What bounds the choice, what its noise is made of, and whether the theory's condition holds."""
    sentences = [
        guarantee_sentence(search),
        *_violations(search),
        *_regression(search),
        _noise_sentence(search, candidates),
    ]
    if "growth_check" in search:
        sentences.append(search["growth_check"]["sentence"])
    if "latency_calibration" in search:
        sentences.append(_latency_sentence(search, candidates))
    for restart in search.get("worker_restarts", ()):
        sentences.append(f"A worker died ({restart['reason']}); started again: {restart['jobs']}.")
    return sentences


def _rounded_down(share: float) -> float:
    """To a tenth of a percent: what is at least a share is not to be rounded up."""
    return math.floor(1000 * share) / 1000


def _violations(search: Row) -> list[str]:
    """How often the order that the bound assumes was not found, and what counted as noise."""
    bound = search["guarantee"]
    if not bound["num_comparable"] or bound["noise"] is None:
        return []
    return [
        f"Of {bound['num_comparable']} pairs of which one contains the other, {bound['num_violations']} had the larger "
        f"one err more by more than twice the noise, {percent(bound['noise'])} of the error: by so much a regression "
        "misses candidates left out of it, which says more of the luck of a seed than the ± of the table does."
    ]


def _regression(search: Row) -> list[str]:
    model = search["error_model"]
    if model["rank_correlation"] is None:
        return []
    return [
        f"A regression of the error on the shape, fitted to {model['num_candidates']} candidates, ranks those left "
        f"out of it with a correlation of {number(model['rank_correlation'], 2)}."
    ]


def _noise_sentence(search: Row, candidates: Sequence[Row]) -> str:
    if is_recorded(search):
        known = [not is_missing(row["error_standard_error"]) for row in candidates if row["is_trained"]]
        if not any(known):
            return "The table gives no noise of its errors, so how far noise moved the choice is not known."
        return f"Standard errors are as the table gives them, for {sum(known)} of {len(known)} rows looked up."
    seeds = search["num_seeds"]
    if seeds > 1:
        return f"Errors are means over {seeds} seeds, and their spread is in the standard errors."
    return (
        "Every candidate was trained with one seed; the standard errors do not cover its luck "
        "(`search.num_seeds` trains more)."
    )


def _latency_sentence(search: Row, candidates: Sequence[Row]) -> str:
    calibration = search["latency_calibration"]
    measured = f"Latency was measured for {calibration['num_measured']} shapes, "
    if not any(row["latency_source"] == "modelled" for row in candidates):
        return f"{measured}every candidate and the maximum point among them."
    measured += "the maximum point among them"
    if search["cost"] == "modelled_latency":
        text = f"{measured}; as the cost it was modelled from operations for all, measured or not."
    else:
        text = f"{measured}, and modelled from operations for the rest."
    if is_missing(calibration["rank_correlation"]):
        return f"{text} They are too few to judge the model."
    return (
        f"{text} Shapes left out of the model are ranked with a correlation of "
        f"{number(calibration['rank_correlation'], 2)} and missed by "
        f"{percent(calibration['median_relative_residual'])} in the median, "
        f"{percent(calibration['largest_relative_residual'])} at worst."
    )
