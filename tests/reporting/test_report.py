"""The report says what its inputs say, and says failures plainly."""

import io
import math
import re

import pandas as pd
import pytest

from bort_kedro.encoders.shapes import BORT, BORT_EXCHANGED, BertShape
from bort_kedro.evaluation.leaderboards import Leaderboard
from bort_kedro.latency.conditions import speed_rows
from bort_kedro.pretraining.report import CacheError, TrimmingCost
from bort_kedro.reporting.markdown import duration, large, number, percent, table, times
from bort_kedro.reporting.paper_claims import CLAIMS
from bort_kedro.reporting.report import build_report
from bort_kedro.reporting.report_choice import ANSWERS
from bort_kedro.reporting.report_delivery import exports_section, leaderboard_text
from bort_kedro.reporting.report_sections import verdict
from bort_kedro.reporting.stage_costs import stage_costs
from bort_kedro.reporting.task_rows import TaskRow
from report_data import report_inputs
from search_results import CHOSEN, recorded_search, trained_search
from task_records import export_format, export_report, rival, task


@pytest.fixture
def inputs():
    return report_inputs()


def test_report_names_the_shape_its_advantages_and_the_corpus(inputs):
    text = build_report(**inputs)
    assert text.startswith("# A small BERT for this corpus: (1, 2, 64, 128)\n")
    assert "9,237 documents, 1,250,000 words, from numpy 2.3.0" in text
    assert "10.0x fewer parameters, does 20.0x fewer operations" in text
    assert "guesses 61.2 ± 0.4 % of the hidden tokens wrong instead of 58.0 ± 0.4 %" in text
    assert "trained 2 of 24 candidates" in text


def test_a_student_that_wins_is_said_to_beat_its_rivals(inputs):
    text = build_report(**inputs)
    assert "**beats** the bigram baseline by 9.0 ± 0.4 percentage points" in text
    assert "**beats** the same shape trained without a teacher by 1.5 ± 0.5 percentage points" in text
    assert "did not beat" not in text.lower()


def test_verdict_of_a_student_that_lost_says_did_not_beat():
    text = verdict("the bigram baseline", difference=-0.02, standard_error=0.004)
    assert "**did not beat** the bigram baseline: it is 2.0 ± 0.4 percentage points" in text
    assert text.endswith("of masked accuracy behind.")


@pytest.mark.parametrize(("difference", "side"), [(0.008, "ahead"), (-0.008, "behind")])
def test_verdict_within_two_standard_errors_says_did_not_beat_and_why(difference, side):
    text = verdict("the bigram baseline", difference=difference, standard_error=0.004)
    assert "**did not beat**" in text
    assert f"0.8 ± 0.4 percentage points of masked accuracy {side}" in text
    assert "cannot be told apart" in text


def test_tasks_that_lose_to_the_best_constant_answer_are_named(inputs):
    assert "Every task beats the best constant answer by more than twice the standard error." in build_report(**inputs)
    inputs["tasks"][1] = task("order", beats_majority=False, advantage=0.01)
    text = build_report(**inputs)
    assert "**Did not beat** the best constant answer by more than twice the standard error: `order`." in text
    assert "- 1 of 2 tasks beat the best constant answer by more than twice the standard error.\n" in text


def test_task_row_shows_method_metric_and_scores_with_standard_errors(inputs):
    inputs["tasks"][1] = task("order", method="agora", metric="f1_answers", advantage=-0.004)
    text = build_report(**inputs)
    assert (
        "| `library` | plain | accuracy | 400 | 70.0 ± 2.3 % | 50.0 % | +20.0 ± 4.5 | 72.0 ± 2.2 % | 5.0 % |\n"
        "| `order` | agora | f1 answers | 400 | 70.0 ± 2.3 % | 50.0 % | -0.4 ± 4.5 | 72.0 ± 2.2 % | 5.0 % |\n"
    ) in text


def test_leads_over_rivals_are_shown_where_agora_ran_and_nowhere_else(inputs):
    title = "Points that Agora is ahead of other ways to spend as many steps"
    assert title not in build_report(**inputs)
    rivals = {"plain": rival(0.021, 0.01), "distilled": rival(-0.005, 0.02)}
    inputs["tasks"] = [task("library", method="agora", rivals=rivals), task("order")]
    text = build_report(**inputs)
    assert title in text
    assert (
        "| Task | labelled examples alone | labelled examples with the teacher's beliefs |\n"
        "| :--- | ---: | ---: |\n"
        "| `library` | +2.1 ± 1.0 | -0.5 ± 2.0 |\n\n"
    ) in text


def test_speed_is_measured_against_what_was_timed_and_counted_against_both(inputs):
    text = build_report(**inputs)
    row = next(line for line in text.splitlines() if line.startswith("| **chosen shape**"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[5:8] == ["2.00", "1.90 to 2.20", "75.0x"]
    assert cells[9] == "–"
    assert float(cells[10].rstrip("x").replace(",", "")) > 100
    assert "Not timed in this configuration: BERT-large." in text


def with_costs(inputs):
    """The report with what its own inputs say of costs."""
    costs = stage_costs(inputs["search"], inputs["pretraining"], {}, inputs["tasks"])
    return build_report(**inputs, costs=costs, device="an abacus")


def test_costs_add_up(inputs):
    text = with_costs(inputs)
    assert "| search | 2 candidates and the maximum point | 2 min 5 s | 0.035 | 4.00 k |" in text
    # 125 + 100 + 60 + 60 + 2 * 20
    assert "| **sum** | – | **6 min 25 s** | **0.107** | **4.00 k** counted |" in text
    assert "this report was written on an abacus." in text
    assert "its teacher" not in text
    assert "other methods, to compare" not in text


def test_teachers_and_rivals_of_a_task_stand_among_the_costs(inputs):
    inputs["tasks"] = [task("library", teacher_seconds=30.0, rival_seconds=70.0), task("order")]
    text = with_costs(inputs)
    assert (
        "| finetune | task `library`: its teacher | 30 s | 0.008 | not counted |\n"
        "| finetune | task `library`: 3 trials | 20 s | 0.006 | not counted |\n"
        "| finetune | task `library`: other methods | 1 min 10 s | 0.019 | not counted |\n"
        "| finetune | task `order`: 3 trials | 20 s | 0.006 | not counted |\n"
        # 125 + 100 + 60 + 60 + 30 + 20 + 70 + 20
        "| **sum** | – | **8 min 5 s** |"
    ) in text
    # 60 without a teacher, 70 of the rivals.
    assert "Of it 2 min 10 s went into what the result is only held against." in text


def test_a_search_of_a_table_took_no_time_and_is_no_cost(inputs):
    text = with_costs(inputs | {"search": recorded_search(num_tried=12, num_trained=3, trainings_spent=4.0)})
    assert "| search |" not in text
    assert "short trainings" not in text


def test_what_was_not_made_has_no_section(inputs):
    text = build_report(**inputs)
    assert "## What each stage cost" not in text
    assert "## Exports" not in text
    assert "GLUE" not in text


def test_averages_of_leaderboards_stand_below_the_tasks(inputs):
    boards = {
        "GLUE": Leaderboard(average=0.7125, tasks={}, missing=(), diagnostics={}, note="average of 2 of 9 tasks"),
        "SuperGLUE": Leaderboard(
            average=None,
            tasks={},
            missing=(),
            diagnostics={},
            note="no average: none of the 8 tasks was run, only diagnostics",
        ),
    }
    said = (
        "- **GLUE**: 71.2 %, average of 2 of 9 tasks.\n"
        "- **SuperGLUE**: no average: none of the 8 tasks was run, only diagnostics."
    )
    assert leaderboard_text(boards) == said
    assert f"\n\n{said}\n\n## Speed\n" in build_report(**inputs, leaderboard=boards)


def test_every_export_is_held_against_pytorch(inputs):
    int8 = {"bytes": 260_000, "max_difference": 0.0123, "score_after": 0.69, "median_ms": 0.5, "speedup": 4.0}
    reports = {
        "library": export_report(
            pytorch=export_format("PyTorch"), onnx_int8=export_format("ONNX int8", **int8, is_refused=True)
        )
    }
    section = exports_section(reports)
    assert (
        "| `library` | PyTorch | 1.00 | – | 70.0 % | 2.00 | 1.0x | kept |\n"
        "| `library` | ONNX int8 | 0.26 | 0.012 | 69.0 % | 0.50 | 4.0x | **refused** |\n"
    ) in section
    assert "Times are of 1 x 128 tokens with 1 thread(s)" in section
    assert "it is refused, too, where its score falls by more than 0.5 points." in section
    assert "logits of 64 of its examples" in section
    assert f"## Exports\n\n{section}\n\n## Beside the paper" in build_report(**inputs, exports=reports)


def test_an_export_that_drops_too_far_and_is_kept_says_so():
    row = export_format("ONNX int8", bytes=260_000, max_difference=0.01, score_after=0.69, median_ms=0.5, speedup=4.0)
    report = export_report(onnx_int8=row).model_copy(update={"refuses_drops": False})
    section = exports_section({"library": report})
    assert "| 4.0x | kept, **drops too far** |\n" in section
    assert "more than 0.5 points is kept (`evaluate.export.refuse`)." in section


def test_scores_and_times_have_their_intervals_in_brackets_where_there_are_some(inputs):
    interval = {"interval_low": 0.655, "interval_high": 0.7449, "interval_level": 0.95}
    inputs["tasks"] = [task("library", **interval), task("order")]
    inputs["speed"][0] |= {"interval_low_ms": 1.95, "interval_high_ms": 2.05}
    text = build_report(**inputs)
    assert "| `library` | plain | accuracy | 400 | 70.0 ± 2.3 % (65.5 to 74.5) | 50.0 % |" in text
    assert "| `order` | plain | accuracy | 400 | 70.0 ± 2.3 % | 50.0 % |" in text
    assert "| 2.00 (1.95 to 2.05) | 1.90 to 2.20 | 75.0x |" in text
    assert "In brackets is the 95 % bootstrap interval of a score (`evaluate.bootstrap`)." in text


def test_published_speeds_stand_beside_those_measured_here(inputs):
    assert "measured here" not in build_report(**inputs)
    conditions = {name: inputs["speed"][0][name] for name in ("batch_size", "sequence_length", "num_threads")}
    rows = speed_rows(
        {"chosen": CHOSEN, "bort": BORT, "bert_base": BertShape(12, 12, 768, 3072)},
        {"chosen": (2.0, 1.9, 2.2), "bort": (40.0, 39.0, 41.0), "bert_base": (150.0, 148.0, 155.0)},
        vocabulary_size=50_265,
        max_positions=512,
        sequence_length=128,
    )
    inputs["speed"] = [row | conditions | {"vocabulary_size": 50_265} for row in rows]
    text = build_report(**inputs)
    assert (
        "| Bort is | Shape | Paper | by operations | measured here |\n| :--- | ---: | ---: | ---: | ---: |\n"
        "| faster on a CPU (than BERT-base, our reading) | Bort as released | 7.9x | 3.6x | 3.8x |\n\n"
    ) in text


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_question_is_the_one_that_was_asked(inputs, answer):
    text = build_report(**inputs | {"search": trained_search(answer=answer)})
    assert (
        "The search ranks by W, the W-coefficient of de Wynter and Perry (2020), and was asked for "
        f"{ANSWERS[answer]}. The chosen shape is then pretrained under a larger teacher, fine-tuned on tasks and "
        "measured."
    ) in text


def test_limits_claim_one_seed_for_scores_alone(inputs):
    text = build_report(**inputs | {"search": trained_search(num_seeds=3)})
    assert (
        "- Standard errors of pretraining and tasks cover the examples drawn, not the seed: each score is that of one "
        "training. They take the examples of a task as independent, though several may come from one document.\n"
    ) in text
    assert "one seed" not in text


def test_report_tells_how_to_look_further(inputs):
    text = build_report(**inputs)
    for words in ("`make viz`", "`make mlflow`", "`data/06_models`", "`data/08_reporting`"):
        assert words in text


def test_no_cell_is_empty_and_every_row_has_as_many_as_its_header(inputs):
    for block in re.findall(r"(?:^\|.*\n)+", with_costs(inputs), flags=re.MULTILINE):
        widths = {line.count("|") for line in block.splitlines()}
        assert len(widths) == 1
        assert "|  |" not in block


def test_paper_figures_are_counted_for_each_shape_called_bort():
    # The counts of the design notes; 7.9x fits the released alternative alone.
    released = [round(claim.count(BORT), 1) for claim in CLAIMS]
    exchanged = [round(claim.count(BORT_EXCHANGED), 1) for claim in CLAIMS]
    assert released[:2] == [77.3, 52.0]
    assert exchanged[:2] == [56.0, 39.0]
    assert [claim.nearest() for claim in CLAIMS] == ["bort_exchanged"] * 5 + ["bort_alternative"]


def test_report_says_which_shape_the_paper_fits(inputs):
    text = build_report(**inputs)
    assert "5 of 6 figures fit Bort, H and I exchanged (4, 8, 768, 1024) best" in text
    assert "| parameters | 56 M | 77.3 M | **56.0 M** | 64.7 M |" in text
    assert "**None of the paper's figures speaks of the shape chosen here**, (1, 2, 64, 128)" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (large(56_000_000), "56.0 M"),
        (large(999), "999"),
        (large(1_234), "1.23 k"),
        (large(340_000_000_000), "340 G"),
        (percent(0.4134, 0.0041), "41.3 ± 0.4 %"),
        (percent(math.nan), "–"),
        (number(None, 2), "–"),
        (number(12345.678, 1), "12,345.7"),
        (times(12.84), "12.8x"),
        (times(1234.5), "1,234x"),
        (duration(42.4), "42 s"),
        (duration(200), "3 min 20 s"),
    ],
)
def test_numbers_are_written_for_readers(text, expected):
    assert text == expected


def test_table_escapes_bars():
    assert table(["a", "b"], [["x|y", "1"]]) == "| a | b |\n| :--- | ---: |\n| x\\|y | 1 |"


def test_a_chosen_shape_that_is_a_bort_is_said_to_be_one(inputs):
    search = inputs["search"]
    inputs["search"] = search.changed(selected=search.selected.changed(**BORT.to_row()))
    text = build_report(**inputs)
    assert "The shape chosen here is one of these: Bort as released." in text
    assert "None of the paper's figures" not in text


def test_summary_gives_measured_ratios_only_where_they_were_measured(inputs):
    text = build_report(**inputs)
    assert "One pass takes 2.00 ms. BERT-base takes 75.0x the time and" in text
    assert re.search(r"BERT-large [\d,]+x the operations\.", text)


def test_costs_of_a_cached_teacher_and_of_a_trimmed_vocabulary_are_told_where_there_are_any(inputs):
    cache = CacheError(top_k=8, divergence=0.5, divergence_with_cache=0.45, relative_error=0.1)
    trimming = TrimmingCost(ids_kept=700, ids_dropped=300, parameters_saved=38_700, teacher_mass_on_dropped=0.0123)
    assert "cached" not in build_report(**inputs)
    assert "trimmed" not in build_report(**inputs)
    inputs["pretraining"] = inputs["pretraining"].changed(teacher_cache=cache, trimming=trimming)
    assert (
        "- The teacher was cached, its 8 likeliest tokens for each hidden one: the divergence that the student learned "
        "from is 0.4500 nats, that over the whole vocabulary 0.5000 (10.0 % are left out; validation split).\n"
        "- The vocabulary was trimmed from 1,000 tokens to 700, which saves 38,700 parameters; 1.23 % of the teacher's "
        "belief falls on the others.\n"
    ) in build_report(**inputs)


def test_the_report_says_what_test_is_which_rows_were_skipped_and_which_points_were_copies(inputs):
    half = "the other half of the official dev, stratified by label, seed 0"
    points = {"num_made": 1200, "num_kept": 1000, "num_copies": 150}
    inputs["tasks"] = [task("rte", test_split=half, num_rows_skipped=2, **points), task("library")]
    text = build_report(**inputs)
    assert (
        f"- `rte`: scored on {half}; 2 malformed rows were skipped; Agora learned from 1,000 of the 1,200 points "
        "it made; 150 were thrown away as near-duplicates of dev or test.\n- `library`: scored on the official test."
    ) in text


def test_further_scores_and_the_teacher_are_told_of_a_table_as_it_was_saved(inputs):
    teacher = {"teacher_score": 0.81, "teacher_bar": 2 / 3, "is_teacher_over": True}
    inputs["tasks"] = [
        task("mrpc", other_scores="accuracy 0.750", **teacher),
        task("rte", **teacher | {"teacher_score": 0.55, "is_teacher_over": False}),
        task("ax"),
    ]
    expected = (
        "- `mrpc`: scored on the official test; further scores there: accuracy 0.750; the teacher scored 81.0 % on "
        "dev and had to be over 66.7 %.\n"
        "- `rte`: scored on the official test; the teacher scored 55.0 % on dev and had to be over 66.7 %, so the task "
        "was fine-tuned plainly, without Agora.\n"
        "- `ax`: scored on the official test.\n"
    )
    assert expected in build_report(**inputs)
    saved = pd.DataFrame([row.to_row() for row in inputs["tasks"]]).to_csv(index=False)
    inputs["tasks"] = [TaskRow.from_row(row) for row in pd.read_csv(io.StringIO(saved)).to_dict("records")]
    assert expected in build_report(**inputs)


def test_agora_is_shown_beside_what_others_make_of_the_same_steps(inputs):
    inputs["tasks"] = [task("library", method="agora", rivals={"plain": rival(0.031, 0.009)}), task("order")]
    text = build_report(**inputs)
    assert "| Task | labelled examples alone |" in text
    assert "| `library` | +3.1 ± 0.9 |" in text
    assert "| `order` | " not in text.split("labelled examples alone")[1].split("##")[0]


def test_the_report_says_what_the_teacher_cost_in_time_and_which_leads_are_clear(inputs):
    metrics = inputs["pretraining"]
    faster = metrics.undistilled.model_copy(update={"seconds": 24.0})
    inputs["pretraining"] = metrics.model_copy(update={"undistilled": faster})
    clear, unclear = rival(0.021, 0.010), rival(0.011, 0.010)
    inputs["tasks"] = [task("order", rivals={"plain": clear}), task("library", rivals={"plain": unclear})]
    text = build_report(**inputs)
    # 60 s against 24 s.
    assert "those under the teacher took 2.5x as long." in text
    assert "Ahead of all of them by more than twice the standard error: `order`. The standard" in text


def test_tasks_are_named_and_built_in_ones_explained(inputs):
    inputs["tasks"] = [task("order"), task("rte")]
    assert "\n\nTasks: `order`, whether the word order is intact; `rte`.\n" in build_report(**inputs)


def test_plots_stand_at_the_end_of_their_sections(inputs):
    text = build_report(**inputs, plots={"speed_plot": "The chosen shape is fast"})
    assert "\n\n![The chosen shape is fast](speed_plot.svg)\n\n## Beside the paper" in text
    assert text.count("![") == 1
