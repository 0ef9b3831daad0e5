"""A task from its examples to its predictions on a pretended CUDA device."""

import pytest

from bort_kedro.agora.run import run_agora
from bort_kedro.agora.teacher import TaskTeacher, fine_tune_teacher
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.finetuning.finetune import conclude, student_task
from bort_kedro.finetuning.theta import HyperparameterSet
from cuda_on_cpu import pretended_cuda
from toy_tasks import AGORA, SETTINGS, data_of, encoder_of

THETA = (HyperparameterSet(1e-2, 0.01, 0.1, 512, 0),)
STUDENT_THETA = (HyperparameterSet(1e-3, 0.01, 0.1, 512, 0), HyperparameterSet(3e-3, 0.01, 0.1, 512, 0))
LARGER = BertShape(num_hidden_layers=1, num_attention_heads=4, hidden_size=64, intermediate_size=64)
HARD = AGORA.changed(
    max_overlap=0.8,
    ngram_words=2,
    teacher_labels="hard",
    transformation=AGORA.transformation.changed(
        weights={"masked_lm": 1.0, "swap_words": 1.0}, changed_share=0.3, top_k=20, batch_tokens=512
    ),
)


def tuned(tokenizer, folder):
    """What Agora makes of a toy task, whose teacher is fine-tuned first and makes points by its masked-LM head."""
    data, states = data_of(num_train=24, num_dev=12, num_test=12), TrainingStates(folder, keep=2)
    larger = encoder_of(tokenizer, seed=1, shape=LARGER)
    taught, _ = fine_tune_teacher(student_task(larger, data, THETA, SETTINGS.changed(num_epochs=2), states))
    teacher = TaskTeacher(taught.model, larger, data, HARD, 48)
    task = student_task(encoder_of(tokenizer), data, STUDENT_THETA, SETTINGS, states)
    return conclude(task, run_agora(task, teacher))


def test_a_task_on_cuda_ends_where_it_does_on_the_cpu(tiny_tokenizer, tmp_path):
    own = tuned(tiny_tokenizer, tmp_path / "cpu")
    with pretended_cuda() as device:
        found = tuned(tiny_tokenizer, tmp_path / "cuda")
    assert device.waits["objectives.predict"] > 0
    assert sum(each.points.num_kept for each in own.report.rounds[1:]) > 0
    scores, scores_on_cuda = (
        [trial.dev_score for each in which.report.rounds for trial in each.trials] for which in (own, found)
    )
    assert scores_on_cuda == scores
    said = [name for name in own.predictions.columns if name.startswith("probability_")]
    for name in said:
        assert found.predictions[name].tolist() == pytest.approx(own.predictions[name].tolist(), abs=1e-4)
