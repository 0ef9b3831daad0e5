import json
import math
import pickle
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
import torch

from batch_reading import labels_of, mask_of
from bort_kedro.errors import CheckpointError, CorpusError, TrainingError
from bort_kedro.pretraining import stream_reader
from bort_kedro.pretraining.stream_reader import Dealing, Slice
from bort_kedro.pretraining.streamed_blocks import StreamedBlocks
from bort_kedro.pretraining.taught_batches import with_true_tokens
from bort_kedro.text.tokenization import text_digests
from cutting import cut_document

NUM_DOCUMENTS = 60
NUM_SHARDS = 5
SEQUENCE_LENGTH = 12
HELD_OUT = (3, 11, 59)
STEPS = 40


def documents():
    """Of 2 to 30 words each, every word naming its document."""
    generator = np.random.default_rng(2)
    lengths = generator.integers(2, 31, size=NUM_DOCUMENTS).tolist()
    return [" ".join([f"w{index}"] * length) for index, length in enumerate(lengths)]


def in_shards(texts, num_shards=NUM_SHARDS):
    """Of unequal sizes."""
    cuts = [round(len(texts) * (part / num_shards) ** 1.5) for part in range(num_shards + 1)]
    return [texts[start:stop] for start, stop in pairwise(cuts)]


@dataclass
class CountedStream:
    """Documents of lists; says which are opened where, and which texts are read."""

    shards: list = field(default_factory=lambda: in_shards(documents()))
    fingerprint: str = "counted"
    opened: list = field(default_factory=list)
    read: Counter = field(default_factory=Counter)

    @property
    def num_shards(self):
        return len(self.shards)

    def texts(self, shard, skip):
        self.opened.append((shard, skip))
        for text in self.shards[shard][skip:]:
            self.read[text] += 1
            yield text


@pytest.fixture
def stream():
    return CountedStream()


@pytest.fixture
def new_blocks(tiny_tokenizer, tiny_vocabulary, stream):
    def build(**changes):
        settings = {
            "sequence_length": SEQUENCE_LENGTH,
            "held_out_texts": text_digests(documents()[index] for index in HELD_OUT),
            "seed": 4,
            "masked_share": 0.2,
            "whole_words": False,
            "word_starts": None,
            "batch_tokens": 96,
            "num_readers": 8,
            "shuffle_blocks": 32,
        }
        return StreamedBlocks(changes.pop("stream", stream), tiny_tokenizer, tiny_vocabulary, **(settings | changes))

    return build


def is_equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def true_rows(batch):
    """The blocks of a batch without corruption and padding."""
    ids = with_true_tokens(batch)["input_ids"]
    return [tuple(row[mask.bool()].tolist()) for row, mask in zip(ids, mask_of(batch), strict=True)]


@pytest.fixture
def expected_blocks(tiny_tokenizer):
    """Every block of a pass, from the documents as they stand."""

    def of(texts):
        blocks = Counter()
        for text in texts:
            ids = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]
            blocks.update((0, *piece, 2) for piece in cut_document(ids, block_tokens=SEQUENCE_LENGTH - 2))
        return blocks

    return of


def trained_on():
    return [text for index, text in enumerate(documents()) if index not in HELD_OUT]


def state_of_all(ranks, step):
    """What a training saves, as JSON has it."""
    return json.loads(json.dumps({key: value for rank in ranks for key, value in rank.state(step).items()}))


# --- who reads what --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_shards", "num_readers"), [(1, 8), (3, 8), (5, 8), (8, 8), (9, 8), (24, 8), (7, 1)])
def test_in_every_pass_each_slice_has_one_reader_and_slices_together_are_the_stream(num_shards, num_readers):
    dealing = Dealing(num_shards, num_readers, seed=3)
    size = dealing.num_slices
    assert size == num_shards * math.ceil(num_readers / num_shards)
    in_turn = [dealing.at(reader, turn) for turn in range(3 * size) for reader in range(num_readers)]
    passes = [in_turn[start : start + size] for start in range(0, 3 * size, size)]
    stride = size // num_shards
    every = {Slice(shard, first, stride) for shard in range(num_shards) for first in range(stride)}
    for each in passes:
        assert set(each) == every
        assert len(each) == size
    assert size < 3 or passes[0] != passes[1]


def test_the_order_of_shards_follows_the_seed():
    orders = [[Dealing(9, 3, seed).at(0, turn).shard for turn in range(9)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def texts_of(stream, dealing, reader, turns):
    """What a reader reads in its turns of a pass."""
    slices = [dealing.at(reader, turn) for turn in turns]
    return [text for of in slices for text in stream.shards[of.shard][of.first :: of.stride] if text in trained_on()]


@pytest.mark.parametrize("num_shards", [1, 5, 8, 20])
@pytest.mark.parametrize("epoch", [0, 1])
def test_each_line_is_read_once_in_a_pass_over_eight_readers(new_blocks, expected_blocks, num_shards, epoch):
    stream = CountedStream(in_shards(documents(), num_shards))
    blocks = new_blocks(stream=stream)
    dealing = Dealing(num_shards, 8, seed=4)
    size, found = dealing.num_slices, Counter()
    for number in range(8):
        turns = [turn for turn in range(2 * size) if (turn * 8 + number) // size == epoch]
        before = expected_blocks(texts_of(stream, dealing, number, range(turns[0] if turns else 0))).total()
        wanted = expected_blocks(texts_of(stream, dealing, number, turns))
        reader, own, place = blocks._reader(number), {}, 0
        while len(own) < wanted.total():
            count, ids = reader.block(place)
            if before <= count < before + wanted.total():
                own[count] = tuple(ids.tolist())
            place += 1
        assert Counter(own.values()) == wanted
        found += wanted
    assert found == expected_blocks(trained_on())


@pytest.mark.parametrize("num_shards", [8, 20])
def test_eight_processes_open_eight_shards_each_its_own(new_blocks, num_shards):
    streams = [CountedStream(in_shards(documents(), num_shards)) for _ in range(8)]
    ranks = [new_blocks(stream=stream, shuffle_blocks=8) for stream in streams]
    for number, rank in enumerate(ranks):
        rank.batch_at(0, number, 8)
        wait_for_thread(rank)
    dealing = Dealing(num_shards, 8, seed=4)
    first = [dealing.at(number, 0).shard for number in range(8)]
    assert len(set(first)) == 8
    for number, stream in enumerate(streams):
        opened = {shard for shard, _ in stream.opened}
        assert {first[number]} <= opened <= {first[number], dealing.at(number, 1).shard}


def test_of_one_shard_each_process_tokenises_its_share(new_blocks, monkeypatch):
    tokenised = Counter()
    encode = stream_reader.DocumentEncoder.blocks

    def counted(self, texts):
        tokenised.update(texts)
        return encode(self, texts)

    monkeypatch.setattr(stream_reader.DocumentEncoder, "blocks", counted)
    shares = []
    for number in range(8):
        tokenised.clear()
        rank = new_blocks(stream=CountedStream([documents()]), shuffle_blocks=8)
        rank.batch_at(0, number, 8)
        wait_for_thread(rank)
        of = Dealing(1, 8, seed=4).at(number, 0)
        share = [text for text in documents()[of.first :: 8] if text in trained_on()]
        shares.append(of.first)
        assert set(tokenised) <= set(share)
        assert share[0] in tokenised
    assert sorted(shares) == list(range(8))


def test_a_text_held_out_never_appears(new_blocks, expected_blocks):
    blocks, allowed = new_blocks(), set(expected_blocks(trained_on()))
    found = {row for step in range(2 * STEPS) for row in true_rows(blocks.batch_at(step))}
    assert found <= allowed
    assert not allowed & set(expected_blocks(documents()[index] for index in HELD_OUT))


def test_a_stream_of_nothing_but_held_out_and_empty_documents_is_refused(new_blocks):
    blocks = new_blocks(stream=CountedStream([[documents()[3], ""], [documents()[11]], []]))
    with pytest.raises(CorpusError) as caught:
        blocks.batch_at(0)
    assert str(caught.value) == (
        "The text stream holds nothing to train on: every document in it is empty or held out. Change the catalog "
        "entry `text_stream`."
    )


def test_fewer_documents_than_readers_are_read_by_all(new_blocks, expected_blocks):
    blocks = new_blocks(stream=CountedStream([["w1 w2 w3"], []]))
    for step in range(10):
        assert set(true_rows(blocks.batch_at(step))) == set(expected_blocks(["w1 w2 w3"]))


def test_a_fault_of_the_stream_reaches_the_training(new_blocks):
    class Broken(CountedStream):
        def texts(self, shard, skip):
            yield from super().texts(shard, skip)
            raise CorpusError("The line is down.")

    blocks = new_blocks(stream=Broken())
    with pytest.raises(CorpusError, match=r"^The line is down\.$"):
        [blocks.batch_at(step) for step in range(STEPS)]


# --- batches ---------------------------------------------------------------------------------------------


def test_a_step_has_as_many_blocks_as_fit_and_of_each_reader_its_rows(new_blocks):
    blocks, alone = new_blocks(batch_tokens=130, num_readers=4), new_blocks(batch_tokens=130, num_readers=4)
    for step in range(STEPS):
        batch = blocks.batch_at(step)
        assert len(batch["input_ids"]) == 130 // SEQUENCE_LENGTH == 10
        assert batch["input_ids"].numel() <= 130
    # Readers 0 and 1 have three of its ten rows, 2 and 3 two.
    assert [alone._rows_of(number) for number in range(4)] == [3, 3, 2, 2]


def test_there_are_no_more_readers_than_blocks_of_a_step(new_blocks):
    blocks = new_blocks(batch_tokens=3 * SEQUENCE_LENGTH)
    blocks.batch_at(0)
    assert blocks.state(0).keys() == {"0", "1", "2", "fingerprint"}
    assert len(new_blocks(batch_tokens=1).batch_at(0)["input_ids"]) == 1


def test_a_window_is_shuffled(new_blocks):
    def rows(shuffle_blocks):
        blocks = new_blocks(stream=CountedStream([documents()]), num_readers=1, shuffle_blocks=shuffle_blocks)
        return [row for step in range(4) for row in true_rows(blocks.batch_at(step))]

    in_order, shuffled = rows(1), rows(1000)
    assert in_order[:8] != shuffled[:8]
    assert rows(1000) == shuffled


def masks(blocks, num_steps):
    """Every corrupted block by the true one."""
    return {
        (true, tuple(row[: len(true)].tolist()))
        for step in range(num_steps)
        for batch in [blocks.batch_at(step)]
        for true, row in zip(true_rows(batch), batch["input_ids"], strict=True)
    }


def test_with_full_packing_no_batch_of_a_stream_is_padded(new_blocks):
    blocks = new_blocks(packing="full")
    for step in range(STEPS):
        batch = blocks.batch_at(step)
        assert batch["input_ids"].shape == (8, SEQUENCE_LENGTH)
        assert not {"attention_mask", "document_ids"} & batch.keys()


def test_full_blocks_of_a_window_are_its_documents_one_after_another_without_the_rest(new_blocks, tiny_tokenizer):
    blocks = new_blocks(packing="full", num_readers=1, stream=CountedStream([documents()]))
    reader = blocks._reader(0)
    reader.block(0)
    window = reader._windows[0]
    texts = [text for text in documents()[: window.end.documents] if text in trained_on()]
    ids = [token for text in texts for token in [*tiny_tokenizer(text, add_special_tokens=False)["input_ids"], 2]][:-1]
    room, rows = SEQUENCE_LENGTH - 2, [window.blocks[number].tolist() for number in range(len(window.blocks))]
    assert rows == [[0, *ids[place * room : (place + 1) * room], 2] for place in range(len(ids) // room)]
    assert 32 <= len(rows) == window.end.first_block
    assert len(window.blocks.ids) == len(rows) * SEQUENCE_LENGTH


def test_with_full_packing_batches_after_a_restore_equal_those_of_an_uninterrupted_reading(new_blocks):
    alone, before, after = (new_blocks(packing="full") for _ in range(3))
    expected = [alone.batch_at(step) for step in range(STEPS)]
    before.batch_at(17)
    after.restore(json.loads(json.dumps(before.state(18))))
    assert all(is_equal(after.batch_at(step), expected[step]) for step in range(18, STEPS))


def test_the_next_pass_masks_the_same_blocks_otherwise(new_blocks):
    # Ten blocks of one text, all alike.
    stream = CountedStream([["w1 w2 w3 w4 w5"]])
    assert len(masks(new_blocks(stream=stream, masked_share=0.5, num_readers=1), 10)) > 3


def test_masks_follow_the_text_and_not_the_window(new_blocks):
    def of_the_first(shuffle_blocks):
        blocks = new_blocks(num_readers=1, shuffle_blocks=shuffle_blocks, stream=CountedStream([documents()]))
        return masks(blocks, 200 // blocks.num_rows)

    # Windows end elsewhere, and so does what the last of them holds.
    small, large = of_the_first(8), of_the_first(64)
    assert len(small & large) > 0.6 * len(small)


def assert_together(parts, whole):
    """Parts are the rows p::n of the batch, counted by what they predict; one without a row counts nothing."""
    num_rows, num_parts = len(whole["input_ids"]), len(parts)
    assert sum(part["weight"] for part in parts) == whole["weight"] == len(whole["predicted"])
    for number, part in enumerate(parts):
        if number >= num_rows:
            assert part["weight"] == 0
            assert len(part["predicted"])
            continue
        own = part["input_ids"].shape[1]
        assert torch.equal(part["input_ids"], whole["input_ids"][number::num_parts, :own])
        for of in (labels_of, mask_of):
            assert torch.equal(of(part), of(whole)[number::num_parts, :own])
        assert not mask_of(whole)[number::num_parts, own:].any()


@pytest.mark.parametrize("num_parts", [2, 3, 7, 8, 32])
def test_parts_together_are_the_batch_for_any_number(new_blocks, num_parts):
    alone = new_blocks()
    ranks = [new_blocks() for _ in range(num_parts)]
    for step in range(0, STEPS, 3):
        parts = [rank.batch_at(step, part, num_parts) for part, rank in enumerate(ranks)]
        assert_together(parts, alone.batch_at(step))


def test_a_part_that_predicts_nothing_counts_nothing(new_blocks):
    # A block of special tokens alone has nothing to hide.
    stream = CountedStream([["<s>", "w1 w2 w3"]])
    blocks = new_blocks(stream=stream, num_readers=1, batch_tokens=SEQUENCE_LENGTH, shuffle_blocks=2)
    for step in range(6):
        batch = blocks.batch_at(step)
        assert len(batch["predicted"])


def test_a_step_before_the_window_is_refused(new_blocks):
    blocks = new_blocks(num_readers=1)
    blocks.batch_at(STEPS)
    reached = blocks._readers[0]._windows[0].start.first_block
    with pytest.raises(TrainingError) as caught:
        blocks.batch_at(0)
    assert str(caught.value) == (
        "Text stream: block 0 of reader 0 was asked for, but the text is read forward only and has come to the window "
        f"that begins at block {reached}. Ask for steps in rising order, or restore the state of that step."
    )


# --- states ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(1, 1), (8, 8), (8, 2), (3, 8)])
def test_batches_after_a_restore_equal_those_of_an_uninterrupted_reading(new_blocks, before, after):
    alone, ranks = new_blocks(), [new_blocks() for _ in range(before)]
    whole = [alone.batch_at(step) for step in range(STEPS + 1)]
    for step in range(0, STEPS, 7):
        for part, rank in enumerate(ranks):
            rank.batch_at(step, part, before)
        # A training saves the state of the step that comes next.
        for later in (step, step + 1):
            state, resumed = state_of_all(ranks, later), [new_blocks() for _ in range(after)]
            for rank in resumed:
                rank.restore(state)
            assert_together([rank.batch_at(later, part, after) for part, rank in enumerate(resumed)], whole[later])


def test_the_state_of_a_step_is_known_after_batches_ahead_of_it(new_blocks):
    alone, ahead = new_blocks(), new_blocks()
    expected = [(alone.batch_at(step), alone.state(step))[1] for step in range(STEPS)]
    for step in range(STEPS - 5):
        ahead.batch_at(step + 5)
        assert ahead.state(step) == expected[step]


def test_a_resumed_stream_opens_the_shards_at_hand_and_no_other(new_blocks):
    blocks = new_blocks(num_readers=1, shuffle_blocks=8)
    blocks.batch_at(20)
    state = blocks.state(20)
    assert state["0"]["turn"] > 0
    # Of its own, since a thread still reads ahead in the other.
    stream = CountedStream()
    resumed = new_blocks(num_readers=1, shuffle_blocks=8, stream=stream)
    resumed.restore(state)
    resumed.batch_at(20)
    at = Dealing(NUM_SHARDS, 1, seed=4).at(0, state["0"]["turn"])
    assert stream.opened[0] == (at.shard, state["0"]["documents"])


def test_a_reader_that_no_process_had_reads_from_the_start(new_blocks):
    blocks, state = new_blocks(), new_blocks().state(0)
    assert state == {"fingerprint": blocks.fingerprint}
    resumed = new_blocks()
    resumed.restore(state)
    assert is_equal(resumed.batch_at(STEPS), blocks.batch_at(STEPS))


def test_one_object_may_go_back_by_a_state(new_blocks):
    blocks = new_blocks()
    batches = [blocks.batch_at(step) for step in range(10)]
    state = blocks.state(0)
    blocks.batch_at(STEPS)
    blocks.restore(state)
    assert all(is_equal(blocks.batch_at(step), batches[step]) for step in range(10))


def test_a_state_far_behind_is_refused(new_blocks, monkeypatch):
    monkeypatch.setattr(stream_reader, "REMEMBERED_WINDOWS", 2)
    blocks = new_blocks()
    blocks.batch_at(STEPS)
    with pytest.raises(TrainingError, match=r"^Text stream: block 1 of reader \d was asked for"):
        blocks.state(1)


def test_a_state_of_another_stream_is_refused(new_blocks):
    blocks, other = new_blocks(), new_blocks(stream=CountedStream(fingerprint="other"))
    with pytest.raises(CheckpointError) as caught:
        other.restore(blocks.state(0))
    assert str(caught.value) == (
        f"Saved position in the text stream: it belongs to the stream {blocks.fingerprint}, and this one is "
        f"{other.fingerprint}: the text, the tokenizer, the documents held out or a parameter of the batches has "
        "changed. Put back what was changed (for the hub, name the earlier commit as `revision` in the catalog entry "
        "`text_stream`), or remove the folder of the training's states to train anew."
    )


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 5},
        {"held_out_texts": frozenset()},
        {"batch_tokens": 97},
        {"shuffle_blocks": 33},
        {"num_readers": 4},
        {"sequence_length": 13},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_fingerprint_follows_what_batches_depend_on(new_blocks, change):
    assert new_blocks(**change).fingerprint != new_blocks().fingerprint == new_blocks().fingerprint


def test_it_travels_to_another_process_as_it_was_made(new_blocks):
    blocks = new_blocks()
    batches = [blocks.batch_at(step) for step in range(STEPS)]
    travelled = pickle.loads(pickle.dumps(blocks))  # noqa: S301
    assert travelled.fingerprint == blocks.fingerprint
    assert all(is_equal(travelled.batch_at(step), batches[step]) for step in range(STEPS))


# --- memory ----------------------------------------------------------------------------------------------


def wait_for_thread(blocks):
    """Its one thread works in order, so what it does now comes after what it was asked before."""
    blocks._thread.submit(int).result()


def test_no_more_than_one_window_is_read_ahead(new_blocks, stream):
    blocks = new_blocks(num_readers=1, shuffle_blocks=8, batch_tokens=SEQUENCE_LENGTH)
    assert not stream.read
    blocks.batch_at(0)
    wait_for_thread(blocks)
    reader = blocks._readers[0]
    assert len(reader._windows) == 1
    ends = reader._coming.result().end.first_block
    # A call of the tokenizer takes documents of 8 * 12 characters or a little more, so of no more blocks.
    assert 16 <= ends <= 2 * (8 + 8 + 4)
