"""One pretraining shared by two processes, which meet over gloo on the CPU."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys

import pytest
import torch

from bort_kedro.datasets.text_streams import TextFilesStreamDataset
from bort_kedro.datasets.token_blocks import TokenBlocksDataset
from bort_kedro.errors import ConfigurationError, TrainingError
from bort_kedro.pretraining import launch
from bort_kedro.pretraining.launch import run_job
from bort_kedro.pretraining.pretrain import pretrain
from bort_kedro.pretraining.settings import LaunchSettings
from bort_kedro.pretraining.streamed_blocks import StreamedBlocks
from bort_kedro.text.tokenizer import vocabulary_of
from bort_kedro.training.observer import Training
from memory_states import NotingObserver
from toy_pretraining import PUBLISHED, folder_of, job_for, made_up_tokens, mixture, settings


@pytest.fixture
def stored_tokens(tmp_path):
    dataset = TokenBlocksDataset(str(tmp_path / "tokens"))
    dataset.save(made_up_tokens())
    return dataset.load()


@pytest.mark.parametrize(
    "kinds",
    [None, PUBLISHED, mixture(masked_lm=0.0, relations=1.0)],
    ids=["alone", "under a live teacher", "with nothing predicted"],
)
def test_two_processes_end_where_one_does_at_the_same_global_batch(tmp_path, stored_tokens, tiny_tokenizer, kinds):
    # Dropout draws its own numbers in each process, so without it.
    how = settings(dropout=0.0, num_steps=30, checkpoint_every_steps=10)
    tokenizer = tiny_tokenizer if kinds else None
    one = job_for(tmp_path / "one", how, tokens=stored_tokens, tokenizer=tokenizer, kinds=kinds)
    two = job_for(tmp_path / "two", how, tokens=stored_tokens, tokenizer=tokenizer, kinds=kinds)
    expected = run_job(one, LaunchSettings(num_processes=1, sharding="none"))
    found = run_job(two, LaunchSettings(num_processes=2, sharding="none"))
    for (name, left), right in zip(two.model.named_parameters(), one.model.parameters(), strict=True):
        torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-3, msg=name)
    for left, right in zip(found.history, expected.history, strict=True):
        assert left == pytest.approx(right, rel=1e-3)
    # The first process alone writes: one folder, the finished state, nothing beside it.
    files = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "two").rglob("step-*"))
    assert files == ["step-000000030"]
    # It has spent the time of two, so two processes did take part.
    alone, beside = (folder_of(job).latest().record for job in (one, two))
    assert alone["device_seconds"] == pytest.approx(alone["seconds"], rel=0.2)
    assert beside["device_seconds"] == pytest.approx(2 * beside["seconds"], rel=0.2)


def test_two_processes_go_on_from_what_one_left_of_a_stream_and_end_where_one_does(tmp_path, tiny_tokenizer):
    how = settings(dropout=0.0, num_steps=12, checkpoint_every_steps=4).changed(validate_every_steps=4)
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("\n".join(f"Line {line} of text {number}." for line in range(20)))
    vocabulary = vocabulary_of(tiny_tokenizer)
    splits = made_up_tokens().splits
    tokens = dataclasses.replace(
        made_up_tokens(), vocabulary=vocabulary, splits=splits | {"validation": splits["train"]}
    )

    def job(name):
        stream = StreamedBlocks(
            TextFilesStreamDataset([str(tmp_path / "*.txt")], document_boundary="line").load(),
            tiny_tokenizer,
            vocabulary,
            sequence_length=16,
            held_out_texts=frozenset(),
            seed=0,
            masked_share=0.3,
            whole_words=False,
            word_starts=None,
            batch_tokens=64,
            num_readers=4,
            shuffle_blocks=8,
        )
        return dataclasses.replace(job_for(tmp_path / name, how, tokens=tokens), stream=stream)

    def weights(of):
        return [parameter.detach().clone() for parameter in of.model.parameters()]

    one, first, later = (job(name) for name in ("one", "both", "both"))
    expected = run_job(one, LaunchSettings(num_processes=1, sharding="none"))
    arguments = {key: value for key, value in vars(first).items() if key != "told_as"}
    pretrain(**arguments, stop_at=7)
    observer, told_as = NotingObserver(), Training("student", "student", {})
    later.states.observer = observer
    told = dataclasses.replace(later, told_as=told_as)
    resumed = run_job(told, LaunchSettings(num_processes=2, sharding="none"))
    assert resumed.num_tokens == expected.num_tokens
    # The rows that the processes have added came from them, while they ran.
    assert [row for _, row in observer.rows] == resumed.history[7:]
    assert [row["step"] for row in resumed.history if "validation_loss" in row] == [4, 8, 12]
    for left, right in zip(resumed.history, expected.history, strict=True):
        assert {name: left[name] for name in right} == pytest.approx(right, rel=1e-3)
    torch.testing.assert_close(weights(later), weights(one), atol=1e-4, rtol=1e-3)


def test_a_fault_in_the_processes_is_told_in_its_own_words(tmp_path, stored_tokens):
    how = settings(num_steps=10, learning_rate=1e30, max_gradient_norm=1e30, warmup_share=0.0)
    with pytest.raises(
        TrainingError, match=r"is not finite at step \d+\. The last good state is kept\. Lower learning_rate"
    ):
        run_job(job_for(tmp_path / "two", how, tokens=stored_tokens), LaunchSettings(num_processes=2, sharding="none"))


# A busy machine may need a while to end what may be ended.
@pytest.mark.parametrize(("asked_to_end", "seconds"), [("signal.SIG_DFL", 1.0), ("signal.SIG_IGN", 0.3)])
def test_processes_that_wait_for_ever_after_a_fault_are_ended(tmp_path, monkeypatch, asked_to_end, seconds):
    monkeypatch.setattr(launch, "SECONDS_TO_END", seconds)
    monkeypatch.setattr(launch, "SECONDS_BETWEEN_LOOKS", 0.05)
    fault, looks = tmp_path / "job.fault", []
    script = (
        f"import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, {asked_to_end}); "
        "pathlib.Path(sys.argv[1]).write_text('it is so'); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(fault)]) as waiting:
        launch.wait_for(waiting, fault, lambda: looks.append(fault.exists()))
    assert waiting.returncode == {"signal.SIG_DFL": -signal.SIGTERM, "signal.SIG_IGN": -signal.SIGKILL}[asked_to_end]
    assert fault.read_text() == "it is so"
    assert looks[-1]


def test_launched_processes_end_with_an_interrupted_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "SECONDS_BETWEEN_LOOKS", 0.05)

    def interrupt():
        raise KeyboardInterrupt

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]) as waiting:
        with pytest.raises(KeyboardInterrupt):
            launch.wait_for(waiting, tmp_path / "none", interrupt)
        assert waiting.wait(60) == -signal.SIGTERM


def test_a_finished_training_starts_no_process(tmp_path, stored_tokens, monkeypatch):
    how = settings(num_steps=10)
    first = job_for(tmp_path, how, tokens=stored_tokens)
    run_job(first, LaunchSettings(num_processes=1, sharding="none"))
    monkeypatch.setattr("subprocess.run", lambda *words, **more: pytest.fail("a process was started"))
    second = job_for(tmp_path, how, tokens=stored_tokens)
    run_job(second, LaunchSettings(num_processes=2, sharding="none"))
    assert folder_of(second).latest().step == 10
    for left, right in zip(second.model.parameters(), first.model.parameters(), strict=True):
        assert torch.equal(left, right)


def test_shards_without_gpus_are_refused(tmp_path, stored_tokens):
    with pytest.raises(ConfigurationError) as caught:
        run_job(job_for(tmp_path, settings(), tokens=stored_tokens), LaunchSettings(num_processes=2, sharding="full"))
    assert str(caught.value) == (
        "sharding is full over 2 processes, and this machine has 0 CUDA device(s). Set sharding to none, or "
        "num_processes to the number of devices, under params:pretrain_distill.launch."
    )


@pytest.mark.parametrize("sharding", ["full", "none"])
def test_shards_under_a_launcher_are_refused(tmp_path, stored_tokens, monkeypatch, sharding):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false" if sharding == "full" else "true")
    with pytest.raises(ConfigurationError, match=r"^Shards \(FSDP\) are for the processes that the node itself starts"):
        run_job(job_for(tmp_path, settings(), tokens=stored_tokens), LaunchSettings(num_processes=2, sharding=sharding))
