from dataclasses import replace

import pytest

from bort_kedro.encoders.pretrained import require_same_tokenizer
from bort_kedro.errors import ModelFolderError
from bort_kedro.text.tokenizer import tokenizer_fingerprint, vocabulary_of
from bort_kedro.text.tokens import Tokens


def test_a_model_is_not_trained_on_ids_of_another_tokenizer(tiny_tokenizer):
    vocabulary = vocabulary_of(tiny_tokenizer)
    require_same_tokenizer(tiny_tokenizer, Tokens(vocabulary, {}), model="teacher_encoder", stage="pretrain_distill")
    other = Tokens(replace(vocabulary, fingerprint="0123456789abcdef"), {})
    with pytest.raises(ModelFolderError) as caught:
        require_same_tokenizer(tiny_tokenizer, other, model="teacher_encoder", stage="pretrain_distill")
    assert "`teacher_encoder` was made with another tokenizer" in str(caught.value)
    assert "`tokens` (0123456789abcdef)" in str(caught.value)
    assert "Run `kedro run --pipelines pretrain_distill` again" in str(caught.value)


def test_a_tokenizer_that_cuts_and_pads_is_the_same_before_and_after_a_call_that_does_not(tiny_tokenizer):
    plain = tokenizer_fingerprint(tiny_tokenizer)
    tiny_tokenizer.backend_tokenizer.enable_truncation(5)
    tiny_tokenizer.backend_tokenizer.enable_padding(length=7)
    assert tokenizer_fingerprint(tiny_tokenizer) == plain
    assert tiny_tokenizer.backend_tokenizer.truncation["max_length"] == 5
    tiny_tokenizer("a")
    assert tiny_tokenizer.backend_tokenizer.truncation is None
    assert tokenizer_fingerprint(tiny_tokenizer) == plain
