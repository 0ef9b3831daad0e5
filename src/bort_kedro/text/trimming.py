"""Keep the ids that a corpus uses: a smaller tokenizer, and the map from its teacher's ids."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bort_kedro.errors import TokenizerError
from bort_kedro.frozen import JsonObject
from bort_kedro.text.tokenization import encode_texts
from bort_kedro.text.tokenizer import PARAMETER_PATH, num_ids
from bort_kedro.text.vocabulary_map import VocabularyMap, between

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Texts that the tokenizer takes at a time, in parallel.
TEXTS_PER_CALL = 500
# How models that fall back on bytes write one.
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
PLACE = f"{PARAMETER_PATH}.min_count"


def tokens_by_id(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """(V,) token of each id; empty where the tokenizer left an id out."""
    ids = tokenizer.get_vocab()
    tokens = [""] * num_ids(tokenizer)
    for token, number in ids.items():
        tokens[number] = token
    return tokens


def count_ids(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> NDArray[np.int64]:
    """(V,) how often each id occurs in texts, whose special tokens count as the text they are written with."""
    from tokenizers import Tokenizer

    # A copy, whose switches are ours.
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    counts = np.zeros(num_ids(tokenizer), dtype=np.int64)
    for start in range(0, len(texts), TEXTS_PER_CALL):
        chunk = list(texts[start : start + TEXTS_PER_CALL])
        encodings = encode_texts(backend, chunk)
        ids = np.fromiter(chain.from_iterable(encoding.ids for encoding in encodings), dtype=np.int64)
        counts += np.bincount(ids, minlength=len(counts))
    return counts


def trim_tokenizer(
    tokenizer: PreTrainedTokenizerFast, counts: NDArray[np.integer], *, min_count: int
) -> PreTrainedTokenizerFast:
    """The tokenizer without the ids that are rare in a corpus, the others numbered anew in their order.

    Kept are ids that occur ``min_count`` times, special tokens, and the pieces that text falls back on: single
    characters (the 256 bytes of a byte-level BPE), and pieces with a character that has no piece of its own. BPE
    also keeps every merge that makes a kept piece, and what it merges, and theirs: without them the piece would
    not be made. Unigram keeps the piece of lowest score, which sets the price of an unknown character. Text
    whose ids are all kept is then cut as before, and text that was known stays known, where each character of a
    WordPiece vocabulary has a piece of its own (our decision, docs/decisions/0010-vocabulary-trimming.md).

    Args:
        tokenizer: Byte-level or character BPE, WordPiece or Unigram; left as it is.
        counts: (V,) how often each id occurs, as `count_ids` gives it.
        min_count: Ids that occur less often are dropped.

    Raises:
        TokenizerError: If the tokenizer has no unknown token, or is of another kind.
        ValueError: If there are not V counts.
    """
    tokens = tokens_by_id(tokenizer)
    if len(counts) != len(tokens):
        raise ValueError(f"{len(counts)} counts for a tokenizer of {len(tokens)} ids")
    if tokenizer.unk_token is None:
        raise TokenizerError(
            "The tokenizer has no unknown token, and a trimmed vocabulary needs one for what was dropped. "
            f"Set {PLACE} to null, or choose a tokenizer with an unknown token."
        )
    layout = json.loads(tokenizer.backend_tokenizer.to_str())
    trim_model = _TRIM_MODEL.get(layout["model"]["type"])
    if trim_model is None:
        raise TokenizerError(
            f"A tokenizer of kind {layout['model']['type']} cannot be trimmed, only one of {', '.join(_TRIM_MODEL)}. "
            f"Set {PLACE} to null, or choose another tokenizer."
        )
    wanted = {tokens[number] for number in np.flatnonzero(np.asarray(counts) >= min_count)}
    wanted |= set(_special_tokens(tokenizer, layout))
    layout["model"] = trim_model(layout["model"], wanted)
    ids = _pieces(layout["model"])
    added = [token for token in layout["added_tokens"] if token["content"] in wanted]
    for token in added:
        ids.setdefault(token["content"], len(ids))
    layout["added_tokens"] = sorted(
        [token | {"id": ids[token["content"]]} for token in added], key=lambda token: token["id"]
    )
    layout["post_processor"] = _renumber_frame(layout["post_processor"], ids)
    return _like(tokenizer, layout | {"truncation": None, "padding": None})


def vocabulary_map(
    student_tokenizer: PreTrainedTokenizerFast, teacher_tokenizer: PreTrainedTokenizerFast
) -> VocabularyMap:
    """From the teacher's ids to the student's, by the tokens' text.

    Raises:
        TokenizerError: If the student has tokens that the teacher lacks, or no unknown token for what it dropped.
    """
    try:
        return between(tokens_by_id(student_tokenizer), tokens_by_id(teacher_tokenizer), student_tokenizer.unk_token)
    except ValueError as fault:
        raise TokenizerError(
            f"The student's tokenizer is no part of the teacher's: {fault}. The corpus was made "
            "with another tokenizer than that of params:search.maximum_point: run `kedro run --pipelines corpus` and "
            "what depends on it again."
        ) from fault


def trimming_report(
    tokenizer: PreTrainedTokenizerFast,
    trimmed: PreTrainedTokenizerFast,
    *,
    train_counts: NDArray[np.integer],
    train_texts: Sequence[str],
    held_out_texts: Sequence[str],
) -> JsonObject:
    """What trimming saved and what it cost; ``train_counts`` (V,) are those of the whole tokenizer."""
    held_out_counts = count_ids(tokenizer, held_out_texts)
    kept = trimmed.get_vocab()
    is_dropped = np.array([token not in kept for token in tokens_by_id(tokenizer)])
    return size_report(tokenizer, trimmed) | {
        "train": _tokens_report(int(train_counts.sum()), int(count_ids(trimmed, train_texts).sum())),
        "held_out": _tokens_report(int(held_out_counts.sum()), int(count_ids(trimmed, held_out_texts).sum()))
        | {"share_of_dropped_ids": float(held_out_counts[is_dropped].sum() / max(held_out_counts.sum(), 1))},
    }


def size_report(tokenizer: PreTrainedTokenizerFast, trimmed: PreTrainedTokenizerFast) -> JsonObject:
    """Ids before and after trimming; each dropped one saves one embedding parameter per hidden unit."""
    return {
        "ids_before": num_ids(tokenizer),
        "ids_after": num_ids(trimmed),
        "embedding_parameters_saved_per_hidden_unit": num_ids(tokenizer) - num_ids(trimmed),
    }


def _tokens_report(before: int, after: int) -> JsonObject:
    return {"tokens_before": before, "tokens_after": after, "growth": after / max(before, 1) - 1}


def _special_tokens(tokenizer: PreTrainedTokenizerFast, layout: JsonObject) -> Iterator[str]:
    """Tokens that are needed whatever the text: those of a role, those that frame sequences, the model's own."""
    yield from tokenizer.all_special_tokens
    yield from (token["content"] for token in layout["added_tokens"] if token["special"])
    yield from _frame_tokens(layout["post_processor"])
    model = layout["model"]
    if model.get("unk_token") is not None:
        yield model["unk_token"]
    if model.get("unk_id") is not None:
        yield model["vocab"][model["unk_id"]][0]


def _frame_tokens(processor: JsonObject | None) -> Iterator[str]:
    """Tokens that a post-processor puts around a sequence; its five kinds hold them in these places."""
    if processor is not None:
        for inner in processor.get("processors", []):
            yield from _frame_tokens(inner)
        for special in processor.get("special_tokens", {}).values():
            yield from special["tokens"]
        yield from (processor[role][0] for role in ("cls", "sep") if role in processor)


def _renumber_frame(processor: JsonObject | None, ids: dict[str, int]) -> JsonObject | None:
    """The post-processor with new ids, in the places that `_frame_tokens` reads."""
    if processor is None:
        return None
    changed = dict(processor)
    if "processors" in processor:
        changed["processors"] = [_renumber_frame(inner, ids) for inner in processor["processors"]]
    if "special_tokens" in processor:
        changed["special_tokens"] = {
            name: special | {"ids": [ids[token] for token in special["tokens"]]}
            for name, special in processor["special_tokens"].items()
        }
    for role in ("cls", "sep"):
        if role in processor:
            changed[role] = [processor[role][0], ids[processor[role][0]]]
    return changed


def _pieces(model: JsonObject) -> dict[str, int]:
    """Id of each piece of a model, in rising order; added tokens outside it come after."""
    if isinstance(model["vocab"], dict):
        return dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    return {piece: number for number, (piece, _) in enumerate(model["vocab"])}


def _fallback_pieces(model: JsonObject) -> set[str]:
    """Pieces that cannot be spelled with shorter ones, and so must stay for text to stay known."""
    pieces = _pieces(model)
    prefix, suffix = (model.get(mark) or "" for mark in ("continuing_subword_prefix", "end_of_word_suffix"))

    def is_needed(piece: str) -> bool:
        letters = _letters(piece, prefix=prefix, suffix=suffix)
        if len(letters) <= 1 or any(letter not in pieces for letter in letters):
            return True
        return bool(model.get("byte_fallback")) and BYTE_PIECE.fullmatch(piece) is not None

    return {piece for piece in pieces if is_needed(piece)}


def _letters(piece: str, *, prefix: str, suffix: str) -> list[str]:
    """A piece's characters as pieces of their own: ``##ing`` as ``##i``, ``##n``, ``##g``."""
    first = prefix if piece.startswith(prefix) else ""
    last = suffix if piece.endswith(suffix) else ""
    bare = piece.removeprefix(prefix).removesuffix(suffix)
    return [
        f"{prefix if number else first}{letter}{last if number == len(bare) - 1 else ''}"
        for number, letter in enumerate(bare)
    ]


def _keep(model: JsonObject, kept: set[str]) -> JsonObject:
    """A model with a dictionary of pieces, of which some stay."""
    return model | {"vocab": {piece: number for number, piece in enumerate(p for p in _pieces(model) if p in kept)}}


def _trim_word_piece(model: JsonObject, wanted: set[str]) -> JsonObject:
    return _keep(model, wanted | _fallback_pieces(model))


def _trim_bpe(model: JsonObject, wanted: set[str]) -> JsonObject:
    prefix = model.get("continuing_subword_prefix") or ""
    made = [left + right.removeprefix(prefix) for left, right in model["merges"]]
    parts: dict[str, list[str]] = {}
    for piece, pair in zip(made, model["merges"], strict=True):
        parts.setdefault(piece, []).extend(pair)
    kept: set[str] = set()
    waiting = [*wanted, *_fallback_pieces(model)]
    while waiting:
        piece = waiting.pop()
        if piece not in kept:
            kept.add(piece)
            waiting += parts.get(piece, [])
    merges = [pair for piece, pair in zip(made, model["merges"], strict=True) if piece in kept]
    return _keep(model, kept) | {"merges": merges}


def _trim_unigram(model: JsonObject, wanted: set[str]) -> JsonObject:
    lowest = min(model["vocab"], key=lambda entry: entry[1])[0]
    kept = wanted | _fallback_pieces(model) | {lowest}
    vocabulary = [entry for entry in model["vocab"] if entry[0] in kept]
    unknown = None if model["unk_id"] is None else model["vocab"][model["unk_id"]]
    return model | {"vocab": vocabulary, "unk_id": None if unknown is None else vocabulary.index(unknown)}


# How the model of a tokenizer is cut down to wanted pieces and what these need, by its kind.
_TRIM_MODEL: dict[str, Callable[[JsonObject, set[str]], JsonObject]] = {
    "BPE": _trim_bpe,
    "WordPiece": _trim_word_piece,
    "Unigram": _trim_unigram,
}


def _like(tokenizer: PreTrainedTokenizerFast, layout: JsonObject) -> PreTrainedTokenizerFast:
    """A tokenizer of another layout with the roles and settings of the given one."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(layout)),
        model_max_length=tokenizer.model_max_length,
        model_input_names=list(tokenizer.model_input_names),
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        clean_up_tokenization_spaces=tokenizer.clean_up_tokenization_spaces,
        split_special_tokens=tokenizer.split_special_tokens,
        extra_special_tokens=list(tokenizer.extra_special_tokens),
        **tokenizer.special_tokens_map,
    )
