"""The trainings that are held against each other; each runs in a process of its own and returns what it took."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pretrain.material import (
    LEARNING_RATE,
    Setting,
    encoder,
    made_up_tokenizer,
    random_tokens,
    seconds_between,
    settings_of,
)
from bort_kedro.latency.memory import peak_resident_bytes

if TYPE_CHECKING:
    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.pretraining.distillation import Distillation, TeacherCache

# As published with Bort; the square of the temperature is inside the loss.
TEMPERATURE, MASKED_LM_WEIGHT, DISTILLATION_WEIGHT = 2.0, 0.1, 0.5
TOP_K = 64


@dataclass(frozen=True)
class Taken:
    """What one training took.

    Args:
        step_seconds: Wall time of each timed step, from the end of the step before to its own end.
        peak_bytes: Largest resident memory of the process, libraries and start-up included.
        bytes_before: The same before any weight was there: mostly the libraries.
        others: Whatever else the system knows of itself.
    """

    step_seconds: list[float]
    peak_bytes: int
    bytes_before: int
    others: dict[str, Any] = field(default_factory=dict)


def ours(setting: Setting) -> Taken:
    """The project's pretraining, masked-LM loss alone."""
    return _pretrain(setting, None)


def ours_live(setting: Setting) -> Taken:
    """The project's pretraining with the teacher running beside the student."""
    return _pretrain(setting, _distillation(setting, cache=None))


def ours_cached(setting: Setting) -> Taken:
    """The project's pretraining with a teacher cache, filled first and timed apart from the steps."""
    from bort_kedro.datasets.teacher_cache import TeacherCaches
    from bort_kedro.pretraining import pretrain as pretraining
    from bort_kedro.pretraining.distillation import TeacherCache

    filled: dict[str, float] = {}
    fill_cache = pretraining.fill_cache

    def timed_fill(store: Any, data: Any, *arguments: Any, **keywords: Any) -> Any:
        began = time.perf_counter()
        cached = fill_cache(store, data, *arguments, **keywords)
        filled["seconds"] = time.perf_counter() - began
        filled["tokens"] = int(data.blocks.lengths.sum()) * keywords["num_epochs"]
        filled["positions"] = len(cached.lookup(range(len(data.blocks)), epoch=0)["teacher_log_tail"])
        return cached

    with tempfile.TemporaryDirectory() as folder:
        cache = TeacherCache(top_k=TOP_K, num_epochs=1, store=TeacherCaches(Path(folder)))
        pretraining.fill_cache = timed_fill
        try:
            taken = _pretrain(setting, _distillation(setting, cache=cache))
        finally:
            pretraining.fill_cache = fill_cache
        filled["bytes"] = sum(file.stat().st_size for file in Path(folder).rglob("*.safetensors"))
    return replace(taken, others={"cache": filled})


def trainer(setting: Setting) -> Taken:
    """``transformers.Trainer`` with its masked-LM collator and its defaults; logits at every position."""
    return _run_trainer(setting, None)


def trainer_with_teacher(setting: Setting) -> Taken:
    """The naive distillation: both models give logits at every position, the divergence takes the masked ones."""
    return _run_trainer(setting, _teacher(setting))


SYSTEMS = {system.__name__: system for system in (trainer, ours, trainer_with_teacher, ours_live, ours_cached)}


def _teacher(setting: Setting) -> Any:
    return encoder(setting.teacher_shape, setting, seed=1).eval().requires_grad_(False)


def _distillation(setting: Setting, *, cache: Any) -> Distillation:
    from bort_kedro.encoders.pretrained import Pretrained

    return distillation_of(Pretrained(_teacher(setting), made_up_tokenizer(setting)), setting, cache=cache)


def distillation_of(teacher: Pretrained, setting: Setting, *, cache: TeacherCache | None) -> Distillation:
    """By a teacher's logits, weighed as published with Bort."""
    import torch

    from bort_kedro.pretraining.distillation import Distillation
    from bort_kedro.pretraining.settings import DistillationSettings
    from bort_kedro.text.vocabulary_map import VocabularyMap

    return Distillation(
        teacher=teacher,
        vocabulary_map=VocabularyMap(torch.arange(setting.vocabulary_size), setting.vocabulary_size, None),
        settings=DistillationSettings(
            masked_lm_weight=MASKED_LM_WEIGHT,
            logits={"weight": DISTILLATION_WEIGHT, "until": 1.0, "temperature": TEMPERATURE},
            relations={"weight": 0.0, "until": 1.0, "num_heads": 1, "teacher_layer": None},
            hidden_states={"weight": 0.0, "until": 1.0, "teacher_layer": None},
        ),
        cache=cache,
    )


def _pretrain(setting: Setting, distillation: Any) -> Taken:
    from bort_kedro.pretraining.pretrain import pretrain

    before = peak_resident_bytes()
    times: list[float] = []
    pretrain(
        encoder(setting.shape, setting),
        random_tokens(setting),
        settings_of(setting),
        states=None,
        name="benchmark",
        distillation=distillation,
        on_row=lambda row: times.append(time.perf_counter()),
        measures_speed=True,
    )
    return Taken(seconds_between(times, setting), peak_resident_bytes(), before)


def _run_trainer(setting: Setting, teacher: Any) -> Taken:
    import torch
    from transformers import (
        DataCollatorForLanguageModeling,
        PrinterCallback,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    before = peak_resident_bytes()
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

    torch.set_num_threads(setting.num_threads)
    collator = DataCollatorForLanguageModeling(made_up_tokenizer(setting), mlm_probability=setting.masked_share)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=setting.batch_size,
            max_steps=setting.num_steps,
            learning_rate=LEARNING_RATE,
            bf16=setting.mixed_precision == "bf16",
            use_cpu=True,
            seed=0,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            # The collator is faster when it need not look for the special tokens itself.
            remove_unused_columns=False,
        )
        kind = _naive_distillation(Trainer, teacher) if teacher is not None else Trainer
        training = kind(
            model=encoder(setting.shape, setting),
            args=arguments,
            train_dataset=_rows(setting),
            data_collator=collator,
            callbacks=[Clock()],
        )
        training.remove_callback(PrinterCallback)
        training.train()
    return Taken(
        seconds_between(times, setting), peak_resident_bytes(), before, {"optimizer": str(arguments.optim.value)}
    )


def _rows(setting: Setting) -> list[dict[str, list[int]]]:
    blocks = random_tokens(setting).splits["train"]
    special = [1, *[0] * (setting.sequence_length - 2), 1]
    return [{"input_ids": blocks[number].tolist(), "special_tokens_mask": special} for number in range(len(blocks))]


def _naive_distillation(base: Any, teacher: Any) -> Any:
    """A Trainer whose loss is the project's, computed the plain way."""
    import torch

    from bort_kedro.pretraining.losses import distillation_loss

    class DistillationTrainer(base):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            output = model(**inputs)
            with torch.no_grad():
                of_teacher = teacher(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
            is_predicted = inputs["labels"] != -100
            divergence = distillation_loss(
                output.logits[is_predicted], of_teacher[is_predicted], temperature=TEMPERATURE
            )
            loss = MASKED_LM_WEIGHT * output.loss + DISTILLATION_WEIGHT * divergence
            return (loss, output) if return_outputs else loss

    return DistillationTrainer
