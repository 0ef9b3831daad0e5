"""A teacher and its student, pretrained on text files, for the real tasks of the fine-tuning benchmark."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from distillation_corpora import base_parameters, draw_corpus, text_of

from bort_kedro.core.shapes import BertShape
from bort_kedro.datasets.text_sources import TextFilesDataset
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.models.pretrained import Pretrained
from bort_kedro.models.tokenizer import train_tokenizer
from bort_kedro.models.trimming import vocabulary_map
from bort_kedro.training.distillation import Distillation
from bort_kedro.training.masked_lm import MaskedLmScore
from bort_kedro.training.pretraining import PretrainingSettings, new_encoder, pretrain, score

SHAPE = BertShape(4, 4, 128, 256)
TEACHER_SHAPE = BertShape(4, 4, 256, 1024)
STUDENT_STEPS = 800
TEACHER_STEPS = 2500
BATCH_TOKENS = 1024
VOCABULARY_SIZE = 8192
CHARACTERS = 12_000_000
SEQUENCE_LENGTH = 128
MAX_POSITIONS = 256
NUM_THREADS = 2


@dataclass(frozen=True)
class Encoders:
    """What was pretrained, and how well it predicts hidden tokens of unseen text."""

    student: Pretrained
    teacher: Pretrained
    student_score: MaskedLmScore
    teacher_score: MaskedLmScore
    num_characters: int


def pretrained_encoders(corpus: str, states: Path) -> Encoders:
    """Pretrain both, or find what was pretrained before.

    Args:
        corpus: Patterns of text files, set apart by spaces.
        states: Folder of training states.
    """
    base = base_parameters()
    parameters = base.model_copy(
        update={
            "corpus": base.corpus.model_copy(
                update={"sequence_length": SEQUENCE_LENGTH, "max_positions": MAX_POSITIONS}
            )
        }
    )
    texts = TextFilesDataset(shlex.split(corpus)).load()
    drawn = draw_corpus("texts", texts, parameters, characters=CHARACTERS)
    train = drawn.texts("train")
    tokenizer = train_tokenizer(train, vocabulary_size=VOCABULARY_SIZE, max_positions=MAX_POSITIONS)
    tokens = text_of(drawn, tokenizer, parameters).tokens
    kept = TrainingStates(states, keep=1)
    stage = parameters.pretrain_distill

    def trained(shape: BertShape, params: object, num_steps: int, name: str, taught: Distillation | None) -> Pretrained:
        values = params.model_dump() | {"batch_tokens": BATCH_TOKENS, "num_threads": NUM_THREADS}  # type: ignore[attr-defined]
        settings = PretrainingSettings.from_mapping(values, num_steps=num_steps)
        model = new_encoder(shape, tokens, max_positions=MAX_POSITIONS, settings=settings)
        pretrain(
            model, tokens, settings, states=kept, name=name, distillation=taught, description=f"pretraining: {name}"
        )
        return Pretrained(model.requires_grad_(False), tokenizer)

    teacher = trained(TEACHER_SHAPE, stage.teacher, TEACHER_STEPS, "teacher", None)
    taught = Distillation(teacher, vocabulary_map(tokenizer, tokenizer), **stage.distillation.model_dump())
    student = trained(SHAPE, stage.student, STUDENT_STEPS, "student", taught)
    scores = [score(each.model, tokens, split="test", num_threads=NUM_THREADS) for each in (student, teacher)]
    return Encoders(student, teacher, *scores, sum(map(len, train)))
