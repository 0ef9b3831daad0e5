"""From the encoder to its students: shapes that the search selects under a cap, each extracted and distilled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.own_process import fresh_processes, on_the_cpu, quietly
from benchmarks.real.arms import CUT, DISTILLED, ENCODER, EXTRACTED, RANDOM, cut_shape, first_layers, random_student
from benchmarks.real.material import Material, distillation_of_layers, extracted, material_of
from benchmarks.real.selection import Selected, select
from benchmarks.real.setting import Setting
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.encoder import shape_of
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.reporting.markdown import large

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bort_kedro.encoders.shapes import BertShape
    from bort_kedro.pretraining.distillation import Distillation

NUM_PROCESSES = 2


@dataclass(frozen=True)
class Distilled:
    """How a student was taught.

    Args:
        num_tokens: That it saw.
        seconds: Of its training on one thread.
        before: Its distance from the encoder on held-out text, in nats, as it was extracted.
        after: Likewise as it was taught.
    """

    num_tokens: int
    seconds: float
    before: float
    after: float


@dataclass(frozen=True)
class Students:
    """All encoders that are fine-tuned, and how they came about.

    Args:
        about: The real one in words.
        shape: Its shape.
        corpus: In words.
        selected: By cap.
        distilled: By cap.
        encoders: By arm.
        seconds: By part.
    """

    about: str
    shape: BertShape
    corpus: str
    selected: dict[str, Selected]
    distilled: dict[str, Distilled]
    encoders: dict[str, Pretrained]
    seconds: dict[str, float]


@quietly()
def make_students(encoder: str, patterns: Sequence[str], setting: Setting, states: Path) -> Students:
    """Search, extract and distil, as far as that is not done yet."""
    material = material_of(encoder, patterns, setting)
    encoders, shape = {ENCODER: material.encoder}, shape_of(material.encoder.model.config)
    selected = {cap: select(material, share, states) for cap, share in setting.caps.items()}
    for cap, each in selected.items():
        encoders |= {
            f"{cap} {CUT}": first_layers(material.encoder, cut_shape(shape, setting.caps[cap]).num_hidden_layers),
            f"{cap} {EXTRACTED}": extracted(each.shape, material.encoder),
            f"{cap} {RANDOM}": random_student(each.shape, material.encoder),
        }
    with fresh_processes(NUM_PROCESSES, on_the_cpu(1)) as pool:
        # Two caps may select one shape.
        shapes = {each.shape for each in selected.values()}
        coming = {shape: pool.submit(distil, shape, material, states) for shape in sorted(shapes)}
        students = {cap: coming[each.shape].result() for cap, each in selected.items()}
    encoders |= {f"{cap} {DISTILLED}": student for cap, (student, _) in students.items()}
    distilled = {cap: how for cap, (_, how) in students.items()}
    return Students(
        about=_about(material.encoder),
        shape=shape,
        corpus=material.corpus,
        selected=selected,
        distilled=distilled,
        encoders=encoders,
        seconds={
            "search, the time of all trainings together": sum(each.seconds for each in selected.values()),
            "distillation, the time of both trainings together": sum(each.seconds for each in distilled.values()),
        },
    )


def _about(encoder: Pretrained) -> str:
    count = large(encoder.model.num_parameters())
    return f"a `{encoder.model.config.model_type}` of {count} parameters with the fingerprint `{encoder.fingerprint}`"


@quietly()
def distil(shape: BertShape, material: Material, states: Path) -> tuple[Pretrained, Distilled]:
    """Teach an extracted student; a training that was killed goes on from its last state."""
    from bort_kedro.pretraining.pretrain import definite, pretrain

    student, taught = extracted(shape, material.encoder), distillation_of_layers(material)
    before = _distance(student, taught, material)
    result = pretrain(
        student.model,
        material.tokens,
        definite(material.parameters.pretrain_distill.student),
        states=TrainingStates(states / "distilled", keep=1),
        name=shape.identifier,
        start=student.fingerprint,
        distillation=taught,
        description=f"distilling {shape}",
    )
    return student, Distilled(result.num_tokens, result.seconds, before, _distance(student, taught, material))


def _distance(student: Pretrained, taught: Distillation, material: Material) -> float:
    """How far apart the relations of student and encoder are, as the search measures it."""
    from bort_kedro.pretraining.pretrain import EVALUATION_BATCH_TOKENS, evaluation_blocks
    from bort_kedro.pretraining.teacher_distance import teacher_distance

    blocks = evaluation_blocks(material.tokens, "validation")
    return teacher_distance(student.model, taught, blocks, batch_tokens=EVALUATION_BATCH_TOKENS).mean
