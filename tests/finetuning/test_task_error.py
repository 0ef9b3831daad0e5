"""What an encoder errs on a task is 1 - its score on dev, with the noise of its examples."""

import math
import pickle
from dataclasses import replace

import pytest

from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.errors import FailedTrainingError
from bort_kedro.finetuning.data import check_examples
from bort_kedro.finetuning.task_error import TaskError
from bort_kedro.finetuning.theta import HyperparameterSet
from bort_kedro.finetuning.trials import train_trial
from memory_states import DictStates
from toy_tasks import SETTINGS, encoder_of, examples_of, task_of

HYPERPARAMETERS = HyperparameterSet(learning_rate=5e-3, weight_decay=0.01, warmup_share=0.1, batch_tokens=256, seed=0)


def error_on(tokenizer, states, examples=None, **changes):
    data = check_examples(examples_of(flipped=0.25) if examples is None else examples, task_of())
    return TaskError(data, tokenizer, replace(HYPERPARAMETERS, **changes), SETTINGS.changed(num_epochs=4), states)


def test_the_error_is_what_the_score_on_dev_of_one_fine_tuning_leaves(tiny_tokenizer):
    encoder = encoder_of(tiny_tokenizer)
    measure = error_on(tiny_tokenizer, DictStates())
    found = measure(encoder.model, 3)
    task = measure.data.encoded(encoder, max_tokens=SETTINGS.max_tokens)
    settings = measure.settings
    train = task.splits["train"]
    trial = train_trial(encoder, task, train, replace(HYPERPARAMETERS, seed=3), settings, states=DictStates())
    assert found["error"] == 1 - trial.score
    assert 0.2 < found["error"] < 0.9
    # Of 24 examples: the standard error of a share.
    share = math.sqrt(trial.score * (1 - trial.score) / 24)
    assert found["error_standard_error"] == pytest.approx(share, rel=0.2)
    assert found["num_tokens"] == trial.num_tokens > 0


def test_what_travels_to_a_worker_says_the_same_there(tiny_tokenizer, tmp_path):
    encoder = encoder_of(tiny_tokenizer)
    measure = error_on(tiny_tokenizer, TrainingStates(tmp_path, keep=2))
    there = pickle.loads(pickle.dumps(measure))  # noqa: S301 - made here
    assert there.identity == measure.identity
    assert there(encoder.model, 1)["error"] == measure(encoder.model, 1)["error"]


def test_the_error_hangs_on_train_and_dev_and_not_on_test(tiny_tokenizer):
    examples = examples_of()
    said = {}
    for split in ("train", "dev", "test"):
        changed = examples.copy()
        changed.loc[changed.index[changed["split"] == split][0], "text"] = "another text"
        said[split] = error_on(tiny_tokenizer, DictStates(), changed).identity
    own = error_on(tiny_tokenizer, DictStates(), examples).identity
    assert said["test"] == own
    assert said["train"] != own != said["dev"] != said["train"]
    assert error_on(tiny_tokenizer, DictStates(), examples, learning_rate=1e-3).identity != own
    assert error_on(tiny_tokenizer, DictStates(), examples, seed=7).identity == own


def test_a_fine_tuning_that_diverges_has_failed(tiny_tokenizer):
    with pytest.raises(FailedTrainingError) as caught:
        error_on(tiny_tokenizer, DictStates(), learning_rate=1e12)(encoder_of(tiny_tokenizer).model, 0)
    assert caught.value.reason == "its fine-tuning on task toy diverged"


def test_an_encoder_may_have_a_tokenizer_of_its_own(tiny_tokenizer):
    encoder = encoder_of(tiny_tokenizer)
    lost = error_on(None, DictStates())
    assert lost(encoder.model, 0, tiny_tokenizer) == error_on(tiny_tokenizer, DictStates())(
        Pretrained(encoder.model, tiny_tokenizer).model, 0
    ) | {"seconds": pytest.approx(0, abs=60)}
