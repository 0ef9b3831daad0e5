"""What student, twin and teacher are scored by."""

import numpy as np
import pytest

from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.pretraining.scores import score_distances, score_encoders
from bort_kedro.text.tokens import Tokens
from toy_pretraining import PUBLISHED, mixture


@pytest.mark.parametrize(
    ("score", "distillation", "others"),
    [(score_encoders, PUBLISHED, {"top_k": None}), (score_distances, mixture(masked_lm=0.0, relations=1.0), {})],
    ids=["tokens", "distances"],
)
def test_without_a_twin_all_else_is_scored_alike(
    tiny_tokenizer, tiny_vocabulary, tiny_blocks, score, distillation, others
):
    def encoder(seed):
        config = bert_config(BertShape(2, 2, 16, 24), vocabulary_size=tiny_vocabulary.size, max_positions=32)
        return Pretrained(build_masked_lm(config, seed=seed), tiny_tokenizer)

    encoders = {"student": encoder(1), "undistilled": encoder(2), "teacher": encoder(3)}
    tokens = Tokens(tiny_vocabulary, dict.fromkeys(("train", "validation", "test"), tiny_blocks))

    def scored(names):
        return score(
            {name: encoders[name] for name in names},
            tokens,
            distillation,
            seconds=dict.fromkeys(encoders, 1.0),
            num_steps=3,
            twin_lacks="distillation",
            num_threads=1,
            precision="no",
            **others,
        )

    whole, alone = scored(encoders), scored(["student", "teacher"])
    assert alone.undistilled is alone.student_minus_undistilled is None
    assert np.isfinite(whole.student_minus_undistilled.difference)
    assert alone == whole.changed(undistilled=None, student_minus_undistilled=None)
