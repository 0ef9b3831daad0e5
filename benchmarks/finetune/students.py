"""Students that differ by the seed of their pretraining, each begun where the last search left the selected shape."""

from __future__ import annotations

from pathlib import Path

from benchmarks.configured import PROJECT, raw_parameters
from bort_kedro.configuration import check_parameters
from bort_kedro.datasets.model_folder import PretrainedDataset
from bort_kedro.datasets.token_blocks import TokenBlocksDataset
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.encoder import shape_of
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.student_start import from_candidate
from bort_kedro.pipeline_registry import task_teacher
from bort_kedro.pretraining.pretrain import definite, new_encoder, pretrain


def latest(pattern: str) -> Path:
    """The newest version of what `kedro run` made.

    Raises:
        SystemExit: If there is none.
    """
    found = sorted((PROJECT / "data").glob(pattern))
    if not found:
        raise SystemExit(f"data/{pattern} is missing: run `make run` first, whose encoders are fine-tuned here.")
    return found[-1]


def encoder_of_run(name: str) -> Pretrained:
    """An encoder of the last `kedro run`, by the name of its dataset."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    return PretrainedDataset(str(latest(f"06_models/{name}/*/{name}"))).load()


def encoders() -> tuple[Pretrained, Pretrained]:
    """Teacher and student of the last `kedro run`, as its tasks have them."""
    return encoder_of_run(task_teacher(check_parameters(raw_parameters()))), encoder_of_run("student_encoder")


def pretrained_student(seed: int, states: Path, **changes: int) -> Pretrained:
    """The student of one seed, pretrained as `kedro run` does, on one thread; what is in the states is found there.

    Args:
        seed: Of its order and masks.
        states: Of trainings.
        changes: Of ``pretrain_distill.student``.
    """
    parameters = check_parameters(raw_parameters())
    candidate = encoder_of_run("selected_encoder")
    tokens = TokenBlocksDataset(str(latest("05_model_input/tokens/*/tokens"))).load()
    training = parameters.pretrain_distill.student
    optimization = training.optimization.changed(seed=seed)
    settings = definite(training.changed(optimization=optimization, num_threads=1, **changes))
    shape = shape_of(candidate.model.config)
    model = new_encoder(shape, tokens, max_positions=parameters.corpus.max_positions, settings=settings)
    from_candidate(model, candidate)
    kept = TrainingStates(states, keep=1)
    pretrain(model, tokens, settings, states=kept, name=f"student-{seed}", start=candidate.fingerprint)
    return Pretrained(model, candidate.tokenizer)
