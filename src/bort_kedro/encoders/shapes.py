"""The four architectural parameters of a BERT encoder, as one value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bort_kedro.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import SupportsInt

    import pandas as pd

# Where a user changes the shapes that the checks below refuse.
PARAMETER_PATH = "params:search.space (or search.maximum_point)"


def head_remainder(hidden_size: int, num_attention_heads: int) -> int:
    """What is left of the hidden size when it is split evenly over the heads; 0 means it can be built."""
    return hidden_size % num_attention_heads


@dataclass(frozen=True, order=True)
class BertShape:
    """Depth D, heads A, hidden size H and intermediate size I of an encoder (de Wynter and Perry 2020).

    Args:
        num_hidden_layers: D, at least 1.
        num_attention_heads: A, at least 1; must divide ``hidden_size``.
        hidden_size: H, width of the residual stream, in units.
        intermediate_size: I, width of the feed-forward layer, in units.

    Raises:
        ShapeError: If a value is below 1, or the heads do not divide the hidden size.
    """

    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    intermediate_size: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise ShapeError(
                    f"BERT shape {self} cannot be built: {name} is {value}, allowed are integers from 1 up. "
                    f"Change it under {PARAMETER_PATH}."
                )
        remainder = head_remainder(self.hidden_size, self.num_attention_heads)
        if remainder:
            divisors = [n for n in range(1, self.num_attention_heads + 1) if self.hidden_size % n == 0]
            raise ShapeError(
                f"BERT shape {self} cannot be built: hidden_size {self.hidden_size} leaves a remainder of "
                f"{remainder} when split over {self.num_attention_heads} heads. Head counts up to "
                f"{self.num_attention_heads} that divide it: {divisors}. Change num_attention_heads or "
                f"hidden_size under {PARAMETER_PATH}."
            )

    def __str__(self) -> str:
        return f"({self.num_hidden_layers}, {self.num_attention_heads}, {self.hidden_size}, {self.intermediate_size})"

    @property
    def identifier(self) -> str:
        """Stable text for files and tables, such as ``D4-A8-H1024-I768``."""
        return f"D{self.num_hidden_layers}-A{self.num_attention_heads}-H{self.hidden_size}-I{self.intermediate_size}"

    def to_row(self) -> dict[str, int]:
        """The four values by name, in the order (D, A, H, I)."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, SupportsInt] | pd.Series) -> BertShape:
        """The shape in a mapping (or pandas row) that has at least the four names."""
        return cls(*(int(row[name]) for name in cls.__dataclass_fields__))


# Columns of the four values in every table, in the order (D, A, H, I).
SHAPE_COLUMNS = tuple(BertShape.__dataclass_fields__)


def shape_text(row: Mapping[str, SupportsInt] | pd.Series) -> str:
    """``(4, 8, 1024, 768)`` from a mapping that has at least the four names; the shape need not be one to build."""
    return f"({', '.join(str(int(row[name])) for name in SHAPE_COLUMNS)})"


# Encoders people know, by their published shapes.
BERT_BASE = BertShape(12, 12, 768, 3072)
BERT_LARGE = BertShape(24, 16, 1024, 4096)
BORT = BertShape(4, 8, 1024, 768)
BORT_EXCHANGED = BertShape(4, 8, 768, 1024)
BORT_ALTERNATIVE = BertShape(2, 16, 1024, 512)
DISTILBERT = BertShape(6, 12, 768, 3072)
MINILM_L6 = BertShape(6, 12, 384, 1536)
TINYBERT_4 = BertShape(4, 12, 312, 1200)


@dataclass(frozen=True)
class KnownShape:
    """A published shape and the name readers know it by."""

    title: str
    shape: BertShape


# By the key that parameters use, most operations first.
KNOWN_SHAPES = {
    "bert_large": KnownShape("BERT-large", BERT_LARGE),
    "bert_base": KnownShape("BERT-base", BERT_BASE),
    "distilbert": KnownShape("DistilBERT shape", DISTILBERT),
    "bort": KnownShape("Bort as released", BORT),
    "bort_exchanged": KnownShape("Bort, H and I exchanged", BORT_EXCHANGED),
    "minilm_l6": KnownShape("MiniLM-L6 shape", MINILM_L6),
    "bort_alternative": KnownShape("Bort, released alternative", BORT_ALTERNATIVE),
    "tinybert_4": KnownShape("TinyBERT-4 shape", TINYBERT_4),
}
