"""Train a byte-level BPE tokenizer, or open one from the hub or a folder."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bort_kedro.errors import TokenizerError
from bort_kedro.opening import PretrainedFiles
from bort_kedro.text.pieces import pieces_of
from bort_kedro.text.tokens import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# RoBERTa's special tokens in RoBERTa's order, which gives them ids 0 to 4 here.
SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
SENTENCE_PIECE_SPACE = "▁"
PARAMETER_PATH = "params:corpus.tokenizer"
# As much of a run without white space as the training takes for one word: each merge goes over all of a word, so that
# one of megabytes, such as an image in base64, would take hours.
_LONG_WORD = re.compile(r"\S{1000}(?=\S)")


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int, max_positions: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE as GPT-2 and RoBERTa use it: ``<s> A </s>``, pairs ``<s> A </s></s> B </s>``.

    Args:
        texts: Training texts; the order does not matter.
        vocabulary_size: V, special tokens and the 256 bytes included.
        max_positions: Longest sequence the encoder takes, in tokens.

    Raises:
        TokenizerError: If the texts support fewer ids than were asked for.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    pieces = (_LONG_WORD.sub(r"\g<0> ", piece) for text in texts for piece in pieces_of(text))
    tokenizer.train_from_iterator(pieces, trainer)
    reached = tokenizer.get_vocab_size()
    if reached < vocabulary_size:
        raise TokenizerError(
            f"A vocabulary of {vocabulary_size} ids is more than the corpus supports: byte-pair encoding found "
            f"{reached}, after which no pair of tokens occurs twice. Set vocabulary_size under "
            f"{PARAMETER_PATH} to at most {reached}, or give a larger corpus."
        )
    ids = tokenizer.get_vocab()
    start, end = SPECIAL_TOKENS["bos_token"], SPECIAL_TOKENS["eos_token"]
    tokenizer.post_processor = processors.RobertaProcessing((end, ids[end]), (start, ids[start]), add_prefix_space=True)
    return _wrap(tokenizer, max_positions)


def _wrap(tokenizer: object, max_positions: int) -> PreTrainedTokenizerFast:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    special = {**SPECIAL_TOKENS, "mask_token": AddedToken("<mask>", lstrip=True, special=True)}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_positions,
        model_input_names=["input_ids", "attention_mask"],
        cls_token="<s>",  # noqa: S106
        sep_token="</s>",  # noqa: S106
        **special,
    )


def open_tokenizer(name_or_path: str, *, max_positions: int) -> PreTrainedTokenizerFast:
    """Open a tokenizer from the hub or a folder and check that masked-LM training can use it.

    Raises:
        TokenizerError: If it cannot be opened, or has `masking_faults`.
    """

    def refusal(reason: str) -> TokenizerError:
        return TokenizerError(
            f"The tokenizer `{name_or_path}` cannot be opened: {reason}. Expected a hub id (with a network) or a "
            f"folder with tokenizer.json. Change `pretrained` under {PARAMETER_PATH}."
        )

    tokenizer = PretrainedFiles(name_or_path, refusal).tokenizer()
    if faults := masking_faults(tokenizer):
        raise TokenizerError(
            f"The tokenizer `{name_or_path}` cannot serve masked-LM training: {' and '.join(faults)}. Choose another "
            f"as `pretrained` under {PARAMETER_PATH}."
        )
    tokenizer.model_max_length = max_positions
    return tokenizer


def masking_faults(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Why masked-LM training cannot use a tokenizer; nothing where it can."""
    # transformers makes one of special tokens, and of the mark of a space, where the files of a tokenizer are missing.
    words = {token for token in tokenizer.get_vocab() if token.strip(SENTENCE_PIECE_SPACE)}
    faults = {
        "it has no mask token": tokenizer.mask_token is None,
        "it has no padding token": tokenizer.pad_token is None,
        "it is not a fast tokenizer": not tokenizer.is_fast,
        "it has no tokens but special ones": words <= set(tokenizer.all_special_tokens),
    }
    return [fault for fault, is_found in faults.items() if is_found]


def num_ids(tokenizer: PreTrainedTokenizerFast) -> int:
    """V: word embeddings that its ids need; more than it has tokens where some ids are left out."""
    return 1 + int(max(tokenizer.get_vocab().values()))


def special_frame(tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[int]]:
    """Ids that the tokenizer puts before and after a single sequence, such as those of ``<s>`` and ``</s>``."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    framed = tokenizer("a")["input_ids"]
    start = next(index for index in range(len(framed)) if framed[index : index + len(bare)] == bare)
    return framed[:start], framed[start + len(bare) :]


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Hash of what a fast tokenizer does to text; not of truncation and padding, which each call of it sets anew."""
    backend = tokenizer.backend_tokenizer
    if backend.truncation or backend.padding:
        backend = copy.deepcopy(backend)
        backend.no_truncation()
        backend.no_padding()
    return hashlib.sha256(backend.to_str().encode()).hexdigest()[:16]


def vocabulary_of(tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
    """What masked-LM training must know of a tokenizer."""
    before, after = special_frame(tokenizer)
    return Vocabulary(
        size=num_ids(tokenizer),
        mask_id=tokenizer.mask_token_id,
        pad_id=tokenizer.pad_token_id,
        special_ids=tuple(sorted(tokenizer.all_special_ids)),
        fingerprint=tokenizer_fingerprint(tokenizer),
        start_id=before[0] if before and [*before, *after].count(before[0]) == 1 else None,
    )
