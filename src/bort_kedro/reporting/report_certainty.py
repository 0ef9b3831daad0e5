"""How sure the choice of a shape is, for report and terminal: what was done, the runner-up, the guarantee."""

import math

from bort_kedro.reporting.markdown import percent, with_noise
from bort_kedro.reporting.templates import render
from bort_kedro.search.measures import MEASURES
from bort_kedro.search.report import SearchReport, SizedShape
from bort_kedro.statistics import is_missing


def done_words(search: SearchReport) -> str:
    """What was done to the candidates that could be ranked; halving drops others before."""
    if not search.is_recorded:
        return "trained to the end"
    return "looked up on the last rung" if search.num_tried > search.num_trained else "looked up"


def effort_words(search: SearchReport) -> str:
    """How much was spent, and on how many candidates in vain."""
    if search.is_recorded:
        return f"{search.num_tried} rows looked up"
    failed = f"; {search.num_failed} candidate(s) failed, as the report says of each" if search.num_failed else ""
    return f"{search.trainings_spent:g} short trainings{failed}"


def error_text(row: SizedShape, search: SearchReport) -> str:
    """The error of a row: a share of tokens in percent, else a number."""
    write = percent if search.is_share else with_noise
    return write(row.error, row.error_standard_error)


def runner_up_sentence(search: SearchReport) -> str:
    """Who comes next by what the answer goes by, and whether noise could have put it first."""
    second = search.runner_up
    key = MEASURES[search.error_measure].column if search.answer == "smallest_error" else "w"
    noise_key = f"{key}_standard_error"
    two = [search.selected, *([second] if second else [])]
    return render(
        "runner_up",
        search=search,
        second=second,
        key=key,
        num_unknown=sum(is_missing(getattr(row, noise_key)) for row in two),
        error_of=lambda row: error_text(row, search),
        noise_key=noise_key,
        unit=MEASURES[key].unit if key in MEASURES else "",
    )


def guarantee_sentence(search: SearchReport) -> str:
    """How far the largest W found can be from the largest there is, and what that rests on."""
    return render(
        "guarantee",
        search=search,
        bound=search.guarantee,
        done=done_words(search),
        # To a tenth of a percent: what is at least a share is not to be rounded up.
        at_least=math.floor(1000 * (1 - search.guarantee.epsilon)) / 1000,
        has_caps=any(cap is not None for _, cap in search.caps),
    )
