"""What the students of a real encoder are made of: the encoder itself, and the corpus under its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.configured import raw_parameters
from benchmarks.distillation.corpora import draw_corpus
from benchmarks.real.arms import num_positions, random_student
from benchmarks.real.setting import DISTILLATION_TOKENS, MAX_TOKENS, Setting
from bort_kedro.configuration import check_parameters
from bort_kedro.datasets.text_sources import TextFilesDataset
from bort_kedro.encoders.last_layer import BERT_LIKE
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.student_start import from_teacher
from bort_kedro.encoders.teachers import TeacherPlace, open_teacher
from bort_kedro.params import Parameters
from bort_kedro.reporting.markdown import large, number
from bort_kedro.text.tokens import Tokens

if TYPE_CHECKING:
    from bort_kedro.encoders.shapes import BertShape
    from bort_kedro.pretraining.distillation import Distillation

PLACE = TeacherPlace("ENCODER", "MAX_TOKENS in benchmarks/real/setting.py")
# Of the search: two trainings of one thread side by side.
ENGINE = {"engine": "loky", "num_workers": 2}


@dataclass(frozen=True)
class Material:
    """What search and distillation share.

    Args:
        setting: What is spent.
        parameters: Of the stages.
        encoder: T, and the teacher.
        tokens: Of the corpus.
        corpus: In words.
    """

    setting: Setting
    parameters: Parameters
    encoder: Pretrained
    tokens: Tokens
    corpus: str


def parameters_of(folder: str, encoder: Pretrained, setting: Setting) -> Parameters:
    """Those of ``conf/encoder``, with one thread a training and as many steps as the setting allows."""
    raw = raw_parameters(
        "encoder",
        corpus={"sequence_length": MAX_TOKENS, "max_positions": num_positions(encoder)},
        search={
            "maximum_point": folder,
            "answer": "smallest_error",
            "budget": setting.budget,
            **ENGINE,
            "training": _training(setting.search_steps),
            "latency": {"sequence_length": MAX_TOKENS},
        },
        pretrain_distill={"student": _training(setting.distillation_steps)},
        # As many relation heads as the encoder has, which divide the widths of its parts.
        distillation={"relations": {"num_heads": encoder.model.config.num_attention_heads}},
    )
    # No built-in task is made.
    raw["corpus"]["splits"]["tasks"] = 0.0
    return check_parameters(raw)


def _training(num_steps: int) -> dict[str, Any]:
    return {"batch_tokens": DISTILLATION_TOKENS, "num_threads": 1, "optimization": {"num_steps": num_steps}}


def read_corpus(patterns: Sequence[str], parameters: Parameters, setting: Setting) -> tuple[Tokens, str]:
    """The files' documents as ids of the encoder, and what they are in words."""
    text = TextFilesDataset(list(patterns)).load()
    characters = setting.characters or int(text["text"].str.len().sum())
    corpus = draw_corpus("corpus", text, parameters, characters=characters, tasks=())
    count = large(len(corpus.tokens.splits["train"].ids))
    return corpus.tokens, f"{number(corpus.num_documents, 0)} documents of {count} tokens to learn from"


def material_of(encoder: str, patterns: Sequence[str], setting: Setting) -> Material:
    """Open the encoder and read the corpus."""
    opened = open_teacher(encoder, sequence_length=MAX_TOKENS, place=PLACE, families=BERT_LIKE, needs_head=False)
    parameters = parameters_of(encoder, opened, setting)
    tokens, corpus = read_corpus(patterns, parameters, setting)
    return Material(setting, parameters, opened, tokens, corpus)


def extracted(shape: BertShape, encoder: Pretrained) -> Pretrained:
    """A shape with as much of the encoder's layers as it can hold."""
    student = random_student(shape, encoder)
    every_id = torch.arange(student.model.config.vocab_size)
    from_teacher(student.model, encoder, every_id, layers=None, narrowing="svd")
    return student


def distillation_of_layers(material: Material) -> Distillation:
    """What the encoder teaches: relations of its attention and hidden states."""
    from bort_kedro.pretraining.distillation import Distillation
    from bort_kedro.text.trimming import vocabulary_map

    tokenizer = material.encoder.tokenizer
    return Distillation(
        material.encoder, vocabulary_map(tokenizer, tokenizer), material.parameters.pretrain_distill.distillation
    )
