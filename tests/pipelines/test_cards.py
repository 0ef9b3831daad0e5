"""The nodes that write model cards, and which cards a run has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from pydantic import ValidationError

from bort_kedro.pipelines.evaluate import create_pipeline
from bort_kedro.pipelines.evaluate.card_nodes import task_card_writer_of, write_encoder_card
from bort_kedro.reporting.settings import CardSettings
from model_card_data import ORIGIN, RESULTS
from project_parameters import parameters
from task_records import export_report
from toy_tasks import MAX_TOKENS, encoder_of
from toy_training import train_classifier

CARD = CardSettings(language=["en"], license="mit", encoder_repository=None)
EXPORTS = export_report().to_json()
OF_THE_RUN = {
    "corpus_manifest": ORIGIN.corpus,
    "search_report": ORIGIN.search,
    "pretraining_metrics": ORIGIN.pretraining.to_json(),
}
OPENED = {
    **{"name": "someone/small", "family": "bert", "num_parameters": 1234},
    **{"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 8, "intermediate_size": 12},
}


@pytest.fixture(scope="module")
def finetune():
    return parameters("smoke").finetune


def test_a_task_card_counts_its_model_and_names_what_was_stated(tiny_tokenizer, finetune):
    model = train_classifier(tiny_tokenizer, num_steps=1)
    count = sum(weights.numel() for weights in model.model.parameters())
    metrics = replace(RESULTS.metrics, metric="accuracy")
    reports = [record.to_json() for record in (metrics, RESULTS.finetuning, RESULTS.examples)]
    text = task_card_writer_of("library")(model, *reports, EXPORTS, finetune, CARD, **OF_THE_RUN)
    read = ModelCard(text)
    assert read.data.license == "mit"
    assert [(each.metric_type, each.metric_value) for each in read.data.eval_results] == [("accuracy", 0.79)]
    assert f"| parameters | {count:,} (" in text
    assert "| tokens of the vocabulary | 300 |" in text
    # Of the smoke configuration.
    assert "| longest input, tokens | 32 |" in text
    assert "text_pair" not in text
    assert "teacher of the task" not in text


def test_the_card_of_an_opened_student_names_it_and_tells_of_no_search_and_no_pretraining(tiny_tokenizer, finetune):
    model = train_classifier(tiny_tokenizer, num_steps=1)
    reports = [record.to_json() for record in (RESULTS.metrics, RESULTS.finetuning, RESULTS.examples)]
    text = task_card_writer_of("library")(model, *reports, EXPORTS, finetune, CARD, opened_student=OPENED)
    assert (
        "\n`someone/small`, a `bert` encoder of the shape (2, 4, 8, 12) (layers, heads, hidden size, intermediate "
        "size), which was opened as it is and fine-tuned by Agora on "
    ) in text
    assert "What the encoder was pretrained on, by whom and at what cost is not known here" in text
    assert "Fine-tuning by Agora follows de Wynter and Perry 2020" in text
    assert ModelCard(text).data.tags == ["bert", "agora", "library"]
    costs = text.split("## What it cost\n")[1].split("| **sum**")[0]
    assert [line.split(" | ")[0] for line in costs.splitlines() if line.startswith("| ")][2:] == [
        "| fine-tuning, 3 trainings"
    ]
    assert "shapes" not in text.split("## Sources")[0]


def test_the_encoder_card_has_the_positions_and_the_mask_of_the_encoder(tiny_tokenizer):
    text = write_encoder_card(encoder_of(tiny_tokenizer), **OF_THE_RUN, card=CARD)
    assert f"| longest input, tokens | {MAX_TOKENS} |" in text
    assert 'fill("The <mask> of a text.")' in text


def test_every_task_with_a_model_of_its_own_has_a_card():
    outputs = create_pipeline(["mnli", "ax", "library"]).outputs()
    assert {name for name in outputs if name.endswith("card")} == {
        "evaluate.mnli.model_card",
        "evaluate.library.model_card",
        "evaluate.encoder_card",
    }


def test_an_opened_student_has_a_card_for_each_task_and_none_for_itself():
    outputs = create_pipeline(["mnli", "ax"], opens_student=True).outputs()
    assert {name for name in outputs if name.endswith("card")} == {"evaluate.mnli.model_card"}


def test_a_task_without_a_teacher_needs_no_report_of_one():
    without = create_pipeline(["library"], has_teacher=False, has_rivals=False)
    assert "evaluate.library.teacher_report" not in without.datasets()
    assert "evaluate.library.teacher_report" in create_pipeline(["library"], has_rivals=False).datasets()


def test_a_language_that_is_no_code_is_refused():
    with pytest.raises(ValidationError) as caught:
        CardSettings(language=["English"], license=None, encoder_repository=None)
    assert caught.value.errors()[0]["msg"] == (
        "Value error, language holds ['English'], allowed are codes of two or three small letters such as en"
    )
