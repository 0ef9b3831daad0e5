"""What is told of an encoder that somebody has and that is opened in the place of one made here."""

from __future__ import annotations

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.frozen import FrozenModel


class OpenedEncoder(FrozenModel):
    """An encoder as its files have it, and the four values of its shape.

    Args:
        name: Of its folder, without the path to it; or hub id.
        family: Its ``model_type`` in transformers.
        num_parameters: Scalars of the encoder without any head.
        num_hidden_layers: D.
        num_attention_heads: A.
        hidden_size: H, in units.
        intermediate_size: I, likewise.
    """

    name: str
    family: str
    num_parameters: int
    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    intermediate_size: int

    @property
    def shape(self) -> BertShape:
        """The four values as one."""
        return BertShape.from_row(dict(self))
