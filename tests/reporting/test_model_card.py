"""Model cards say what their data says, in the form that the hub's own library reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from huggingface_hub import EvalResult, ModelCard

from bort_kedro.evaluation.scores import Interval
from bort_kedro.evaluation.task_metrics import TaskMetrics
from bort_kedro.reporting.model_card import encoder_card, task_card
from bort_kedro.tasks.table import find_task
from model_card_data import DISTANCES, EXPORTS, NOTHING_STATED, ORIGIN, RESULTS, SCORES, SIZE, STATED, TAGGED
from task_records import split

CHOICE = replace(
    RESULTS,
    task=find_task("copa"),
    metrics=TaskMetrics("accuracy", "plain", {"test": SCORES}),
    finetuning=RESULTS.finetuning.model_copy(update={"labels": ("wrong", "right"), "method": "plain"}),
    teacher=None,
)
REGRESSION = replace(
    RESULTS,
    task=find_task("stsb"),
    metrics=TaskMetrics("pearson", "agora"),
    finetuning=RESULTS.finetuning.model_copy(update={"labels": ("value",)}),
)
CARDS = {
    "tagged": lambda: task_card(TAGGED, SIZE, ORIGIN, NOTHING_STATED),
    "classification": lambda: task_card(replace(RESULTS, exports=EXPORTS), SIZE, ORIGIN, STATED),
    "choice": lambda: task_card(CHOICE, SIZE, ORIGIN, NOTHING_STATED),
    "regression": lambda: task_card(REGRESSION, SIZE, ORIGIN, NOTHING_STATED),
    "marked_spans": lambda: task_card(replace(RESULTS, task=find_task("wsc"), has_pairs=False), SIZE, ORIGIN, STATED),
    "encoder": lambda: encoder_card(SIZE, "<mask>", ORIGIN, STATED),
}


def card(results=RESULTS, settings=NOTHING_STATED):
    return ModelCard(task_card(results, SIZE, ORIGIN, settings))


def section(text, title):
    return text.split(f"## {title}\n\n")[1].split("\n\n## ")[0]


@pytest.mark.parametrize("name", CARDS)
def test_cards_are_those_that_a_person_has_read(golden, name):
    golden.check(f"{name}_card.md", CARDS[name]())


def test_a_pretraining_without_a_teacher_in_its_loop_is_not_said_to_be_under_one():
    alone = replace(ORIGIN, pretraining=ORIGIN.pretraining.changed(twin_lacks="start"))
    assert [name for name, _ in alone.trainings()][-1] == "pretraining"
    assert [name for name, _ in ORIGIN.trainings()][-1] == "pretraining under the teacher"


def test_a_twin_that_was_left_out_has_no_row():
    alone = ORIGIN.pretraining.changed(undistilled=None, student_minus_undistilled=None)
    text = encoder_card(SIZE, "<mask>", replace(ORIGIN, pretraining=alone), STATED)
    whole = encoder_card(SIZE, "<mask>", ORIGIN, STATED)
    gone = [line for line in whole.splitlines() if line not in text.splitlines()]
    assert [line.split(" | ")[0] for line in gone] == [f"| {ORIGIN.pretraining.twin}"]


def test_the_metadata_of_a_fine_tuned_model_reads_back():
    assert {name: value for name, value in card(settings=STATED).data.to_dict().items() if name != "model-index"} == {
        "language": ["en", "de"],
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["bert", "bort", "optimal-subarchitecture", "knowledge-distillation", "agora", "mrpc"],
        "base_model": "someone/small-encoder",
        "datasets": ["nyu-mll/glue"],
        "metrics": ["f1", "accuracy"],
    }


def test_scores_on_the_test_split_are_the_evaluation_results():
    common = {
        "task_type": "text-classification",
        "dataset_type": "nyu-mll/glue",
        "dataset_name": "MRPC (official test)",
        "dataset_config": "mrpc",
        "dataset_split": "test",
    }
    assert card().data.model_name == "bort_kedro-mrpc"
    assert card().data.eval_results == [
        EvalResult(metric_type="f1", metric_value=0.84, metric_name="F1 (standard error 0.0100)", **common),
        EvalResult(metric_type="accuracy", metric_value=0.79, metric_name="Accuracy", **common),
    ]


def test_a_card_that_is_read_and_written_again_is_the_same():
    text = task_card(RESULTS, SIZE, ORIGIN, STATED)
    assert ModelCard(str(ModelCard(text))).data.to_dict() == ModelCard(text).data.to_dict()
    assert ModelCard(text).text in text


def test_an_interval_goes_before_the_standard_error():
    splits = RESULTS.metrics.splits | {"test": replace(SCORES, interval=Interval(0.8212, 0.8587, 0.95, 1000))}
    results = replace(RESULTS, metrics=replace(RESULTS.metrics, splits=splits))
    assert card(results).data.eval_results[0].metric_name == "F1 (95% interval 0.8212 to 0.8587)"
    assert (
        "| test (official test) | f1 | 0.8400 | 0.8212 to 0.8587 (95%) | 0.6800, beaten | 0.8300, not beaten | 1,725 |"
        in card(results).text
    )
    assert (
        "| dev (half of the official dev) | f1 | 0.8600 | ± 0.0100 | 0.6800, beaten | 0.8500, not beaten | 204 |"
        in card(results).text
    )


def test_a_test_split_made_from_dev_is_called_validation():
    examples = RESULTS.examples.model_copy(update={"test": split("other half of the official dev", 204)})
    result = card(replace(RESULTS, examples=examples)).data.eval_results[0]
    assert (result.dataset_split, result.dataset_name) == ("validation", "MRPC (other half of the official dev)")


def test_what_is_not_stated_is_said_to_be_so():
    limits = section(card().content, "Limits")
    assert "- The language of the texts is not stated." in limits
    assert "- The licence is not stated. Texts and tasks have licences of their own." in limits
    assert {"language", "license", "base_model"}.isdisjoint(card().data.to_dict())
    assert "not stated" not in card(settings=STATED).text


def test_hours_of_every_training_that_led_to_the_model_are_summed():
    # 1800 + 720 + 360 + 180 + 90 seconds.
    cost = section(card().content, "What it cost")
    assert "| search for the shape | 30 min 0 s | 0.500 |" in cost
    assert "| fine-tuning, 3 trainings | 1 min 30 s | 0.025 |" in cost
    assert "| **sum** | **52 min 30 s** | **0.875** |" in cost
    assert "AMD EPYC, 2 cores, accelerators: none." in cost
    assert "Energy and CO2 were not measured and are not estimated." in cost


def test_a_teacher_that_is_a_file_is_told_of_and_has_no_row_of_cost():
    teacher = RESULTS.teacher.model_copy(update={"method": "recorded", "num_units": {"dev": 100, "pool": 12_000}})
    text = card(replace(RESULTS, teacher=teacher)).text
    assert "the most alike to those that were answered wrong on dev among 12,000 whose labels" in text
    assert "teacher of the task" not in text
    assert "fine-tuned on the task before" not in text


def test_recorded_labels_that_were_learned_as_rows_are_told_of():
    teacher = RESULTS.teacher.model_copy(update={"method": "recorded", "num_units": {"dev": 100, "pool": 12_000}})
    method = RESULTS.finetuning.model_copy(update={"method": "weak_supervision"})
    text = card(replace(RESULTS, teacher=teacher, finetuning=method)).text
    assert "and fine-tuned by weak supervision on MRPC (GLUE)" in text
    assert "Beside the labelled examples it learned 12,000 texts, or fewer where some were near-duplicates" in text
    assert "Agora trains" not in text
    assert (
        "and fine-tuned by distillation on"
        in card(replace(RESULTS, finetuning=method.model_copy(update={"method": "distilled"}))).text
    )


def test_a_task_without_a_teacher_has_no_row_for_one_and_is_not_tagged():
    results = replace(RESULTS, teacher=None, finetuning=RESULTS.finetuning.model_copy(update={"method": "plain"}))
    assert "teacher of the task" not in card(results).text
    assert "agora" not in card(results).data.tags
    assert "and fine-tuned plainly on MRPC (GLUE): classification into `0`, `1`." in card(results).text
    assert "and fine-tuned by Agora on MRPC (GLUE)" in card().text


def test_size_is_that_of_the_model():
    size = section(card().content, "Size")
    assert "| parameters | 246,600 (247 k) |" in size
    assert "| weights in fp32, MB | 1.0 |" in size
    assert "| longest input, tokens | 96 |" in size


def test_exports_are_shown_with_what_they_lose_and_gain():
    size = section(card(replace(RESULTS, exports=EXPORTS)).content, "Size")
    assert "| PyTorch | 1.0 | 0.8400 | 2.50 | 1.0x |  |" in size
    assert "| ONNX Runtime int8 | 0.4 | 0.7000 | 0.50 | 5.0x | refused |" in size


def test_a_regression_says_that_its_score_is_the_value():
    scored = replace(SCORES, metrics={"pearson": 0.84, "spearman": 0.8})
    results = replace(REGRESSION, metrics=TaskMetrics("pearson", "agora", {"test": scored}))
    assert "`score` is the value itself" in section(card(results).content, "How to use")
    assert card(results).data.metrics == ["pearsonr", "spearmanr"]


def test_multiple_choice_claims_no_pipeline_and_shows_how_options_are_compared():
    assert card(CHOICE).data.pipeline_tag is None
    assert card(CHOICE).data.eval_results[0].task_type == "multiple-choice"
    assert "best = options[int(model(**inputs).logits[:, 0].argmax())]" in card(CHOICE).text
    assert 'text, options = "The premise.", ["What was the cause? One choice.", "..."]' in card(CHOICE).text


@pytest.mark.parametrize(
    ("task", "has_pairs", "example"),
    [
        ("boolq", True, '{"text": "The passage.", "text_pair": "The question."}'),
        ("qnli", True, '{"text": "The question.", "text_pair": "The sentence."}'),
        ("multirc", True, '{"text": "The passage.", "text_pair": "The question? One answer."}'),
        ("cola", False, '"The sentence."'),
        ("order", False, '"The text."'),
    ],
)
def test_the_example_of_use_says_which_text_goes_where_and_cuts_as_training_did(task, has_pairs, example):
    results = replace(RESULTS, task=find_task(task), has_pairs=has_pairs, metrics=TaskMetrics("accuracy", "agora"))
    said = f"classify({example}, truncation=True, max_length={SIZE.max_tokens})"
    assert said in section(card(results).content, "How to use")


def test_a_test_split_of_the_users_own_is_not_claimed_to_be_that_of_the_hub():
    examples = RESULTS.examples.model_copy(update={"test": split("user's test", 9)})
    (result, _) = card(replace(RESULTS, examples=examples)).data.eval_results
    assert (result.dataset_type, result.dataset_config, result.dataset_split) == ("GLUE", None, "test")


def test_a_teacher_that_was_opened_has_no_row_of_cost():
    teacher = ORIGIN.pretraining.teacher.model_copy(update={"seconds": 0.0})
    origin = replace(ORIGIN, pretraining=ORIGIN.pretraining.model_copy(update={"teacher": teacher}))
    text = encoder_card(SIZE, "<mask>", origin, STATED)
    assert "teacher of the pretraining" not in text
    assert "teacher of the pretraining | 12 min 0 s" in encoder_card(SIZE, "<mask>", ORIGIN, STATED)


def test_a_task_without_labels_on_test_has_no_evaluation_results():
    results = replace(RESULTS, metrics=TaskMetrics("f1", "agora"))
    assert card(results).data.eval_results is None
    assert "nothing was scored" in section(card(results).content, "Scores")


def test_the_card_of_the_encoder_has_its_masked_accuracy_and_perplexity():
    read = ModelCard(encoder_card(SIZE, "<mask>", ORIGIN, STATED))
    assert read.data.pipeline_tag == "fill-mask"
    assert read.data.get("base_model") is None
    values = {result.metric_type: result.metric_value for result in read.data.eval_results}
    assert values == {"accuracy": 0.267, "perplexity": 47.1}
    assert read.data.eval_results[0].metric_name == "Masked accuracy (standard error 0.0040)"
    assert "| this encoder | 26.7 ± 0.4 % | 47.1 |" in read.text
    assert "| the most frequent token | 3.9 % | – |" in read.text
    assert 'fill("The <mask> of a text.")' in read.text
    assert "| **sum** | **48 min 0 s** | **0.800** |" in read.text
    assert "train split, 6,826 documents, of a corpus of 10,502 documents and 800,510 words from numpy" in read.text


@pytest.mark.parametrize("has_pairs", [True, False])
def test_the_example_of_use_has_as_many_texts_as_the_task(has_pairs):
    use = section(card(replace(RESULTS, has_pairs=has_pairs)).content, "How to use")
    assert ("text_pair" in use) is has_pairs


def test_the_card_of_an_encoder_that_predicts_no_tokens_tells_of_its_distance_from_the_teacher():
    origin = replace(ORIGIN, pretraining=DISTANCES)
    text = encoder_card(SIZE, "<mask>", origin, STATED)
    assert "| this encoder | 0.0123 ± 0.0004 |" in text
    assert "pipeline_tag: feature-extraction" in text
    assert "It predicts no tokens; its masked-LM head was not trained." in text
    assert "fill-mask" not in text
    assert "over 12,779 tokens of the" in text
