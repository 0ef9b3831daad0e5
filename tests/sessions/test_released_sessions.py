"""An encoder that somebody has as the student, in the form in which Bort was published: tasks alone are learned."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import yaml

from disturbed_encoders import with_trained_head
from toy_tasks import examples_of

pytestmark = pytest.mark.session

RELEASED = ("run", "--env", "released")
ROBERTA = {"vocab_size": 300, "max_position_embeddings": 66, "pad_token_id": 1, "type_vocab_size": 1}
GRID = {"batch_tokens": [512], "weight_decays": [0.01], "warmup_shares": [0.1], "seeds": [0], "max_tokens": 32}
SMALL = {
    "task_training": {"num_threads": 1},
    "finetune": {
        "student": "data/01_raw/bort",
        "tasks": ["sst2"],
        "rivals": [],
        "training": {**GRID, "learning_rates": [3e-3], "num_epochs": 1},
        "teacher": {
            "encoder": "data/01_raw/roberta",
            "training": {**GRID, "learning_rates": [3e-3], "num_epochs": 12, "dropout": 0.0, "patience": None},
        },
        "agora": {"transformation": {"max_tokens": 32, "batch_tokens": 512}},
    },
    "evaluate": {
        "speed": {"compare_with": ["tinybert_4"], "turn_ms": 0, "vocabulary_size": 300, "sequence_lengths": [16]},
        "export": {"formats": [], "sequence_length": 16, "num_calibration": 4, "timed_rounds": 3},
    },
}

# 300 words, 66 places and one type of 16 units, two layer norms, and of the layer attention and the feed-forward part.
OPENED_PARAMETERS = 16 * (300 + 66 + 1) + 2 * 2 * 16 + 4 * 16 * 17 + (16 * 12 + 12) + (12 * 16 + 16) + 2 * 16


def write_sst2(folder):
    """A word of each text tells its label; of the 64 in dev half are kept for the test."""
    folder.mkdir(parents=True)
    rows = examples_of(num_train=96, num_dev=64, num_test=8).assign(label=lambda table: (table["label"] == "row") * 1)
    for split in ("train", "dev"):
        rows[rows["split"] == split][["text", "label"]].set_axis(["sentence", "label"], axis=1).to_csv(
            folder / f"{split}.tsv", sep="\t", index=False
        )
    hidden = rows.loc[rows["split"] == "test", "text"].reset_index(drop=True)
    hidden.rename("sentence").to_csv(folder / "test.tsv", sep="\t", index_label="index")


def write_encoders(folder, tokenizer):
    """A BERT without a masked-LM head, in half precision and with RoBERTa's kind of tokenizer, and a RoBERTa."""
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaForMaskedLM, RobertaTokenizer

    typed = RobertaTokenizer(tokenizer_object=tokenizer.backend_tokenizer)
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    student = BertConfig(**ROBERTA, **layers, hidden_size=16, intermediate_size=12)
    # Small weights would take it longer to learn the task.
    teacher = RobertaConfig(**ROBERTA, **layers, hidden_size=64, intermediate_size=64, initializer_range=0.1)
    BertModel(student, add_pooling_layer=False).half().save_pretrained(folder / "bort")
    with_trained_head(RobertaForMaskedLM(teacher)).save_pretrained(folder / "roberta")
    for name in ("bort", "roberta"):
        typed.save_pretrained(folder / name)


def test_a_published_student_learns_a_task_by_agora_without_search_and_pretraining(fresh, tiny_tokenizer):
    raw = fresh.root / "data" / "01_raw"
    write_sst2(raw / "tasks" / "SST-2")
    (fresh.root / "conf" / "local" / "parameters_small.yml").write_text(yaml.safe_dump(SMALL))
    status, output = fresh.command(*RELEASED)
    assert status == 1, output
    assert "Traceback" not in output
    told = " ".join(output.split())
    assert "The student `data/01_raw/bort` cannot be opened: it is no folder, seen from " in told
    assert (
        "Change `params:finetune.student` (in conf/released/parameters_finetune.yml, or as `--params "
        "finetune.student=FOLDER`)."
    ) in told

    write_encoders(raw, tiny_tokenizer)
    status, output = fresh.command(*RELEASED)
    assert status == 0, output
    metrics = fresh.read("08_reporting/metrics/sst2.json")
    report = fresh.read("07_model_output/finetuning_report/sst2.json")
    assert (metrics["method"], metrics["test"]["num_examples"]) == ("agora", 32)
    assert metrics["test"]["metric_accuracy"] * 32 in range(33)
    assert report["method"] == "agora"
    assert report["num_examples"] == {"train": 96, "dev": 32, "test": 32, "submission": 8}
    assert fresh.read("07_model_output/opened_student.json") == {
        **{"name": "bort", "family": "bert", "num_parameters": OPENED_PARAMETERS},
        **{"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 12},
    }
    speed = pd.read_csv(fresh.latest("08_reporting/speed_table.csv"))
    assert set(speed.loc[speed["is_chosen"], "hidden_size"]) == {16}
    told = fresh.latest("08_reporting/report.md").read_text("utf-8")
    assert told.startswith("# An encoder as it was opened: (1, 2, 16, 12)\n")
    assert re.findall("^## (.*)", told, re.MULTILINE) == [
        *("In short", "What was asked", "What each stage cost", "Tasks", "Speed", "Exports"),
        *("Beside the paper", "Known limits", "Look further"),
    ]
    assert f"| `sst2` | agora | accuracy | 32 | {100 * metrics['test']['metric_accuracy']:.1f} ± " in told
    assert ">Tasks</h2>" in fresh.latest("08_reporting/report.html").read_text("utf-8")
    card = fresh.latest("08_reporting/model_cards/sst2/README.md").read_text("utf-8")
    assert "`bort`, a `bert` encoder of the shape (1, 2, 16, 12)" in card
    (scores,) = pd.read_csv(fresh.latest("08_reporting/task_scores.csv")).to_dict("records")
    assert scores["task"] == "sst2"
    # The archive is made by this run too, and is right to be refused.
    assert "No GLUE archive was written: SST-2.tsv: 8 examples, expected 1821." in " ".join(output.split())
    models = {path.name for path in (fresh.root / "data" / "06_models").iterdir()}
    assert models == {
        *("finetuning_student", "finetuning_teacher", "finetuned", "finetuned_teachers", "exports"),
        "training_states",
    }
    assert {path.name for path in (fresh.root / "data" / "06_models" / "training_states").iterdir()} == {"finetune"}
