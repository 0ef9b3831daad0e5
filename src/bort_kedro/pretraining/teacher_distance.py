"""How far an encoder is from its teacher on a held-out split, in how their layers relate the tokens of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from bort_kedro.pretraining.distillation import ATTENDED, documents_of, read
from bort_kedro.pretraining.losses import relations_divergence
from bort_kedro.pretraining.masked_lm import evaluation_batches
from bort_kedro.pretraining.taught_batches import with_true_tokens
from bort_kedro.statistics import clustered_standard_error
from bort_kedro.training.throughput import token_lengths

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from bort_kedro.pretraining.distillation import Distillation
    from bort_kedro.pretraining.masked_blocks import MaskedBlocks


@dataclass(frozen=True)
class TeacherDistance:
    """The mean divergence over the tokens of a split, and its parts.

    Args:
        of_tokens: (N,) nats, that of its block for each token, in a fixed order.
        block_of: (N,) the block each token lies in.
    """

    of_tokens: NDArray[np.floating]
    block_of: NDArray[np.integer]

    @property
    def mean(self) -> float:
        """In nats."""
        return float(self.of_tokens.mean())

    @property
    def standard_error(self) -> float:
        """Of that mean, blocks taken as the independent unit."""
        return clustered_standard_error(self.of_tokens, self.block_of)

    def errors(self) -> dict[str, float]:
        """As a search takes it in the place of an error."""
        return {"error": self.mean, "error_standard_error": self.standard_error}


def teacher_distance(
    model: PreTrainedModel,
    distillation: Distillation,
    blocks: MaskedBlocks,
    *,
    batch_tokens: int,
    description: str = "",
) -> TeacherDistance:
    """`losses.relations_divergence` of an encoder's last layer from the teacher's, no token hidden.

    Args:
        model: In the vocabulary of the blocks; left in evaluation mode.
        distillation: The teacher, its layer and the number of relation heads, whatever weight they have.
        blocks: The split.
        batch_tokens: Padded tokens of a pass; decides speed, not the distance.
        description: For the progress bar; empty for silence.
    """
    model.eval()
    device, last = model.device, model.config.num_hidden_layers - 1
    values, tokens, places = [], [], []
    for indices, batch in evaluation_batches(blocks, batch_tokens=batch_tokens, description=description):
        inputs = {name: value.to(device) for name, value in with_true_tokens(batch).items()}
        with torch.inference_mode():
            own = read(model, inputs, attended_in=last, states_of=None, head=None)
            said = distillation.ask(inputs, {"relations"})
            documents = documents_of(inputs)
            found = []
            for row in range(len(indices)):
                mine, taught = ([side[name][row : row + 1] for name in ATTENDED] for side in (own, said))
                num_heads = distillation.settings.relations.num_heads
                found.append(relations_divergence(mine, taught, documents[row : row + 1], num_heads=num_heads))
            # All at once: a device is waited for at each.
            values += torch.stack(found).tolist()
        tokens.append(token_lengths(batch).numpy())
        places.append(indices)
    counts = np.concatenate(tokens)
    return TeacherDistance(np.repeat(values, counts), np.repeat(np.concatenate(places), counts))
