"""An encoder with the tokenizer it was trained on: the two never travel apart."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bort_kedro.errors import ModelFolderError
from bort_kedro.text.tokenizer import tokenizer_fingerprint
from bort_kedro.text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# Of a configuration: where it was read, by what, and in which precision it was stored.
NO_PART_OF_RESULTS = {"_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}


@dataclass(frozen=True)
class Pretrained:
    """A transformers model and its tokenizer.

    Args:
        model: ``BertForMaskedLM``, ``BertForSequenceClassification``, or a teacher's masked-LM encoder.
        tokenizer: A fast tokenizer with at most as many ids as the model has word embeddings (published teachers pad
            their vocabularies to a round number).
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every weight, of the configuration and of the tokenizer, to tell what a later training depends on."""
        digest = hashlib.sha256(tokenizer_fingerprint(self.tokenizer).encode())
        # Heads, activation and the like leave no trace in the weights.
        config = {key: value for key, value in self.model.config.to_dict().items() if key not in NO_PART_OF_RESULTS}
        digest.update(json.dumps(config, sort_keys=True, default=str).encode())
        for name, parameter in self.model.named_parameters():
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def standalone_tokenizer(pretrained: Pretrained) -> PreTrainedTokenizerFast:
    """The tokenizer with all that its model demands of it, for a folder that is opened without this project.

    ``transformers.pipeline`` gives a model whatever the tokenizer's ``model_input_names`` say and, where it is asked to
    truncate, cuts at ``model_max_length``. A published tokenizer that serves a student knows of types of tokens that
    the student has no embeddings for, and may name no length at all.

    Returns:
        A copy; what it does to text is the same.
    """
    from bort_kedro.encoders.families import longest_sequence

    config, tokenizer = pretrained.model.config, copy.copy(pretrained.tokenizer)
    if getattr(config, "type_vocab_size", 1) <= 1:
        tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
    longest = longest_sequence(config)
    if longest is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
    return tokenizer


def require_same_tokenizer(tokenizer: PreTrainedTokenizerFast, tokens: Tokens, *, model: str, stage: str) -> None:
    """Refuse to train a model on ids that another tokenizer made.

    Args:
        tokenizer: Of the model.
        tokens: To be trained on.
        model: Its name in the catalog.
        stage: The stage that makes the model anew.

    Raises:
        ModelFolderError: If the two tokenizers differ, as after a new corpus.
    """
    own, other = tokenizer_fingerprint(tokenizer), tokens.vocabulary.fingerprint
    if own != other:
        raise ModelFolderError(
            f"`{model}` was made with another tokenizer ({own}) than `tokens` ({other}): the corpus has changed since. "
            f"Run `kedro run --pipelines {stage}` again, then this stage."
        )
