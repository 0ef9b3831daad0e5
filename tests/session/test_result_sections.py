"""What the terminal says of each stage's records."""

import pytest

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.finetuning.report import TrialReport
from bort_kedro.pretraining.report import BaselineScore, EncoderScore, Lead, PretrainingMetrics
from bort_kedro.session.result_sections import (
    corpus_section,
    examples_section,
    finetuning_section,
    pretraining_section,
    search_section,
    tasks_section,
)
from bort_kedro.session.screen import screen
from bort_kedro.tasks.splits import ExamplesReport
from search_results import candidate, candidates, recorded, recorded_search, trained_search
from task_records import FINETUNING, examples, export_format, export_report, floor, rival, split, task

SHAPES = "(layers, heads, hidden, intermediate)"


def test_a_search_shows_the_choice_the_others_by_w_and_the_largest_and_says_how_sure_it_is():
    rows = [*candidates(), candidate(BertShape(3, 2, 64, 64), 0.3, is_pareto=False, latency_ms=None)]
    section = search_section(trained_search(), rows)
    assert section.title == f"Shapes {SHAPES} by W over error, largest_w chosen"
    assert section.header == (
        *("", "shape, * Pareto front", "parameters", "operations", "latency ms", "error", "loss", "w"),
    )
    assert section.rows == (
        ("chosen", "(1, 2, 64, 128) *", "100,000", "2,000,000", "0.75", "0.612", "3.100", "0.5410"),
        ("", "(2, 2, 64, 64) *", "100,000", "2,000,000", "0.75", "0.612", "3.100", "0.5390"),
        ("", "(3, 2, 64, 64)", "100,000", "2,000,000", "–", "0.612", "3.100", "0.3000"),
    )
    assert section.last == (*("largest", "(4, 4, 128, 512)", "1,000,000", "40,000,000", "0.75", "0.580", "3.100", "–"),)
    assert section.sentences == (
        "The second best is (2, 2, 64, 64) with W 0.539; the two differ by more than twice the noise of their errors.",
        "Strategy fptas, 2 short trainings. The largest W found is at least 75.0 % of the largest of the space, if no "
        "network has a higher error than one it contains: of those not trained to the end, (3, 4, 96, 256) could have "
        "most, 0.720.",
    )


def test_a_run_that_has_not_seen_the_table_shows_the_two_best():
    section = search_section(trained_search(is_distinguishable=False))
    assert [row[:2] for row in section.rows] == [("chosen", "(1, 2, 64, 128) *"), ("", "(2, 2, 64, 64) *")]
    assert section.sentences[0].startswith("The two best cannot be told apart: the second best is (2, 2, 64, 64)")


def test_the_choice_is_first_whatever_its_w():
    rows = [candidate(BertShape(depth, 2, 64, 128), depth / 10, is_selected=depth == 1) for depth in (1, 2, 3)]
    section = search_section(trained_search(answer="smallest_error"), rows)
    assert section.title.endswith("smallest_error chosen")
    assert [row[-1] for row in section.rows] == ["0.1000", "0.3000", "0.2000"]


def test_the_longest_title_fits_a_hundred_columns():
    rows = [candidate(BertShape(depth, 2, 64, 128), 0.5, is_selected=depth == 1) for depth in range(1, 301)]
    section = search_section(trained_search(error_measure="divergence", answer="smallest_error"), rows)
    assert screen([section], [], height=18, width=100)[0] == (
        f"Shapes {SHAPES} by W over divergence, smallest_error chosen (10 of 300)"
    )
    assert max(map(len, screen([section], [], height=18, width=100))) <= 100


def test_candidates_that_failed_are_counted():
    said = search_section(trained_search(num_failed=2)).sentences[1]
    assert said.startswith("Strategy fptas, 2 short trainings; 2 candidate(s) failed, as the report says of each. ")
    assert " of the largest of the space, those that failed left aside, if no network has" in said


def test_a_search_of_a_table_says_no_word_on_trainings_and_has_its_own_cost():
    report = recorded_search(num_trained=12, num_tried=12, cost="joules", is_network=False)
    rows = [recorded(row).model_copy(update={"cost": 3.25}) for row in candidates()]
    section = search_section(report, rows)
    assert section.title.startswith(f"Rows {SHAPES}")
    assert section.header[2] == "joules"
    assert [row[2] for row in section.rows] == ["3.25", "3.25"]
    assert section.last[0] == "made up"
    assert "train" not in " ".join(section.sentences)
    assert section.sentences[1].startswith("Strategy fptas, 12 rows looked up. The largest W found")


STUDENT = EncoderScore(accuracy=0.483, accuracy_standard_error=0.005, seconds=90.0)
METRICS = PretrainingMetrics(
    student=STUDENT,
    teacher=STUDENT.model_copy(update={"accuracy": 0.208}),
    undistilled=STUDENT.model_copy(update={"accuracy": 0.469}),
    student_minus_undistilled=Lead(difference=0.014, standard_error=0.002),
    twin_lacks="start",
    bigram=BaselineScore(accuracy=0.161),
    num_predicted=1000,
    num_steps=8000,
)


def test_a_student_stands_beside_its_twin_its_teacher_and_counting():
    section = pretraining_section(METRICS, "(2, 4, 96, 128)")
    assert section.title == "Pretraining further from given weights: hidden tokens predicted on unseen text"
    assert dict(zip(section.header, section.rows[0], strict=True)) == {
        "student (2, 4, 96, 128)": "48.3 ± 0.5 %",
        "random start": "46.9 ± 0.5 %",
        "points ahead": "+1.4 ± 0.2",
        "larger encoder": "20.8 ± 0.5 %",
        "word pairs counted": "16.1 %",
    }


def test_a_student_of_an_encoder_that_predicts_nothing_is_told_by_its_distance():
    far = EncoderScore(distance=0.25, distance_standard_error=0.01, seconds=3.0)
    section = pretraining_section(
        METRICS.changed(
            student=far,
            teacher=far.changed(distance=0.0, distance_standard_error=None),
            undistilled=far.changed(distance=0.35),
            student_minus_undistilled=Lead(difference=0.1, standard_error=0.02),
            twin_lacks="distillation",
            bigram=None,
        )
    )
    assert section.title == (
        "Pretraining under a larger teacher: distance from the larger encoder, in nats, on unseen text"
    )
    assert dict(zip(section.header, section.rows[0], strict=True)) == {
        "student": "0.250 ± 0.010",
        "no teacher": "0.350 ± 0.010",
        "nats ahead": "+0.100 ± 0.020",
        "larger encoder": "0.000",
    }


def test_a_student_without_a_twin_stands_alone():
    section = pretraining_section(METRICS.changed(undistilled=None, student_minus_undistilled=None))
    assert section.header == ("student", "larger encoder", "word pairs counted")


LIBRARY = task(
    "library",
    method="agora",
    score=0.583,
    interval_low=0.564,
    interval_high=0.602,
    floors={"constant": floor(0.386, 0.197, 0.01), "tfidf": floor(0.636, -0.053, 0.01)},
    rivals={"plain": rival(0.02, 0.009, 0.563)},
)


def test_a_score_stands_beside_floors_plain_fine_tuning_and_the_fastest_export():
    report = export_report(
        pytorch=export_format(median_ms=0.1),
        onnx=export_format(median_ms=0.9, score_after=0.583, bytes=1_000_000),
        onnx_int8=export_format(median_ms=0.5, score_after=0.581, bytes=260_000),
        openvino_int8=export_format(median_ms=0.2, is_refused=True),
    )
    section = tasks_section([LIBRARY, task("order")], {"library": report})
    assert section.title == "Tasks, accuracy, on test examples that fine-tuning never saw"
    assert [dict(zip(section.header, row, strict=True)) for row in section.rows] == [
        {
            "task": "library",
            "method": "agora",
            "score": "58.3 %",
            "interval": "56.4 to 60.2",
            "constant": "38.6 %",
            "TF-IDF": "63.6 %",
            "plain": "56.3 %",
            "fastest export": "onnx_int8 58.1 %, 0.50 ms, 0.3 MB",
        },
        {
            "task": "order",
            "method": "plain",
            "score": "70.0 %",
            "interval": "± 2.3",
            "constant": "50.0 %",
            "TF-IDF": "60.0 %",
            "plain": "–",
            "fastest export": "–",
        },
    ]
    assert section.sentences == ("Not beaten beyond noise: TF-IDF on library.",)


def test_tasks_of_several_metrics_name_each_and_no_export_has_no_column():
    better = task("cola", metric="matthews_correlation", floors={"constant": floor(0.0, 0.7, 0.02)})
    section = tasks_section([LIBRARY.changed(floors={}), better], {})
    assert section.title == "Tasks, each by its metric, on test examples that fine-tuning never saw"
    assert section.header == ("task", "method", "metric", "score", "interval", "constant", "plain")
    assert [row[2] for row in section.rows] == ["accuracy", "matthews correlation"]
    assert section.sentences == ("Every score is better, beyond its noise, than what stands beside it.",)


@pytest.mark.parametrize("formats", [{"pytorch": export_format()}, {"onnx": export_format(is_refused=True)}])
def test_a_task_whose_exports_were_all_refused_has_none(formats):
    assert tasks_section([LIBRARY], {"library": export_report(**formats)}).rows[0][-1] == "none"


TRIAL = TrialReport(
    learning_rate=0.001,
    weight_decay=0.0,
    warmup_share=0.1,
    batch_tokens=512,
    seed=0,
    num_steps=10,
    num_steps_done=10,
    look_every=5,
    dev_score=0.612,
    has_diverged=False,
    seconds=1.0,
    num_tokens=100,
)


def test_models_that_were_not_scored_yet_are_told_by_dev():
    section = finetuning_section({"library": FINETUNING.changed(best=TRIAL), "ax": FINETUNING.changed(num_trials=0)})
    assert section.title == "Fine-tuned models, by the score on dev, by which they were chosen"
    assert section.header == ("task", "method", "metric", "on dev", "trainings")
    assert section.rows == (("library", "agora", "accuracy", "61.2 %", "2"), ("ax", "agora", "accuracy", "–", "0"))


def test_a_corpus_is_a_line_and_examples_are_counted_by_split():
    manifest = {"documents": 9237, "words": 800_510, "documents_by_split": {"train": 8000, "test": 1237}}
    corpus = corpus_section(manifest)
    assert corpus.title == "Corpus: 9,237 documents, 800,510 words"
    assert corpus.sentences == ("Documents by split: train 8,000, test 1,237.",)
    section = examples_section({"library": examples(train="built-in train", test="built-in test")})
    assert section.header == ("task", "train", "dev", "test", "labels in train")
    assert section.rows == (("library", "4", "–", "4", ""),)


def test_labels_of_train_are_counted_as_far_as_there_is_room():
    def shown(**labels):
        report = ExamplesReport(train=split("user's train").model_copy(update={"labels": labels}))
        return examples_section({"mine": report}).rows[0][-1]

    assert shown(negative=1041, nuetral=1) == "negative: 1,041; nuetral: 1"
    assert shown(minimum=0.0, mean=2.71828, maximum=5.0) == "minimum: 0; mean: 2.718; maximum: 5"
    assert shown(**{f"intent{number}": 9 for number in range(9)}) == (
        "intent0: 9; intent1: 9; intent2: 9; intent3: 9; …"
    )
