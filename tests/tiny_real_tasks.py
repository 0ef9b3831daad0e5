"""A drawn encoder and a few rows in the layouts of real tasks, for benchmarks that take folders of both."""

from __future__ import annotations

import json

import torch
from transformers import BertConfig, BertModel

from bort_kedro.text.tokenizer import train_tokenizer
from tiny_benchmarks import tiny_text

WORDS = ("rain", "snow", "wind", "sun", "hail", "fog", "ice", "dew", "frost", "mist")


def tiny_encoder(folder):
    """A BERT without a masked-LM head, drawn, with a tokenizer of its own; its folder."""
    tokenizer = train_tokenizer(tiny_text()["text"], vocabulary_size=300, max_positions=128)
    config = BertConfig(
        vocab_size=300,
        num_hidden_layers=4,
        num_attention_heads=4,
        hidden_size=48,
        intermediate_size=64,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def tiny_cola(folder):
    """With an unlabelled test, in the layout of its archive; the folder of all tasks."""
    cola = folder / "glue" / "CoLA"
    cola.mkdir(parents=True)
    rows = [
        f"gj04\t{place % 2}\t\tThe {word} falls on the {other}." for word in WORDS for place, other in enumerate(WORDS)
    ]
    (cola / "train.tsv").write_text("\n".join(rows[:60]) + "\n")
    (cola / "dev.tsv").write_text("\n".join(rows[60:]) + "\n")
    (cola / "test.tsv").write_text("index\tsentence\n0\tThe dew falls.\n")
    return folder


def tiny_copa(folder):
    """Likewise, without a test."""
    copa = folder / "superglue" / "COPA"
    copa.mkdir(parents=True)
    for name, count in (("train", 30), ("val", 20)):
        lines = [
            {
                "premise": f"The {WORDS[place % 10]} fell.",
                "choice1": f"It was {place} o'clock.",
                "choice2": "It was cold.",
                "question": "cause",
                "label": place % 2,
                "idx": place,
            }
            for place in range(count)
        ]
        (copa / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
