"""Text to token blocks, at the speed of the tokenizer's own threads."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bort_kedro.errors import ConfigurationError, TokenizerError
from bort_kedro.text.pieces import pieces_of
from bort_kedro.text.tokenizer import PARAMETER_PATH, SENTENCE_PIECE_SPACE, num_ids, special_frame, vocabulary_of
from bort_kedro.text.tokens import TokenBlocks, fill_blocks, frame_documents, id_dtype, join_blocks, starts_of

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from transformers import PreTrainedTokenizerFast

    from bort_kedro.text.settings import Packing

# Longer than any.
WHOLE_DOCUMENT = 2**62
# Characters that the tokenizer takes at a time: enough to keep its threads busy, and little enough that what it
# keeps of each token beside the id (some hundred bytes) stays well under a gigabyte.
CHARACTERS_PER_CALL = 2**20
# Longer documents are tokenized in pieces, so many at a time.
LONG_DOCUMENT = 2**21
PIECES_PER_CALL = 8
# Share of unknown tokens beyond which a corpus is not of the tokenizer's kind (our choice).
MOST_UNKNOWN = 0.5
# How byte-level tokens write a space, a tab, a line feed and a carriage return.
BYTE_LEVEL_SPACES = ("Ġ", "ĉ", "Ċ", "č")


def text_digests(texts: Iterable[str]) -> frozenset[bytes]:
    """What tells texts apart, surrounding white space aside, in 16 bytes each."""
    return frozenset(hashlib.blake2b(text.strip().encode(), digest_size=16).digest() for text in texts)


@dataclass(frozen=True)
class LongDocument:
    """What a tokenizer makes of a long document, as far as its own `Encoding` is asked."""

    ids: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.ids)


def encode_texts(backend: Tokenizer, texts: Sequence[str]) -> Sequence[Encoding | LongDocument]:
    """The ids of each text, made in parallel by the tokenizer's threads while Python goes on.

    Args:
        backend: Set to neither truncate nor pad.
        texts: Of one call: see `CHARACTERS_PER_CALL`.
    """
    if all(len(text) <= LONG_DOCUMENT for text in texts):
        encodings: list[Encoding] = backend.encode_batch_fast(texts, add_special_tokens=False)
        return encodings
    return [LongDocument(_ids_of_pieces(backend, pieces_of(text))) for text in texts]


def _ids_of_pieces(backend: Tokenizer, pieces: Sequence[str]) -> NDArray[np.uint32]:
    ids = [np.zeros(0, dtype=np.uint32)]
    for start in range(0, len(pieces), PIECES_PER_CALL):
        call = backend.encode_batch_fast(pieces[start : start + PIECES_PER_CALL], add_special_tokens=False)
        ids += [np.array(encoding.ids, dtype=np.uint32) for encoding in call]
    return np.concatenate(ids)


class DocumentEncoder:
    """Cuts documents into framed blocks of ids.

    Text is text: ``<s>`` in a document is spelled out, where the tokenizer itself would take it for the special
    token. Ordinary text gets the ids that the tokenizer gives it.

    Args:
        tokenizer: Left as it is; its settings for truncation and padding are not followed.
        sequence_length: Tokens of the longest block, special ones included.
        packing: See `settings.CorpusSettings`.

    Raises:
        ConfigurationError: If documents are to be joined and no token tells where one starts.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, *, sequence_length: int, packing: Packing = "documents"
    ) -> None:
        self.sequence_length, self.packing = sequence_length, packing
        self.vocabulary = vocabulary_of(tokenizer)
        self.before, self.after = special_frame(tokenizer)
        if packing == "joined" and self.vocabulary.start_id is None:
            raise ConfigurationError(
                "params:corpus.packing is joined, but the tokenizer puts no token before a text that stands nowhere "
                f"else (before: {self.before}, after: {self.after}), by which the documents of a block could be told "
                "apart. Set params:corpus.packing to documents or full, or choose another tokenizer in "
                "params:corpus.tokenizer.pretrained."
            )
        self._backend = copy.deepcopy(tokenizer.backend_tokenizer)
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True
        self._dtype = id_dtype(self.vocabulary.size)
        self._is_control = np.zeros(self.vocabulary.size, dtype=bool)
        self._is_control[[token for token in self.vocabulary.special_ids if token != tokenizer.unk_token_id]] = True

    def blocks(self, texts: Sequence[str]) -> TokenBlocks:
        """Blocks of these documents, in order, for `arrange`; none crosses documents.

        The documents are tokenized in parallel, all at once: see `CHARACTERS_PER_CALL`.
        """
        return self.pack(self.encode(texts))

    def encode(self, texts: Sequence[str]) -> Sequence[Encoding | LongDocument]:
        """See `encode_texts`."""
        return encode_texts(self._backend, texts)

    def pack(self, encodings: Sequence[Encoding | LongDocument]) -> TokenBlocks:
        """Blocks of encoded documents, in order, for `arrange`; with ``full`` packing each is a whole document."""
        lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
        ids = np.fromiter(
            chain.from_iterable(encoding.ids for encoding in encodings), dtype=self._dtype, count=int(lengths.sum())
        )
        is_control = self._is_control[ids]
        if is_control.any():
            # A vocabulary of SentencePiece holds its control tokens as pieces, which text may match. They are left
            # out, since a start token inside a document would cut it in two.
            lengths = np.diff(starts_of(~is_control)[starts_of(lengths)])
            ids = ids[~is_control]
        longest = WHOLE_DOCUMENT if self.packing == "full" else self.sequence_length
        return frame_documents(ids, lengths, before=self.before, after=self.after, sequence_length=longest)

    def arrange(self, blocks: TokenBlocks) -> TokenBlocks:
        """Packed blocks as they are trained on."""
        if self.packing == "joined":
            return join_blocks(blocks, sequence_length=self.sequence_length)
        if self.packing == "full":
            return fill_blocks(blocks, before=self.before, after=self.after, sequence_length=self.sequence_length)
        return blocks

    def num_arranged(self, num_blocks: int, num_tokens: int) -> int:
        """How many blocks at least `arrange` makes of so many with so many tokens, those that are not full left out."""
        frame = len(self.before) + len(self.after)
        if self.packing == "full":
            return max(0, num_tokens - num_blocks * len(self.before) - len(self.after)) // (
                self.sequence_length - frame
            )
        return num_tokens // self.sequence_length if self.packing == "joined" else num_blocks


def tokenize_texts(texts: Iterable[str], encoder: DocumentEncoder) -> TokenBlocks:
    """Blocks of all documents of a split.

    The ids are gathered in memory, two bytes a token for vocabularies up to 65 536 ids and four beyond: less than the
    text itself takes, which is in memory already. What is larger is read as a stream. With ``full`` packing they are in
    memory twice at the end.

    Args:
        texts: One document each.
        encoder: Cuts them.
    """
    # A bytearray grows in place, where gathering arrays would need all of them twice at the end.
    ids, lengths = bytearray(), [np.zeros(0, dtype=np.int64)]
    with ThreadPoolExecutor(max_workers=1) as ahead:
        for encodings in _one_ahead(ahead, encoder.encode, _chunks(texts)):
            blocks = encoder.pack(encodings)
            ids += blocks.ids.tobytes()
            lengths.append(blocks.lengths)
    blocks = TokenBlocks(
        np.frombuffer(ids, dtype=id_dtype(encoder.vocabulary.size)), starts_of(np.concatenate(lengths))
    )
    return encoder.arrange(blocks)


def _one_ahead(
    pool: ThreadPoolExecutor,
    encode: Callable[[list[str]], Sequence[Encoding | LongDocument]],
    chunks: Iterator[list[str]],
) -> Iterator[Sequence[Encoding | LongDocument]]:
    """Encodings of the chunks in order; the next chunk is encoded while the caller uses one."""
    coming: Future[Sequence[Encoding | LongDocument]] | None = None
    for chunk in chunks:
        following = pool.submit(encode, chunk)
        if coming is not None:
            yield coming.result()
        coming = following
    if coming is not None:
        yield coming.result()


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    num_characters = 0
    for text in texts:
        chunk.append(text)
        num_characters += len(text)
        if num_characters >= CHARACTERS_PER_CALL:
            yield chunk
            chunk, num_characters = [], 0
    if chunk:
        yield chunk


def require_known(blocks: TokenBlocks, tokenizer: PreTrainedTokenizerFast) -> None:
    """Refuse a tokenizer to which most of a text is unknown: no training could tell its words apart.

    Raises:
        TokenizerError: If more than `MOST_UNKNOWN` of the tokens are the unknown one.
    """
    if tokenizer.unk_token_id is None or not len(blocks.ids):
        return
    share = float((blocks.ids == tokenizer.unk_token_id).mean())
    if share > MOST_UNKNOWN:
        raise TokenizerError(
            f"{share:.0%} of the {len(blocks.ids)} tokens of the training split are {tokenizer.unk_token}, unknown to "
            f"the tokenizer, and at most {MOST_UNKNOWN:.0%} may be: it was made for other text. Choose another as "
            f"`pretrained` under {PARAMETER_PATH}, or another teacher, whose tokenizer is taken where that is null."
        )


def word_starts(tokenizer: PreTrainedTokenizerFast) -> NDArray[np.bool_]:
    """(V,) True for ids that begin a word, by the mark that the kind of vocabulary puts on its tokens.

    WordPiece marks the tokens that go on with a word (``##``); byte-level BPE and SentencePiece put the space before a
    word into its first token. A byte-level token that begins with another white space begins a word too (our reading:
    else the last word of a line and the first of the next would be one). Where no token has a mark, each is a word.
    """
    tokens = [token or "" for token in tokenizer.convert_ids_to_tokens(range(num_ids(tokenizer)))]
    continuing = getattr(tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None)
    if continuing:
        return np.array([not token.startswith(continuing) for token in tokens])
    for marks in ((SENTENCE_PIECE_SPACE,), BYTE_LEVEL_SPACES):
        begins = np.array([token.startswith(marks) for token in tokens])
        if begins.any():
            return begins
    return np.ones(len(tokens), dtype=bool)
