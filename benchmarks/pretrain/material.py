"""What the pretraining benchmarks train and on what: one setting, random ids as text, equal weights for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_kedro.encoders.shapes import BERT_BASE, BORT, BertShape
from bort_kedro.text.tokens import TokenBlocks, Tokens

if TYPE_CHECKING:
    from transformers import BertForMaskedLM, PreTrainedTokenizerFast

    from bort_kedro.pretraining.settings import PretrainingSettings

# RoBERTa's, with its ids 0 to 4 as `text.tokenizer` gives them.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
# The Trainer's default, so that both schedules start alike; the speed does not depend on it.
LEARNING_RATE = 5e-5
DROPOUT = 0.1
MAX_POSITIONS = 512


@dataclass(frozen=True)
class Setting:
    """Shapes and sizes of what is timed.

    Args:
        shape: Of the encoder trained.
        teacher_shape: Of its teacher.
        vocabulary_size: V of both.
        batch_size: Rows of a step.
        sequence_length: Tokens of a row; every row is full.
        masked_share: Of the ordinary tokens, hidden and predicted.
        num_threads: CPU threads.
        timed_steps: Steps whose time counts.
        warmup_steps: Steps before them.
        mixed_precision: ``no`` or ``bf16``.
    """

    shape: BertShape = BORT
    teacher_shape: BertShape = BERT_BASE
    vocabulary_size: int = 50_265
    batch_size: int = 16
    sequence_length: int = 128
    masked_share: float = 0.15
    num_threads: int = 2
    timed_steps: int = 2
    warmup_steps: int = 1
    mixed_precision: str = "no"

    @property
    def num_steps(self) -> int:
        """Steps of a training."""
        return self.warmup_steps + self.timed_steps

    @property
    def step_tokens(self) -> int:
        """Tokens of a step."""
        return self.batch_size * self.sequence_length

    @property
    def num_predicted(self) -> int:
        """Positions predicted in a step."""
        return self.batch_size * round(self.masked_share * (self.sequence_length - 2))


def random_tokens(setting: Setting, *, num_blocks: int | None = None) -> Tokens:
    """Full blocks of random ordinary ids between ``<s>`` and ``</s>``; by default just what the steps need."""
    from bort_kedro.text.tokenizer import vocabulary_of

    count = num_blocks or setting.num_steps * setting.batch_size
    generator = np.random.default_rng(0)
    first, size = len(SPECIAL_TOKENS), (count, setting.sequence_length)
    rows = generator.integers(first, setting.vocabulary_size, size=size).astype(np.uint16)
    rows[:, 0], rows[:, -1] = SPECIAL_TOKENS.index("<s>"), SPECIAL_TOKENS.index("</s>")
    offsets = np.arange(count + 1, dtype=np.int64) * setting.sequence_length
    blocks = TokenBlocks(ids=rows.ravel(), offsets=offsets)
    return Tokens(vocabulary_of(made_up_tokenizer(setting)), {"train": blocks}, "random ids")


def made_up_tokenizer(setting: Setting) -> PreTrainedTokenizerFast:
    """A tokenizer with as many words as the vocabulary has room for; nothing is tokenised with it."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL_TOKENS, *(f"word{number}" for number in range(setting.vocabulary_size - len(SPECIAL_TOKENS)))]
    ids = {word: number for number, word in enumerate(words)}
    start, padding, end, unknown, mask = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(ids, unk_token=unknown)),
        bos_token=start,
        cls_token=start,
        eos_token=end,
        sep_token=end,
        pad_token=padding,
        unk_token=unknown,
        mask_token=mask,
    )


def encoder(shape: BertShape, setting: Setting, *, seed: int = 0) -> BertForMaskedLM:
    """An encoder with random weights: the same ones for everything that trains it."""
    from bort_kedro.encoders.encoder import bert_config, build_masked_lm
    from bort_kedro.encoders.initialization import PUBLISHED

    config = bert_config(
        shape,
        vocabulary_size=setting.vocabulary_size,
        max_positions=MAX_POSITIONS,
        pad_token_id=SPECIAL_TOKENS.index("<pad>"),
        dropout=DROPOUT,
        initialization=PUBLISHED,
    )
    return build_masked_lm(config, seed=seed, initialization=PUBLISHED)


def settings_of(setting: Setting, **changes: Any) -> PretrainingSettings:
    """The project's settings of such a training; keywords change fields of the optimisation."""
    from bort_kedro.encoders.initialization import PUBLISHED
    from bort_kedro.pretraining.settings import PretrainingSettings
    from bort_kedro.training.settings import OptimizationSettings

    optimization = OptimizationSettings(
        num_steps=setting.num_steps,
        learning_rate=LEARNING_RATE,
        warmup_share=0.0,
        weight_decay=0.01,
        adam_beta2=0.999,
        adam_epsilon=1e-8,
        max_gradient_norm=1.0,
        seed=0,
        mixed_precision=setting.mixed_precision,
        checkpoint_every_steps=1_000_000,
        schedule="linear",
        bias_correction=True,
        gradient_accumulation_steps=1,
    )
    return PretrainingSettings(
        optimization=optimization.changed(**changes),
        batch_tokens=setting.step_tokens,
        masked_share=setting.masked_share,
        dropout=DROPOUT,
        initialization=PUBLISHED,
        num_threads=setting.num_threads,
        whole_word_masking=False,
        gradient_checkpointing=False,
        torch_compile=False,
    )


def seconds_between(times: list[float], setting: Setting) -> list[float]:
    """Seconds of each timed step, from the ends of all steps: the first step ends the warm-up."""
    return np.diff(times)[setting.warmup_steps - 1 :].tolist()
