"""Which share of the batches that a process passes at a time has padding, by `corpus.packing`; prints a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from benchmarks.command import command_line
from benchmarks.texts import embedded_text
from bort_kedro.text.settings import Packing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from bort_kedro.pretraining.masked_blocks import Batch

SEQUENCE_LENGTH, VOCABULARY_SIZE = 512, 1024
# Of conf/paper: what one of eight processes passes at a time, of four parts.
BATCH_TOKENS = 16 * SEQUENCE_LENGTH
# Of conf/base; here divided by as many as eight readers of conf/paper's would be by a stream of this size.
NUM_READERS, SHUFFLE_BLOCKS, STREAMED_STEPS = 8, 512, 200


@dataclass(frozen=True)
class Texts:
    """Documents as a stream of one shard."""

    documents: Sequence[str]
    fingerprint: str = "documents"
    num_shards: int = 1

    def texts(self, shard: int, skip: int) -> Iterator[str]:
        """Of the only shard."""
        return iter(self.documents[skip:])


def held_batches(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, packing: Packing) -> Iterator[Batch]:
    """One epoch of a corpus in memory."""
    from bort_kedro.pretraining.masked_blocks import MaskedBlocks
    from bort_kedro.text.batching import plan_epoch
    from bort_kedro.text.tokenization import DocumentEncoder, tokenize_texts

    encoder = DocumentEncoder(tokenizer, sequence_length=SEQUENCE_LENGTH, packing=packing)
    blocks = tokenize_texts(texts, encoder)
    data = MaskedBlocks(blocks, encoder.vocabulary, seed=0, masked_share=0.15)
    for indices in plan_epoch(blocks.lengths, batch_tokens=BATCH_TOKENS, seed=0, epoch=0):
        yield data.batch(indices, epoch=0)


def streamed_batches(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, packing: Packing) -> Iterator[Batch]:
    """The first batches of the same text as a stream."""
    from bort_kedro.pretraining.streamed_blocks import StreamedBlocks
    from bort_kedro.text.tokenizer import vocabulary_of

    blocks = StreamedBlocks(
        Texts(texts),
        tokenizer,
        vocabulary_of(tokenizer),
        sequence_length=SEQUENCE_LENGTH,
        held_out_texts=frozenset(),
        seed=0,
        masked_share=0.15,
        whole_words=False,
        word_starts=None,
        batch_tokens=BATCH_TOKENS,
        num_readers=NUM_READERS,
        shuffle_blocks=SHUFFLE_BLOCKS,
        packing=packing,
    )
    for step in range(STREAMED_STEPS):
        yield blocks(step)


def padding_of(batches: Iterator[Batch], pad_id: int) -> tuple[float, float, float]:
    """Shares: of batches with padding, of batches with a mask of any kind, of padding among all positions."""
    counts = [
        (bool((ids == pad_id).any()), not {"attention_mask", "document_ids"}.isdisjoint(batch), ids.numel(), num_padded)
        for batch in batches
        for ids in [batch["input_ids"]]
        for num_padded in [int((ids == pad_id).sum())]
    ]
    padded, masked, positions, padding = (sum(column) for column in zip(*counts, strict=True))
    return padded / len(counts), masked / len(counts), padding / positions


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the shares of each packing, of a corpus in memory and of a stream."""
    from bort_kedro.text.tokenizer import train_tokenizer

    command_line(__doc__, trains=False).parse_args(arguments)
    texts = embedded_text()["text"].tolist()
    tokenizer = train_tokenizer(texts, vocabulary_size=VOCABULARY_SIZE, max_positions=SEQUENCE_LENGTH)
    print(f"{len(texts):,} documents, blocks of {SEQUENCE_LENGTH} tokens, batches of {BATCH_TOKENS:,}")  # noqa: T201
    for kind, batches in (("held", held_batches), ("streamed", streamed_batches)):
        for packing in get_args(Packing):
            padded, masked, padding = padding_of(batches(texts, tokenizer, packing), tokenizer.pad_token_id)
            shares = f"batches with padding {padded:.1%}, with a mask {masked:.1%}, padding {padding:.1%}"
            print(f"{kind}, {packing}: {shares} of the positions")  # noqa: T201


if __name__ == "__main__":
    main()
