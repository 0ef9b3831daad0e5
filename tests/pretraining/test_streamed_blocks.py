import json
import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from batch_reading import labels_of, mask_of
from bort_kedro.errors import CheckpointError, CorpusError, TrainingError
from bort_kedro.pretraining import streamed_blocks
from bort_kedro.pretraining.streamed_blocks import StreamedBlocks, text_digests
from bort_kedro.pretraining.taught_batches import with_true_tokens
from cutting import cut_document

NUM_DOCUMENTS = 40
SEQUENCE_LENGTH = 12
STEPS = 60


def documents():
    """Of 2 to 30 words each, every word naming its document."""
    generator = np.random.default_rng(2)
    lengths = generator.integers(2, 31, size=NUM_DOCUMENTS).tolist()
    return [(f"text::{index}", " ".join([f"w{index}"] * length)) for index, length in enumerate(lengths)]


@dataclass
class CountedStream:
    """Documents of a list; says how far each reading of them has come."""

    content: list = field(default_factory=documents)
    fingerprint: str = "counted"
    starts: list = field(default_factory=list)
    num_read: int = 0

    def documents(self, skip):
        self.starts.append(skip)
        for document in self.content[skip:]:
            self.num_read += 1
            yield document


@pytest.fixture
def stream():
    return CountedStream()


@pytest.fixture
def new_blocks(tiny_tokenizer, tiny_vocabulary, stream):
    def build(**changes):
        settings = {
            "sequence_length": SEQUENCE_LENGTH,
            "held_out": frozenset({"text::3", "text::11", "text::39"}),
            "seed": 4,
            "masked_share": 0.2,
            "whole_words": False,
            "word_starts": None,
            "batch_tokens": 60,
            "window_blocks": 16,
        }
        return StreamedBlocks(changes.pop("stream", stream), tiny_tokenizer, tiny_vocabulary, **(settings | changes))

    return build


def is_equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def true_rows(batch):
    """The blocks of a batch without corruption and padding."""
    ids = with_true_tokens(batch)["input_ids"]
    return [row[mask.bool()].tolist() for row, mask in zip(ids, mask_of(batch), strict=True)]


def window_states(blocks, steps):
    """States of the windows, by their first steps, from reading all batches up to so many steps."""
    return {state["first_step"]: state for step in range(steps) for state in [state_at(blocks, step)]}


def window_starts(blocks, steps):
    return list(window_states(blocks, steps))


def state_at(blocks, step):
    blocks.batch_at(step)
    return blocks.state(step)


def batches_of_pass(blocks, epoch):
    """All batches of one pass."""
    batches, step = [], 0
    while True:
        batch = blocks.batch_at(step)
        at = blocks.state(step)["epoch"]
        if at > epoch:
            return batches
        if at == epoch:
            batches.append(batch)
        step += 1


# --- what is read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [0, 1])
def test_every_training_document_of_a_pass_appears_exactly_once_and_none_held_out(new_blocks, tiny_tokenizer, epoch):
    read = [tuple(row) for batch in batches_of_pass(new_blocks(), epoch) for row in true_rows(batch)]
    expected = []
    for index, (_, text) in enumerate(documents()):
        if index not in {3, 11, 39}:
            ids = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]
            expected += [(0, *piece, 2) for piece in cut_document(ids, block_tokens=SEQUENCE_LENGTH - 2)]
    assert sorted(read) == sorted(expected)


def test_a_text_held_out_never_appears_whatever_its_id(new_blocks):
    renamed = CountedStream([(f"other::{index}", text) for index, (_, text) in enumerate(documents())])
    held_out = [documents()[index][1] for index in (3, 11, 39)]
    by_text = new_blocks(stream=renamed, held_out=frozenset(), held_out_texts=text_digests(f" {t}\n" for t in held_out))
    by_id = new_blocks()
    for step in range(STEPS):
        assert is_equal(by_text.batch_at(step), by_id.batch_at(step))


def test_a_stream_of_nothing_but_held_out_and_empty_documents_is_refused(new_blocks):
    blocks = new_blocks(stream=CountedStream([("text::3", "Some text."), ("text::4", "")]))
    with pytest.raises(CorpusError) as caught:
        blocks.batch_at(0)
    assert str(caught.value) == (
        "The text stream holds nothing to train on: every document in it is empty or held out. Change the catalog "
        "entry `text_stream`."
    )


def test_a_fault_of_the_stream_reaches_the_training(new_blocks):
    class Broken(CountedStream):
        def documents(self, skip):
            yield from super().documents(skip)
            raise CorpusError("The line is down.")

    blocks = new_blocks(stream=Broken())
    with pytest.raises(CorpusError, match=r"^The line is down\.$"):
        window_starts(blocks, STEPS)


# --- batches ---------------------------------------------------------------------------------------------


def test_a_window_is_shuffled_and_batched_within_the_budget(new_blocks):
    blocks = new_blocks()
    for step in range(STEPS):
        assert blocks.batch_at(step)["input_ids"].numel() <= 60
    in_order = [row for index in range(4) for row in true_rows(new_blocks(window_blocks=1).batch_at(index))]
    shuffled = [row for index in range(4) for row in true_rows(new_blocks().batch_at(index))]
    assert in_order != shuffled


def masked_rows(batches):
    """The corrupted blocks by the true ones."""
    return sorted(
        (true, row[: len(true)].tolist())
        for batch in batches
        for true, row in zip(true_rows(batch), batch["input_ids"], strict=True)
    )


def test_the_next_pass_masks_the_same_blocks_otherwise(new_blocks):
    first, second = (masked_rows(batches_of_pass(new_blocks(), epoch)) for epoch in (0, 1))
    assert [true for true, _ in first] == [true for true, _ in second]
    assert first != second


def test_masks_do_not_depend_on_the_size_of_the_windows(new_blocks):
    small, large = (masked_rows(batches_of_pass(new_blocks(window_blocks=size), 1)) for size in (16, 1000))
    assert small == large


def test_parts_together_are_the_batch(new_blocks):
    blocks = new_blocks()
    for step in range(STEPS):
        whole = blocks.batch_at(step)
        num_rows, length = whole["input_ids"].shape
        parts = [blocks.batch_at(step, part, 3) for part in range(3)]
        assert sum(part["weight"] for part in parts) == whole["weight"] == len(whole["predicted"])
        for number, part in enumerate(parts):
            if number >= num_rows:
                assert part["weight"] == 0
                assert true_rows(part) == true_rows(whole)[:1]
                continue
            assert true_rows(part) == true_rows(whole)[number::3]
            own = part["input_ids"].shape[1]
            assert own <= length
            assert torch.equal(labels_of(part), labels_of(whole)[number::3, :own])


def test_steps_inside_a_window_may_be_asked_for_in_any_order(new_blocks):
    first, second = window_starts(new_blocks(), STEPS)[1:3]
    forward, backward = new_blocks(), new_blocks()
    there = [forward.batch_at(step) for step in range(first, second)]
    back = [backward.batch_at(step) for step in reversed(range(first, second))][::-1]
    assert all(map(is_equal, there, back))


def test_a_step_before_the_window_is_refused(new_blocks):
    blocks = new_blocks()
    first, second = window_starts(new_blocks(), STEPS)[1:3]
    blocks.batch_at(second)
    with pytest.raises(TrainingError) as caught:
        blocks.batch_at(first)
    assert str(caught.value) == (
        f"Text stream: step {first} was asked for, but the text is read forward only and has come to the window that "
        f"begins at step {second}. Ask for steps in rising order, or restore the state of step {first}."
    )


# --- states ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_batches_after_a_restore_equal_those_of_an_uninterrupted_reading(new_blocks):
    blocks = new_blocks()
    batches, states = [], []
    for step in range(STEPS):
        batches.append(blocks.batch_at(step))
        states.append(json.loads(json.dumps(blocks.state(step))))
    assert {state["epoch"] for state in states} >= {0, 1}
    assert len({state["window"] for state in states}) >= 5
    for step, state in enumerate(states):  # the beginnings of windows are among them
        resumed = new_blocks()
        resumed.restore(state)
        assert all(is_equal(resumed.batch_at(later), batches[later]) for later in range(step, min(step + 8, STEPS)))


@pytest.mark.slow
def test_the_state_of_the_next_step_is_known_before_its_batch(new_blocks):
    blocks = new_blocks()
    batches = [blocks.batch_at(step) for step in range(STEPS)]
    blocks = new_blocks()
    for step in range(STEPS - 1):
        blocks.batch_at(step)
        resumed = new_blocks()
        resumed.restore(blocks.state(step + 1))
        assert is_equal(resumed.batch_at(step + 1), batches[step + 1])
        assert resumed.state(step + 1)["window"] == blocks.state(step + 1)["window"]


def test_the_state_of_a_step_is_known_after_batches_ahead_of_it(new_blocks):
    alone, ahead = new_blocks(), new_blocks()
    expected = [(alone.batch_at(step), alone.state(step))[1] for step in range(STEPS)]
    for step in range(STEPS - 5):
        ahead.batch_at(step + 5)
        assert ahead.state(step) == expected[step]


def test_a_resumed_stream_skips_what_came_before_its_window(new_blocks, stream):
    step = window_starts(new_blocks(), STEPS)[2]
    blocks = new_blocks()
    blocks.batch_at(step)
    state = blocks.state(step)
    stream.starts.clear()
    resumed = new_blocks()
    resumed.restore(state)
    resumed.batch_at(step)
    assert stream.starts == [state["documents"]]
    assert 0 < state["documents"] < NUM_DOCUMENTS


def test_one_object_may_go_back_by_a_state(new_blocks):
    blocks = new_blocks()
    batches = [blocks.batch_at(step) for step in range(10)]
    state = blocks.state(0)
    blocks.batch_at(STEPS)
    blocks.restore(state)
    assert all(is_equal(blocks.batch_at(step), batches[step]) for step in range(10))


def test_a_state_far_behind_is_refused(new_blocks, monkeypatch):
    monkeypatch.setattr(streamed_blocks, "REMEMBERED_WINDOWS", 2)
    starts = window_starts(new_blocks(), STEPS)
    blocks = new_blocks()
    blocks.batch_at(starts[3])
    assert blocks.state(starts[2])["first_step"] == starts[2]
    with pytest.raises(TrainingError) as caught:
        blocks.state(starts[1])
    assert str(caught.value) == (
        f"Text stream: step {starts[1]} was asked for, but the text is read forward only and has come to the window "
        f"that begins at step {starts[2]}. Ask for steps in rising order, or restore the state of step {starts[1]}."
    )


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
    [{"seed": 5}, {"held_out": frozenset()}, {"batch_tokens": 61}, {"window_blocks": 17}, {"sequence_length": 13}],
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


def test_no_more_than_one_window_is_read_ahead(new_blocks, stream):
    starts = window_starts(new_blocks(stream=CountedStream()), STEPS)
    # Documents of the first pass up to the end of the second window and of the third.
    to_second, to_third = (state_at(new_blocks(stream=CountedStream()), starts[i])["documents"] for i in (2, 3))
    assert to_second < to_third < NUM_DOCUMENTS
    blocks = new_blocks()
    assert stream.num_read == 0
    for step, read in [(starts[0], to_second), (starts[1] - 1, to_second), (starts[1], to_third)]:
        blocks.batch_at(step)
        wait_for_thread(blocks)
        assert stream.num_read == read


def wait_for_thread(blocks):
    """Its one thread works in order, so what it does now comes after what it was asked before."""
    blocks._thread.submit(int).result()


def test_a_window_ends_soon_after_the_blocks_asked_for(new_blocks):
    # A call of the tokenizer takes documents of 16 * 12 characters or a little more, so of no more tokens.
    longest = max(len(text) for _, text in documents())
    most = 16 + (16 * SEQUENCE_LENGTH + longest) // 2
    first_pass = [state for state in window_states(new_blocks(), STEPS).values() if state["epoch"] == 0]
    sizes = np.diff([state["first_block"] for state in first_pass])
    assert sizes.min() >= 16
    assert sizes.max() <= most
