"""Small things that most tests need; the network is blocked by pytest-socket (see pyproject.toml)."""

import fcntl
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.text.tokens import TokenBlocks, Vocabulary
from cutting import cut_document
from golden import Golden

PROJECT = Path(__file__).resolve().parent.parent
# The run that all sessions share is begun first, beside tests that do not need it, and what is short is left for last.
FIRST = (
    "sessions/test_sessions.py",
    "search/test_engines.py",
    "pretraining/test_launch.py",
    "sessions/",
    "benchmarks/",
    "exports/",
)
# Stages, processes, conversions and trainings of seconds; beside these files single tests are marked.
SLOW = (
    "agora/test_run.py",
    "benchmarks/",
    "exports/",
    "finetuning/test_finetune.py",
    "finetuning/test_task_error.py",
    "finetuning/test_tasks_on_cuda.py",
    "finetuning/test_trials.py",
    "forecast/test_stage_seconds.py",
    "latency/test_memory.py",
    "pipelines/test_evaluate.py",
    "pipelines/test_finetune.py",
    "pipelines/test_submission_nodes.py",
    "pretraining/test_device_step.py",
    "pretraining/test_interrupted_pretraining.py",
    "pretraining/test_launch.py",
    "pretraining/test_teacher_cache.py",
    "pretraining/test_whole_trainings_on_cuda.py",
    "search/test_engines.py",
    "search/test_guarantee.py",
    "search/test_trained_errors.py",
    "session/test_model_logging.py",
    "session/test_signals_while_tracking.py",
    "session/test_training_runs.py",
    "session/test_trial_tracking.py",
    "sessions/",
    "test_mutation.py",
    "test_notebooks.py",
    "test_structure.py",
    "test_transformers_pipelines.py",
)
# Fuzzing: the same few examples in every run of the tests, or many others each night (`make fuzz`).
settings.register_profile("quick", deadline=None, derandomize=True, database=None, max_examples=20)
settings.register_profile("deep", deadline=None, database=None, max_examples=4000, print_blob=True)
settings.load_profile("quick")
SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SENTENCES = [
    "The mean of the array is computed along the given axis.",
    "Return a new array of the given shape and type, filled with ones.",
    "The solver stops when the residual is smaller than the tolerance.",
    "Rows with missing values are dropped before the mean is computed.",
    "The estimator is fitted on the training set and scored on the test set.",
    "A sparse matrix keeps only those values which are not zero.",
]


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write the files in golden/ anew (tests/golden.py)")


def path_of(path):
    """Below the folder of the tests."""
    return path.relative_to(PROJECT / "tests").as_posix()


def pytest_ignore_collect(collection_path, config):
    """Not even import slow files where none is asked for."""
    is_quick = "not slow" in config.option.markexpr
    return True if is_quick and collection_path.is_file() and path_of(collection_path).startswith(SLOW) else None


def pytest_collection_modifyitems(items):
    def place(item):
        path = path_of(item.path)
        return next((place for place, start in enumerate(FIRST) if path.startswith(start)), len(FIRST))

    items.sort(key=place)
    for item in items:
        if path_of(item.path).startswith(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def golden(request):
    """See `golden.Golden`."""
    return Golden(request.path.parent / "golden", is_updated=request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Makes what all tests share once, also among the workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name, make):
        """The folder of this name; `make` fills it where it is not yet whole."""
        part, is_whole = folder / name, folder / f"{name}.whole"
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_whole.exists():
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                make(part)
                is_whole.touch()
        return part

    return once


@pytest.fixture(scope="session")
def empty_store(shared):
    """A MLflow store without a run: a copy is there at once, while a new one takes seconds."""
    from mlflow import MlflowClient

    folder = shared("store", lambda folder: MlflowClient(f"sqlite:///{folder}/mlruns.db").search_experiments())
    return folder / "mlruns.db"


@pytest.fixture
def tiny_shape():
    return BertShape(num_hidden_layers=2, num_attention_heads=2, hidden_size=16, intermediate_size=24)


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """Byte-level BPE of 300 ids: 5 special tokens (ids 0 to 4), 256 bytes, 39 merges."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import RobertaProcessing
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        SENTENCES * 3, vocab_size=300, min_frequency=2, special_tokens=SPECIAL_TOKENS, show_progress=False
    )
    trained.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    roles = {
        "bos": "<s>",
        "cls": "<s>",
        "pad": "<pad>",
        "eos": "</s>",
        "sep": "</s>",
        "unk": "<unk>",
        "mask": "<mask>",
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, **{f"{role}_token": token for role, token in roles.items()}
    )


@pytest.fixture(scope="session")
def tiny_vocabulary(tiny_tokenizer):
    return Vocabulary(
        size=len(tiny_tokenizer),
        mask_id=tiny_tokenizer.mask_token_id,
        pad_id=tiny_tokenizer.pad_token_id,
        special_ids=tuple(sorted(tiny_tokenizer.all_special_ids)),
        fingerprint="tiny",
    )


@pytest.fixture(scope="session")
def tiny_blocks(tiny_tokenizer):
    """24 blocks of 5 to 14 tokens, ``<s>`` and ``</s>`` included."""
    generator = np.random.default_rng(7)
    blocks = []
    for index in range(24):
        text = SENTENCES[index % len(SENTENCES)]
        ids = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]
        piece = cut_document(ids, block_tokens=12)[0][: int(generator.integers(3, 13))]
        blocks.append([0, *piece, 2])
    return TokenBlocks.from_blocks(blocks, vocabulary_size=len(tiny_tokenizer))


@pytest.fixture(scope="session")
def real_data():
    """Folder of the real files: $BORT_KEDRO_REAL_DATA, or shared/data beside the project."""
    folder = Path(os.environ.get("BORT_KEDRO_REAL_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; name its folder in BORT_KEDRO_REAL_DATA")
    return folder
