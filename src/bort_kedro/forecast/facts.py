"""What a forecast goes by beside the parameters, and what it takes in the place of facts that are not there yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bort_kedro.encoders.shapes import BERT_BASE, BERT_LARGE, BORT, BertShape
from bort_kedro.forecast.work import Encoder

# Encoders of the hub that may be named before anything is downloaded.
KNOWN_ENCODERS = {
    "roberta-large": Encoder(BERT_LARGE, 50265, 514),
    "roberta-base": Encoder(BERT_BASE, 50265, 514),
    "bert-large-uncased": Encoder(BERT_LARGE, 30522, 512),
    "bert-base-uncased": Encoder(BERT_BASE, 30522, 512),
    "bort": Encoder(BORT, 50265, 512),
}
# In the place of any other that is not on this machine.
UNKNOWN_ENCODER = KNOWN_ENCODERS["roberta-large"]
# Tokens of a word, assumed: of a small vocabulary (2.9 were counted with 600 ids), and of one that is not.
SMALL_VOCABULARY = 8192
TOKENS_OF_WORD = {True: 2.5, False: 1.4}
# Characters of an English word and the space behind it, assumed.
CHARACTERS_OF_WORD = 6


@dataclass(frozen=True)
class Examples:
    """Of a task.

    Args:
        num_train: Units to learn from.
        num_dev: Units that are looked at.
        words: Of a unit, on average.
        num_others: Units that are predicted at the end, those of dev left out.
    """

    num_train: int
    num_dev: int
    words: float
    num_others: int = 0


@dataclass(frozen=True)
class Facts:
    """What is there when a forecast is asked for.

    Args:
        vocabulary_size: Of the corpus, once it is tokenised.
        split_tokens: Of each of its splits, once there are such.
        opened: A maximum point that is opened rather than trained, as its configuration has it.
        student: A student that is opened rather than pretrained, likewise.
        selected: The shape that the last search chose.
        examples: Of tasks whose examples are there.
        recorded: Rows of the file of recorded labels of each task that has one.
        precision: What ``auto`` is on the device.
        num_devices: Accelerators, of which each trains one candidate at a time; 0 on a CPU.
        has_other_tokens: Whether there are tokens, of a corpus that the run will replace.
    """

    vocabulary_size: int | None = None
    split_tokens: Mapping[str, int] = field(default_factory=dict)
    opened: Encoder | None = None
    student: Encoder | None = None
    selected: BertShape | None = None
    examples: Mapping[str, Examples] = field(default_factory=dict)
    recorded: Mapping[str, int] = field(default_factory=dict)
    precision: Callable[[str], str] = lambda wanted: "fp16" if wanted == "auto" else wanted
    num_devices: int = 0
    has_other_tokens: bool = False


def tokens_of(words: float, vocabulary_size: int) -> float:
    """Of a text with the two special ones, assumed."""
    return words * TOKENS_OF_WORD[vocabulary_size < SMALL_VOCABULARY] + 2
