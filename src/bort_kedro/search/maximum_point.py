"""A maximum point that is opened rather than trained: any BERT or RoBERTa encoder of the hub or of a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bort_kedro.encoders.last_layer import BERT_LIKE
from bort_kedro.encoders.teachers import TeacherPlace, open_teacher
from bort_kedro.frozen import JsonObject
from bort_kedro.pretraining.pretrain import definite, score
from bort_kedro.pretraining.scores import teacher_logits
from bort_kedro.search.short_training import comparison
from bort_kedro.text.trimming import vocabulary_map

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.search.settings import SearchSettings
    from bort_kedro.text.tokens import Tokens

PLACE = TeacherPlace("params:search.maximum_point", "params:corpus.max_positions")


def open_encoder(search: SearchSettings, *, max_positions: int) -> Pretrained:
    """T as its files have it, frozen.

    Args:
        search: Names it.
        max_positions: Of the candidates, which take its position embeddings.

    Raises:
        TeacherError: See `encoders.teachers.open_teacher`.
    """
    return open_teacher(str(search.encoder), sequence_length=max_positions, place=PLACE, families=BERT_LIKE)


def error_of(
    encoder: Pretrained, tokens: Tokens, tokenizer: PreTrainedTokenizerFast, search: SearchSettings
) -> JsonObject:
    """What T reaches on the validation split of a corpus in the candidates' vocabulary, in no time and no tokens.

    Its noise is that of the scoring: it has been trained once, elsewhere.
    """
    mapping = vocabulary_map(tokenizer, encoder.tokenizer).to(encoder.model.device)
    settings = definite(search.maximum_point_training())
    compared = comparison(search.error_measure, encoder, mapping)
    quality = score(
        encoder.model,
        tokens,
        split="validation",
        num_threads=settings.num_threads,
        precision=settings.optimization.mixed_precision,
        description="scoring the maximum point",
        logits_of=lambda batch: teacher_logits(encoder, mapping, batch),
        others=compared.others() if compared else {},
    )
    return quality.errors() | {"seconds": 0.0, "num_tokens": 0}
