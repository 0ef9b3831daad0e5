"""What is said of the choice is true for every source of errors, answer and cost."""

import math
import typing

import pytest

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.reporting.report_certainty import guarantee_sentence, runner_up_sentence
from bort_kedro.reporting.report_choice import ANSWERS, COSTS, RECORDED_STRATEGIES, STRATEGIES, choice_section
from bort_kedro.search import answers, settings, strategies
from bort_kedro.search.engines import ENGINES
from bort_kedro.search.settings import SearchSettings
from search_results import MISSED, SECOND, candidate, candidates, recorded, recorded_search, trained_search


def choice(**changes):
    return choice_section(trained_search(**changes), candidates())


def recorded_choice(*, noise=math.nan, **changes):
    rows = [recorded(row, error_standard_error=noise, w_standard_error=noise) for row in candidates()]
    return choice_section(recorded_search(**changes), rows)


def literal(field):
    return set(typing.get_args(SearchSettings.model_fields[field].annotation))


def test_every_name_a_user_may_write_has_its_words():
    assert set(STRATEGIES) == set(RECORDED_STRATEGIES) == set(strategies.STRATEGIES)
    assert set(ANSWERS) == set(answers.ANSWERS)
    assert set(COSTS) == set(settings.COSTS)
    assert set(ENGINES) == literal("engine")


def test_a_search_of_a_table_is_told_whole_and_trains_nothing():
    text = recorded_choice(num_candidates=300, num_trained=12, num_tried=12)
    assert text.startswith(
        "The strategy `fptas` looked up 12 of 300 rows of a recorded table (the representative of each interval of the "
        "space). The maximum point T is a point 4 times the largest row in parameters and cost, with the error of the "
        "largest, (4, 4, 128, 512): no network, as `search.maximum_point` is no row that is the largest in both. W "
        "rewards having fewer parameters and a lower cost than the maximum point (operations), and a low error, here "
        "as recorded. Asked for was the largest W.\n\n"
        "**(1, 2, 64, 128)** has W 0.541. Against the maximum point it has 10.0x fewer parameters, does 20.0x fewer "
        "operations, and has an error of 0.612 instead of 0.580.\n\n"
        "The second best is (2, 2, 64, 64) with W 0.539; the table gives no noise of their errors, so whether the two "
        "can be told apart is not known.\n"
    )
    for words in ("trained", "seed", "tokens", "vocabulary", "each measure", "±", "%", "nats"):
        assert words not in text.replace("75.0 %", ""), words


def test_trainings_that_failed_are_counted_apart_from_those_of_a_part():
    search = trained_search(num_tried=7, num_failed=2)
    text = choice_section(search, candidates())
    assert "trained 2 of 24 candidates for a short time, and 3 more for a part of it; 2 more failed (the rep" in text
    assert "promised most of; 4 of all these were known from earlier searches), and the maximum point T," in (
        choice_section(search.changed(num_known=4, strategy="surrogate"), candidates())
    )
    assert "from earlier searches; 2 were given by the catalog's `earlier_candidates`, beside the budget), and" in (
        choice_section(search.changed(num_known=4, num_given=2), candidates())
    )
    assert "of the largest of the space, those that failed left aside, if no network has" in guarantee_sentence(search)
    all_trained = search.changed(guarantee=search.guarantee.changed(bound_shape=None))
    assert (
        guarantee_sentence(all_trained)
        == "Every candidate that did not fail was trained to the end, so none was overlooked."
    )


def test_the_published_promise_stands_beside_the_bound():
    scheme = {"interval": 12, "epsilon": 0.0125, "num_steps": 23, "batch_tokens": 512, "num_sets": 2}
    text = choice_section(trained_search(published=scheme | {"promised": 5.6e10, "planned": 5.5e10}), candidates())
    assert (
        "an interval of s = 12 candidates and n = 23 steps a training give ε = 1 / (n √s) = 0.013, and the promise is "
        "a W within |1 − ε| of the best in the order of |Ξ| + |W| (1 + |Θ| |B| |Ξ| / (ε s^1.5)) = 5.6e+10 steps, "
        "|W| being T's parameters, |Θ| 2 and |B| 512 tokens; the trainings that the budget pays for come to 5.5e+10. "
    ) in text
    assert "published scheme" not in choice_section(trained_search(), candidates())


def test_the_maximum_point_of_a_table_may_be_one_of_its_rows():
    text = recorded_choice(is_network=True)
    assert (
        "T is the row of (4, 4, 128, 512), the largest in parameters and cost, as `search.maximum_point` says." in text
    )
    assert "| maximum point: (4, 4, 128, 512) | 1.00 M | 40.0 M | 0.75 | 0.580 | – | – |" in text


@pytest.mark.parametrize("cost", ["modelled_latency", "measured_latency"])
def test_recorded_milliseconds_are_neither_modelled_nor_measured_here(cost):
    assert "than the maximum point (milliseconds, as recorded), and" in recorded_choice(cost=cost)
    assert f"than the maximum point ({COSTS[cost]}), and" in choice(cost=cost, latency_calibration=CALIBRATION)


def test_a_column_of_a_table_that_is_the_cost_is_named_and_shown():
    base = recorded_search()
    text = choice_section(
        base.changed(
            cost="joules", maximum_point=base.maximum_point.changed(cost=12.0), selected=base.selected.changed(cost=1.5)
        ),
        [recorded(row, cost=1.5) for row in candidates()],
    )
    assert "a lower cost than the maximum point (`joules`, as recorded), and a low error" in text
    assert "does 20.0x fewer operations, costs 8.0x less (`joules`), and has an error of" in text
    assert "| Operations | `joules` | Latency, ms | Error |" in text
    assert "| **(1, 2, 64, 128)** | 100 k | 2.00 M | 1.5 | 0.75 | 0.612 ±" in text
    assert "Parameters, latencies, costs and errors are as recorded; operations" in text


def test_a_table_without_latency_is_told_without_a_word_on_it():
    base = recorded_search()
    text = choice_section(
        base.changed(maximum_point=base.maximum_point.changed(latency_ms=None)),
        [recorded(row, latency_ms=None) for row in candidates()],
    )
    assert "| **(1, 2, 64, 128)** | 100 k | 2.00 M | – | 0.612 ±" in text
    assert "| maximum point: made up, no network | 1.00 M | 40.0 M | – | 0.580 | – | – |" in text
    assert "Parameters and errors are as recorded; operations are counted" in text
    assert "atenc" not in text.replace("Latency, ms", "")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("largest_w", "Asked for was the largest W."),
        ("smallest_error", "Asked for was the smallest error."),
        ("knee", "Asked for was the knee of the Pareto front, where paying more starts to buy little."),
        (
            "pareto_front",
            "Asked for was the whole Pareto front; of its members, the later stages take the one with the largest W.",
        ),
    ],
)
def test_the_question_is_repeated_before_its_answer(answer, words):
    assert words in choice(answer=answer)


def second(**changes):
    return candidate(SECOND, 0.539, **changes)


@pytest.mark.parametrize("answer", ["largest_w", "pareto_front"])
def test_two_best_that_cannot_be_told_apart_are_said_to_be_so(answer):
    assert runner_up_sentence(trained_search(answer=answer, is_distinguishable=False)) == (
        "**The two best cannot be told apart:** the second best is (2, 2, 64, 64) with W 0.539, and the two differ by "
        "no more than twice the noise of their errors. Taking it instead would be as well founded."
    )


def test_smallest_errors_are_compared_by_their_errors():
    search = trained_search(answer="smallest_error", runner_up=second(error=0.65, error_standard_error=0.01))
    assert runner_up_sentence(search) == (
        "The second best is (2, 2, 64, 64) with an error of 65.0 ± 1.0 % against 61.2 ± 0.4 %; the two differ by more "
        "than twice the noise of their errors."
    )
    search = search.changed(error_measure="loss", runner_up=second(loss=3.11), is_distinguishable=False)
    assert runner_up_sentence(search) == (
        "**The two best cannot be told apart:** the second best is (2, 2, 64, 64) with a loss of 3.110 ± 0.020 against "
        "3.100 ± 0.020 nats, and the two differ by no more than twice the noise of their errors. Taking it instead "
        "would be as well founded."
    )
    other = second(divergence=3.3, divergence_standard_error=0.01)
    search = search.changed(
        error_measure="divergence", runner_up=other, selected=search.selected.changed(divergence=3.2)
    )
    assert "with a divergence of 3.300 ± 0.010 against 3.200 nats; the" in runner_up_sentence(search)
    assert runner_up_sentence(recorded_search(answer="smallest_error")) == (
        "The second best is (2, 2, 64, 64) with an error of 0.612 against 0.612; the table gives no noise of their "
        "errors, so whether the two can be told apart is not known."
    )


@pytest.mark.parametrize("is_distinguishable", [True, False])
def test_a_knee_is_not_judged_by_w(is_distinguishable):
    assert runner_up_sentence(trained_search(answer="knee", is_distinguishable=is_distinguishable)) == (
        "The largest W of the others is that of (2, 2, 64, 64), 0.539."
    )


def test_noise_that_is_known_of_one_alone_tells_nothing_apart():
    known = recorded(second(error_standard_error=0.1, w_standard_error=0.1))
    assert runner_up_sentence(recorded_search(runner_up=known)) == (
        "The second best is (2, 2, 64, 64) with W 0.539; the table gives no noise of one of their errors, so whether "
        "the two can be told apart is not known."
    )
    unknown = second(error_standard_error=None, w_standard_error=None)
    assert runner_up_sentence(trained_search(runner_up=unknown, is_distinguishable=False)) == (
        "The second best is (2, 2, 64, 64) with W 0.539; the noise of one of their errors is unknown, so whether the "
        "two can be told apart is not known."
    )


def test_a_search_with_one_ranked_candidate_names_no_second():
    assert runner_up_sentence(trained_search(runner_up=None)) == (
        "Only one candidate was ranked, so there is nothing to compare the choice with."
    )


BOUND = (
    "The largest W found is at least 75.0 % of the largest of the space, if no network has a higher error than one it "
    "contains: of those not trained to the end, (3, 4, 96, 256) could have most, 0.720."
)


def test_the_guarantee_names_who_could_have_more():
    assert guarantee_sentence(trained_search()) == BOUND
    assert f"- {BOUND}\n" in choice()
    assert guarantee_sentence(recorded_search()) == BOUND.replace("trained to the end", "looked up")
    assert guarantee_sentence(recorded_search(num_tried=8)) == BOUND.replace(
        "trained to the end", "looked up on the last rung"
    )


@pytest.mark.parametrize("answer", ["smallest_error", "knee", "pareto_front"])
def test_the_guarantee_of_w_bounds_no_other_answer(answer):
    assert guarantee_sentence(trained_search(answer=answer)) == f"{BOUND} This does not bound the answer asked for."


def test_the_guarantee_of_capped_and_stuck_candidates_leaves_them_aside():
    caps = {"max_parameters": None, "max_latency_ms": None, "max_error": 0.5}
    assert guarantee_sentence(trained_search(caps=caps, num_on_plateau=1)) == BOUND.replace(
        "of the space,", "of the space within the caps, those no better than guessing left aside,"
    )


def test_the_guarantee_says_where_its_premise_does_not_hold():
    assert guarantee_sentence(trained_search(num_better_than_maximum=2, error_measure="loss")) == (
        f"{BOUND} That premise does not hold for T: 2 of those trained to the end had a lower loss. The lowest of "
        "theirs and T's, each less twice its noise, is taken for the least there is."
    )


def test_a_space_that_was_tried_whole_needs_no_guarantee():
    nothing = trained_search().guarantee.changed(epsilon=0.0, bound=0.0, bound_index=None, bound_shape=None)
    whole = {"guarantee": nothing, "answer": "knee"}
    assert (
        guarantee_sentence(trained_search(**whole)) == "Every candidate was trained to the end, so none was overlooked."
    )
    assert guarantee_sentence(recorded_search(**whole)) == "Every row was looked up, so none was overlooked."


def test_the_regression_is_judged_only_where_it_can_be():
    assert "A regression" not in choice()
    assert (
        "- A regression of the error on the shape, fitted to 5 candidates, ranks those left out of it with a "
        "correlation of 0.83.\n"
    ) in choice(error_model={"num_candidates": 5, "rank_correlation": 0.831})


def test_the_luck_of_seeds_is_said_to_be_covered_or_not():
    assert (
        "- Every candidate was trained with one seed; the standard errors do not cover its luck (`search.num_seeds` "
        "trains more).\n"
    ) in choice(num_seeds=1)
    assert "- Errors are means over 3 seeds, and their spread is in the standard errors.\n" in choice(num_seeds=3)


def test_the_noise_of_a_table_is_its_own_or_unknown():
    assert "- The table gives no noise of its errors, so how far noise moved the choice is not known.\n" in (
        recorded_choice()
    )
    assert "- Standard errors are as the table gives them, for 2 of 2 rows looked up.\n" in recorded_choice(noise=0.01)


CALIBRATION = {
    "num_measured": 5,
    "rank_correlation": 0.9,
    "median_relative_residual": 0.125,
    "largest_relative_residual": 0.5,
    "coefficients": {},
}
QUALITY = (
    "Shapes left out of the model are ranked with a correlation of 0.90 and missed by 12.5 % in the median, 50.0 % at "
    "worst."
)


def told_of_latency(source, *, cost="operations", **calibration):
    rows = candidates(latency_source=source)
    search = trained_search(cost=cost, latency_calibration=CALIBRATION | calibration)
    text = choice_section(search, rows)
    return next(line for line in text.splitlines() if line.startswith("- Latency was"))


def test_latency_is_said_to_be_modelled_for_those_that_were_not_measured():
    start = "- Latency was measured for 5 shapes, the maximum point among them"
    assert told_of_latency("modelled") == f"{start}, and modelled from operations for the rest. {QUALITY}"
    assert told_of_latency("modelled", cost="modelled_latency") == (
        f"{start}; as the cost it was modelled from operations for all, measured or not. {QUALITY}"
    )
    assert told_of_latency("modelled", rank_correlation=None) == (
        f"{start}, and modelled from operations for the rest. They are too few to judge the model."
    )


@pytest.mark.parametrize("cost", ["operations", "measured_latency"])
def test_latency_that_was_measured_everywhere_is_said_to_be_so(cost):
    assert told_of_latency("measured", cost=cost) == (
        "- Latency was measured for 5 shapes, every candidate and the maximum point among them."
    )


def test_an_error_on_a_task_is_told_as_such_and_is_no_share_of_tokens():
    text = choice(error_measure="task", task="library", baseline_errors={"constant": 0.75})
    assert "and a low error, here the error on the task, 1 - its score on dev after a short fine-tuning." in text
    assert "errs by 0.612 ± 0.004 on the task `library` after a short fine-tuning instead of 0.580 ± 0.004" in text
    assert "hidden tokens" not in text.partition("How sure")[0]
    assert "| constant baseline | – | – | – | 0.750 | –" in text


def test_latency_of_another_runtime_or_device_and_the_file_are_said_to_be_so():
    exported = choice(cost="exported_latency", runtime="onnx_int8", latency_calibration=CALIBRATION)
    assert "than the maximum point (milliseconds of the export, modelled from operations where it was not" in exported
    assert "tokens, measured in the search, of classifiers exported as `onnx_int8`." in exported
    selected = trained_search().selected.changed(megabytes=1.234)
    assert "A classifier of the chosen shape takes 1.23 MB in PyTorch." in choice(selected=selected)
    assert "1.23 MB exported as `onnx`." in choice(selected=selected, runtime="onnx")
    assert " MB" not in exported
    rows = candidates(latency_source="modelled")
    brought = choice_section(trained_search(cost="recorded_latency", latency_calibration=CALIBRATION), rows)
    assert "tokens, as recorded elsewhere. Latencies with ~ are modelled from operations, not recorded." in brought
    assert told_of_latency("modelled", cost="recorded_latency") == (
        f"- Latency was recorded for 5 shapes, and modelled from operations for the rest. {QUALITY}"
    )


def test_modelled_latencies_are_marked_in_the_table():
    rows = candidates()
    rows[0] = rows[0].changed(latency_source="modelled")
    text = choice_section(trained_search(), rows)
    assert "| (2, 2, 64, 64) | 100 k | 2.00 M | ~0.75 |" in text
    assert "| **(1, 2, 64, 128)** | 100 k | 2.00 M | 0.75 |" in text
    assert "| maximum point: (4, 4, 128, 512) | 1.00 M | 40.0 M | 0.75 |" in text
    assert "measured in the search. Latencies with ~ are modelled from operations, not measured. Counts are" in text
    assert "~" not in choice()
    # As the cost, that of T is modelled, too.
    maximum = trained_search().maximum_point.changed(latency_source="modelled")
    text = choice_section(trained_search(maximum_point=maximum), candidates(latency_source="modelled"))
    assert "| maximum point: (4, 4, 128, 512) | 1.00 M | 40.0 M | ~0.75 |" in text


def test_candidates_over_the_cap_on_the_error_are_counted_and_not_ranked():
    rows = [*candidates(), candidate(MISSED, 0.6, meets_caps=False, is_pareto=False)]
    text = choice_section(trained_search(), rows)
    assert "The best 2 of 2 ranked candidates" in text
    assert "in the others. Over the cap on the error, hence not ranked: 1 more. Latency is" in text
    assert "\n| (3, 4, 96, 256) |" not in text


@pytest.mark.parametrize(
    ("answer", "shown", "caption"),
    [
        ("largest_w", [*range(1, 9), 12], "The best 8 of 12 ranked candidates, by W, and the chosen one; 3 of them"),
        (
            "pareto_front",
            [*range(1, 9), 10, 11, 12],
            "The best 8 of 12 ranked candidates, by W, and the other 3 on the Pareto front; 3 of them",
        ),
    ],
)
def test_the_choice_and_a_front_that_was_asked_for_are_shown_wherever_they_rank(answer, shown, caption):
    rows = [
        candidate(BertShape(depth, 2, 64, 128), 0.7 - depth / 100, is_selected=depth == 12, is_pareto=depth >= 10)
        for depth in range(1, 13)
    ]
    text = choice_section(trained_search(answer=answer), rows)
    lines = [line.split("|")[1].strip(" *") for line in text.splitlines() if ", 2, 64, 128)" in line and "|" in line]
    assert [int(line.split(",")[0].removeprefix("(")) for line in lines] == shown
    assert caption in text


def test_recorded_candidates_are_tabled_as_recorded():
    text = recorded_choice()
    assert "| **(1, 2, 64, 128)** | 100 k | 2.00 M | 0.75 | 0.612 | 0.541 | yes |" in text
    assert "| maximum point: made up, no network | 1.00 M | 40.0 M | 0.75 | 0.580 | – | – |" in text
    assert (
        "in the others. Parameters, latencies and errors are as recorded; operations are counted from the shapes, "
        "layers alone.\n"
    ) in text
    assert "| 0.612 ± 0.010 | 0.541 ± 0.010 | yes |" in recorded_choice(noise=0.01)


def test_every_measure_that_was_taken_has_its_column_and_its_part_of_the_sentence():
    search = trained_search(error_measure="divergence")
    search = search.changed(
        selected=search.selected.changed(divergence=3.2),
        maximum_point=search.maximum_point.changed(divergence=2.9),
    )
    text = choice_section(search, [search.selected])
    assert "a low error, here the cross-entropy against T on held-out text." in text
    assert "at a loss of 3.100 instead of 3.100 nats and a divergence of 3.200 instead of 2.900 nats." in text
    assert (
        "| Error | Loss | Divergence | W | Pareto |\n| :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        in text
    )
    assert "| 61.2 ± 0.4 % | 3.100 | 3.200 | 0.541" in text
    assert "| unigram baseline | – | – | – | 95.0 % | – | – | – | – |" in text


def test_choice_by_size_of_the_maximum_point_is_shown():
    text = choice()
    assert (
        "The larger the maximum point, the more the error decides. With its parameters and cost multiplied, and for "
        "each measure of the error, the largest W would be that of:\n\n"
        "| Size of T | by error | by loss |\n| :--- | ---: | ---: |\n| 4x | (2, 4, 96, 256) | (3, 4, 96, 256) |"
    ) in text
    assert (
        "With its parameters and cost multiplied, the largest W would be that of:\n\n"
        "| Size of T | by recorded error |\n| :--- | ---: |\n| 1x | (1, 2, 64, 128) |"
    ) in recorded_choice()


def test_a_recorded_shape_that_cannot_be_built_is_named_all_the_same():
    odd = recorded(second(num_attention_heads=3, error_standard_error=None, w_standard_error=None))
    assert "The second best is (2, 3, 64, 64) with W 0.539" in recorded_choice(runner_up=odd)
