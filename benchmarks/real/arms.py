"""The encoders that are fine-tuned beside each other: the real one, its students, and what stands in their place."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bort_kedro.encoders.costs import count_operations
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.families import longest_sequence
from bort_kedro.encoders.initialization import PUBLISHED
from bort_kedro.encoders.pretrained import Pretrained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bort_kedro.encoders.shapes import BertShape

ENCODER = "encoder"
CUT, EXTRACTED, DISTILLED, RANDOM = "cut", "extracted", "distilled", "random"
# What becomes of each shape that was selected, and what the page calls it.
STARTS = {
    DISTILLED: "selected, extracted and distilled",
    EXTRACTED: "selected and extracted, not distilled",
    CUT: "first layers of the encoder, as many as fit",
    RANDOM: "selected, from random weights",
}
# Of random weights.
SEED = 0


@dataclass(frozen=True)
class Arm:
    """One encoder that is fine-tuned on every task.

    Args:
        name: Such as ``half distilled``.
        title: For readers.
        shape: Of its layers.
    """

    name: str
    title: str
    shape: BertShape

    @property
    def is_exported(self) -> bool:
        """Whether it is of use outside of this benchmark."""
        return self.name == ENCODER or self.name.endswith(DISTILLED)

    def operations(self, length: int) -> int:
        """Of the layers, for one sequence."""
        return count_operations(self.shape, sequence_length=length).total


def arms_of(encoder: BertShape, selected: Mapping[str, BertShape], caps: Mapping[str, float]) -> list[Arm]:
    """The encoder, then what is made of each selected shape, and what stands beside it."""
    arms = [Arm(ENCODER, "the encoder", encoder)]
    for cap, shape in selected.items():
        for start, title in STARTS.items():
            own = cut_shape(encoder, caps[cap]) if start == CUT else shape
            arms.append(Arm(f"{cap} {start}", f"{cap}: {title}", own))
    return arms


def cut_shape(encoder: BertShape, cap: float) -> BertShape:
    """As many layers at full width as a share of the operations allows, and one at least."""
    return replace(encoder, num_hidden_layers=max(1, int(cap * encoder.num_hidden_layers)))


def first_layers(encoder: Pretrained, depth: int) -> Pretrained:
    """The encoder without its later layers; nothing is trained."""
    model = copy.deepcopy(encoder.model)
    model.base_model.encoder.layer = model.base_model.encoder.layer[:depth]
    model.config.num_hidden_layers = depth
    return Pretrained(model, encoder.tokenizer)


def num_positions(encoder: Pretrained) -> int:
    """Longest input; every family that can be extracted has one."""
    return int(longest_sequence(encoder.model.config) or 0)


def random_student(shape: BertShape, encoder: Pretrained) -> Pretrained:
    """A shape with drawn weights, the encoder's vocabulary and as many positions."""
    config = bert_config(
        shape,
        vocabulary_size=encoder.model.config.vocab_size,
        max_positions=num_positions(encoder),
        pad_token_id=encoder.tokenizer.pad_token_id,
        initialization=PUBLISHED,
    )
    return Pretrained(build_masked_lm(config, seed=SEED, initialization=PUBLISHED), encoder.tokenizer)
