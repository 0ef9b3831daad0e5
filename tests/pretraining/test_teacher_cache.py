import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bort_kedro.datasets.teacher_cache import CacheFolder, TeacherCaches
from bort_kedro.errors import ConfigurationError, StorageError, TrainingError
from bort_kedro.pretraining import teacher_cache
from bort_kedro.pretraining.losses import distillation_loss
from bort_kedro.pretraining.masked_blocks import MaskedBlocks
from bort_kedro.pretraining.teacher_cache import fill_cache
from bort_kedro.pretraining.teacher_targets import TeacherTargets, bucketed_divergence, bytes_per_position, top_targets
from bort_kedro.text.tokens import TokenBlocks, Vocabulary
from rounding import rounding

VOCABULARY = Vocabulary(size=50, mask_id=4, pad_id=1, special_ids=(0, 1, 2, 3, 4), fingerprint="tiny")
NAMES = {"teacher_ids": "ids", "teacher_log_probabilities": "log_probabilities", "teacher_log_tail": "log_tail"}
NUM_BLOCKS = 11
TEMPERATURE = 2.0
# Of the teacher's two layers, whose sums differ in the last bits with the batch a block stands in.
ROUNDED = rounding(torch.float32, width=50, depth=2 * 8, scale=5)
# float16 has 11 bits: log-probabilities above -8 are off by half a step of 2**-8 at most.
STORED = 2**-9 + ROUNDED


def new_data(mask_epochs=2):
    """Blocks of 6 to 16 tokens in chunks of four, the last one of three."""
    generator = np.random.default_rng(5)
    blocks = [[0, *generator.integers(5, 50, generator.integers(4, 15)).tolist(), 2] for _ in range(NUM_BLOCKS)]
    blocks = TokenBlocks.from_blocks(blocks, vocabulary_size=50)
    return MaskedBlocks(blocks, VOCABULARY, seed=1, masked_share=0.3, mask_epochs=mask_epochs)


def new_teacher():
    """A BERT whose distributions are far from flat, and the numbers of blocks it was asked about."""
    # Here, so that the processes of the last test start without them.
    from bort_kedro.encoders.encoder import bert_config, build_masked_lm
    from bort_kedro.encoders.families import predicted_logits
    from bort_kedro.encoders.shapes import BertShape

    shape = BertShape(num_hidden_layers=2, num_attention_heads=2, hidden_size=16, intermediate_size=24)
    model = build_masked_lm(bert_config(shape, vocabulary_size=50, max_positions=16), seed=5).eval()
    model.get_input_embeddings().weight.data *= 8
    asked = []

    def teacher_logits(batch):
        asked.append(len(batch["input_ids"]))
        return predicted_logits(model, batch["input_ids"], batch.get("attention_mask"), batch["predicted"])

    return teacher_logits, asked


def new_table_teacher():
    """Says of a position what a table has for the id before it, so that no batch changes its answers by a bit."""
    table = torch.randn(50, 50, generator=torch.Generator().manual_seed(0))
    asked = []

    def teacher_logits(batch):
        asked.append(len(batch["input_ids"]))
        return table[batch["input_ids"].ravel()[batch["predicted"] - 1]]

    return teacher_logits, asked


def fill(store, teacher_logits, *, top_k=8, data=None, **changes):
    data = data or new_data()
    settings = {"num_epochs": 2, "temperature": TEMPERATURE, "vocabulary_size": 50, "batch_tokens": 40}
    return fill_cache(store, data, teacher_logits, top_k=top_k, description="", **settings | changes)


def live(teacher_logits, batch, *, top_k=8):
    with torch.no_grad():
        return top_targets(teacher_logits(batch), temperature=TEMPERATURE, top_k=top_k)


def targets_of(found):
    return TeacherTargets(**{short: found[name] for name, short in NAMES.items()})


@pytest.fixture(autouse=True)
def chunks_of_four_blocks(monkeypatch):
    monkeypatch.setattr(teacher_cache, "CHUNK_BLOCKS", 4)


@pytest.fixture
def teacher():
    return new_teacher()


@pytest.fixture
def store(tmp_path):
    return TeacherCaches(tmp_path).of({})


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_cached_targets_equal_live_ones_to_the_precision_of_float16(store, teacher, epoch):
    cached = fill(store, teacher[0])
    indices = [9, 2, 10, 2, 4]
    expected = live(teacher[0], new_data().batch(indices, epoch=epoch))
    found = targets_of(cached.lookup(indices, epoch=epoch))
    assert (found.ids.dtype, found.log_probabilities.dtype, found.log_tail.dtype) == (
        torch.int64,
        torch.float32,
        torch.float32,
    )
    torch.testing.assert_close(found.log_probabilities, expected.log_probabilities, atol=STORED, rtol=0)
    torch.testing.assert_close(found.log_tail, expected.log_tail, atol=ROUNDED, rtol=0)
    assert (found.ids == expected.ids).float().mean() == 1.0


def test_keeping_every_id_gives_the_log_probabilities_of_the_whole_vocabulary(store, teacher):
    cached = fill(store, teacher[0], top_k=50)
    batch = new_data().batch(range(NUM_BLOCKS), epoch=1)
    found = targets_of(cached.lookup(range(NUM_BLOCKS), epoch=1))
    with torch.no_grad():
        logits = teacher[0](batch)
    expected = torch.log_softmax(logits / TEMPERATURE, dim=-1)
    assert found.log_tail.isneginf().all()
    assert (expected.max(-1).values - expected.min(-1).values).mean() > 1
    expected = expected.gather(-1, found.ids)
    # float16 rounds a distance r from the likeliest id by r / 2048 at most: below 1e-3 up to 2 nats, and in proportion
    # beyond. The mass of all 50 together is exact.
    distance = expected[:, :1] - expected
    error = (found.log_probabilities - expected).abs()
    assert distance.max() > 4
    assert (error <= 2**-11 * distance + 2e-4).all()
    assert error[distance < 1.5].max() < 1e-3
    torch.testing.assert_close(found.log_probabilities, expected, atol=0, rtol=1e-3)
    torch.testing.assert_close(found.log_probabilities.exp(), expected.exp(), atol=1e-3, rtol=0)
    student = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        bucketed_divergence(student, found, temperature=TEMPERATURE),
        distillation_loss(student, logits, temperature=TEMPERATURE),
        atol=1e-3,
        rtol=0,
    )


def test_targets_join_the_batches_of_a_training_in_their_order(store, teacher):
    data = new_data()
    batch_at = data.training_batches(batch_tokens=40, targets=fill(store, teacher[0]))
    for step in range(12):
        for part in (0, 1):
            batch = batch_at(step, part, 2)
            expected = live(teacher[0], batch)
            torch.testing.assert_close(
                targets_of(batch).log_probabilities, expected.log_probabilities, atol=STORED, rtol=0
            )


def test_every_block_is_asked_about_once_an_epoch_and_a_whole_cache_is_left_alone(store, teacher, tmp_path):
    fill(store, teacher[0])
    assert sum(teacher[1]) == 2 * NUM_BLOCKS
    before = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    assert len(before) == 1 + 1 + 6  # the folder, its identity, three chunks an epoch
    fill(TeacherCaches(tmp_path).of({}), teacher[0])
    assert sum(teacher[1]) == 2 * NUM_BLOCKS
    assert sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


class DyingFolder(CacheFolder):
    """Dies instead of writing its fourth chunk."""

    def write(self, epoch, first_block, chunk):
        if (epoch, first_block) == (1, 0):
            raise KeyboardInterrupt
        super().write(epoch, first_block, chunk)


def test_a_filling_that_was_killed_goes_on_where_it_stopped(store, teacher, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fill(DyingFolder(store._folder, "{}"), teacher[0])
    asked = sum(teacher[1])
    assert asked == NUM_BLOCKS + 4
    resumed = fill(TeacherCaches(tmp_path).of({}), teacher[0])
    assert sum(teacher[1]) == asked + NUM_BLOCKS
    whole = fill(TeacherCaches(tmp_path / "other").of({}), teacher[0])
    for epoch in (0, 1):
        found, expected = (cached.lookup(range(NUM_BLOCKS), epoch=epoch) for cached in (resumed, whole))
        assert all(torch.equal(found[name], expected[name]) for name in NAMES)


def test_a_damaged_chunk_is_computed_again(store, teacher, tmp_path):
    expected = fill(store, teacher[0]).lookup(range(NUM_BLOCKS), epoch=1)
    (path,) = tmp_path.rglob("epoch-0001-block-000000004-*.safetensors")
    path.write_bytes(path.read_bytes()[:-3])
    asked = sum(teacher[1])
    found = fill(TeacherCaches(tmp_path).of({}), teacher[0]).lookup(range(NUM_BLOCKS), epoch=1)
    assert sum(teacher[1]) == asked + 4
    assert all(torch.equal(found[name], expected[name]) for name in NAMES)
    assert path.exists()
    assert path.with_suffix(".damaged").exists()


def test_the_size_is_forecast_before_the_teacher_is_asked(store, teacher, tmp_path, caplog, monkeypatch):
    num_positions = sum(len(new_data().batch(range(NUM_BLOCKS), epoch=epoch)["predicted"]) for epoch in (0, 1))
    with caplog.at_level(logging.INFO, "bort_kedro.pretraining.teacher_cache"):
        fill(store, teacher[0])
    assert caplog.messages == [
        f"The teacher cache will take 0.0 MB: {num_positions} predicted positions of {bytes_per_position(8, 50)} bytes "
        "each."
    ]
    rooms = []
    monkeypatch.setattr(CacheFolder, "require_room", lambda self, num_bytes: rooms.append(num_bytes))
    chunks = sorted(tmp_path.rglob("*.safetensors"))
    whole = sum(path.stat().st_size for path in chunks)
    sizes = [path.stat().st_size for path in chunks]
    shutil.rmtree(store._folder)
    fill(TeacherCaches(tmp_path).of({}), teacher[0])
    # Never too little, and too much by what a header of 512 bytes has to spare.
    assert whole <= rooms[0] <= whole + 6 * 512
    chunks[0].unlink()
    fill(TeacherCaches(tmp_path).of({}), teacher[0])
    assert sizes[0] <= rooms[1] <= sizes[0] + 1024


def test_a_forecast_names_what_is_there_already_in_words():
    forecast = teacher_cache._Forecast(
        positions=6_000_000, position_bytes=260, whole_bytes=1_560_000_000, missing_bytes=1_510_000_000
    )
    assert str(forecast) == (
        "The teacher cache will take 1.6 GB: 6000000 predicted positions of 260 bytes each; 50.0 MB are there already."
    )


def test_a_forecast_from_a_sample_is_near_the_exact_one(monkeypatch):
    data, chunks = new_data(), [(0, 0), (0, 4), (0, 8)]
    exact = teacher_cache._forecast(data, chunks, chunks, 8, 50)
    monkeypatch.setattr(teacher_cache, "SAMPLE_BLOCKS", 6)
    assert teacher_cache._forecast(data, chunks, chunks, 8, 50).positions == pytest.approx(exact.positions, rel=0.15)


def test_a_cache_that_does_not_fit_is_refused_before_the_teacher_is_asked(store, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(StorageError, match=r"^The teacher cache needs \d+ bytes .* Lower params:pretrain_distill"):
        fill(store, teacher[0])
    assert teacher[1] == []
    assert list(tmp_path.rglob("*")) == []


def test_a_chunk_that_is_lost_while_training_reads_is_told(store, teacher, tmp_path):
    fill(store, teacher[0])
    next(tmp_path.rglob("epoch-0001-block-000000004-*.safetensors")).unlink()
    cached = teacher_cache.CachedTargets(TeacherCaches(tmp_path).of({}), 2)
    cached.lookup([6], epoch=0)
    with pytest.raises(StorageError) as caught:
        cached.lookup([3, 6], epoch=3)
    assert str(caught.value) == (
        "The teacher cache has lost the chunk of epoch 1 that begins with block 4: its file was removed or damaged "
        "while a training was reading it. Run the same command again; what is missing is computed anew."
    )


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
@pytest.mark.parametrize("top_k", [1, 50])
def test_a_teacher_whose_logits_are_no_numbers_is_refused(store, tmp_path, value, top_k):
    def overflowing(batch):
        logits = torch.zeros(len(batch["predicted"]), 50)
        logits[-1, 3] = value
        return logits

    with pytest.raises(TrainingError) as caught:
        fill(store, overflowing, top_k=top_k)
    assert str(caught.value) == (
        "The teacher's logits are not finite numbers for some of blocks 0 to 3 of epoch 0; the chunks before are kept. "
        "Set mixed_precision to `no` or `bf16` in params:pretrain_distill.student.optimization, then run the same "
        "command again."
    )
    assert list(tmp_path.rglob("*")) == []


def test_a_k_beyond_the_vocabulary_is_refused(store, teacher):
    with pytest.raises(ConfigurationError) as caught:
        fill(store, teacher[0], top_k=51)
    assert str(caught.value) == (
        "params:pretrain_distill.teacher_cache.top_k is 51, allowed are 1 to 50, the size of the student's vocabulary. "
        "Change it there."
    )


@pytest.mark.parametrize("mask_epochs", [None, 3])
def test_masks_that_repeat_otherwise_than_the_cache_are_refused(store, teacher, mask_epochs):
    expected = (
        f"^the masks repeat after {mask_epochs} epochs and the cache after 2: it would answer about other positions$"
    )
    with pytest.raises(ValueError, match=expected):
        fill(store, teacher[0], data=replace(new_data(), mask_epochs=mask_epochs))


ONE_OF_TWO = """
import sys
from pathlib import Path
import torch
from test_teacher_cache import NUM_BLOCKS, TeacherCaches, fill, new_table_teacher, teacher_cache
teacher_cache.CHUNK_BLOCKS = 4
rank, root = int(sys.argv[1]), Path(sys.argv[2])
meet = f"file://{root}/meeting-point"
torch.distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=2)
teacher_logits, asked = new_table_teacher()
found = fill(TeacherCaches(root).of({}), teacher_logits).lookup(range(NUM_BLOCKS), epoch=1)
torch.save(found | {"asked": sum(asked)}, root / f"rank-{rank}.pt")
torch.distributed.destroy_process_group()
"""


def test_two_processes_share_the_chunks_and_read_the_same_cache_as_one(store, tmp_path):
    root = tmp_path / "two"
    root.mkdir()
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_OF_TWO, str(rank), str(root)],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=240)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    ranks = [torch.load(root / f"rank-{rank}.pt") for rank in (0, 1)]
    # Chunks of 4, 4 and 3 blocks in each epoch, dealt out in turn.
    assert [rank["asked"] for rank in ranks] == [4 + 3 + 4, 4 + 4 + 3]
    assert len(list(root.rglob("*.safetensors"))) == 6
    expected = fill(store, new_table_teacher()[0]).lookup(range(NUM_BLOCKS), epoch=1)
    for found in ranks:
        assert all(torch.equal(found[name], expected[name]) for name in NAMES)
