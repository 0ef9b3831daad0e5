"""Parameters of the finetune stage."""

from difflib import get_close_matches
from typing import Literal, Self

from pydantic import Field, model_validator

from bort_kedro.agora.settings import AgoraSettings
from bort_kedro.finetuning.settings import FinetuningSettings
from bort_kedro.frozen import FrozenModel
from bort_kedro.tasks.settings import BuiltinTasksSettings, OwnTaskSettings, ReadingSettings, RecordedLabelsSettings
from bort_kedro.tasks.table import TASKS, Form, Task, find_task, own_task, scoring_task

# Of tasks whose teacher may be a file.
RECORDED_FORMS = (Form.CLASSIFICATION, Form.REGRESSION, Form.MULTIPLE_CHOICE)
# A method that learns nothing else.
WEAK_SUPERVISION = "weak_supervision"


class FinetuneTeacherParams(FrozenModel):
    """Who labels new points: an encoder once it is fine-tuned, or a file."""

    encoder: str = Field(
        description="teacher or student, those of the pretraining; or the hub id or folder of a masked-LM encoder."
    )
    recorded: dict[str, RecordedLabelsSettings] = Field(
        description="By task, a file of labels or beliefs: its teacher instead of an encoder, or further rows of train."
    )
    training: FinetuningSettings = Field(description="How the encoder is fine-tuned on each task, plainly.")


class FinetuneParams(ReadingSettings):
    """Which tasks are learned, from which files, and how."""

    tasks: tuple[str, ...] = Field(min_length=1, description="Names of the table of tasks, or of `own_tasks`.")
    own_tasks: dict[str, OwnTaskSettings] = Field(description="Your own tasks, by name.")
    split_seed: int = Field(ge=0, description="Halves the official dev where the official test has no labels.")
    builtin_tasks: BuiltinTasksSettings = Field(description="How the built-in tasks are made.")
    student: str | None = Field(
        description="Hub id or folder of an encoder in the place of search and pretraining; null is theirs. No "
        "masked-LM head is needed."
    )
    method: Literal["plain", "distilled", "weak_supervision", "agora", "auto"] = Field(
        description="How the student is fine-tuned; auto is what cross-validation on train finds best for each task."
    )
    rivals: tuple[Literal["plain", "distilled", "weak_supervision", "random_augmentation"], ...] = Field(
        description="Trained beside Agora with as many steps, to compare."
    )
    ends_with_dev: bool = Field(
        description="Whether a last training learns what was best and dev, once dev has chosen; of rivals too."
    )
    num_folds: int = Field(
        ge=2,
        description="Parts of train: for `distilled`, each is answered by a teacher of the others; for auto, by all.",
    )
    weak_teacher: Literal["stop", "plain"] = Field(
        description="Where a teacher is not over its bar: stop the run, or fine-tune that task plainly."
    )
    training: FinetuningSettings = Field(description="How the student learns each task.")
    teacher: FinetuneTeacherParams
    agora: AgoraSettings

    @property
    def has_encoder_as_teacher(self) -> bool:
        """Whether the teacher of any task is an encoder."""
        return self.method != "plain" and bool(self._not_recorded)

    @property
    def _not_recorded(self) -> list[str]:
        """Tasks that are learned, and have no recorded labels."""
        return [
            name for name in self.tasks if scoring_task(name, self.tasks) is None and name not in self.teacher.recorded
        ]

    @model_validator(mode="after")
    def _an_opened_student_is_taught_by_what_is_there(self) -> Self:
        if self.student is not None and self.teacher.encoder == "teacher" and self.has_encoder_as_teacher:
            raise ValueError(
                f"teacher.encoder is teacher, that of the pretraining, and student is {self.student}, which takes the "
                "place of the pretraining; name a hub id or a folder as teacher.encoder, such as roberta-large, or set "
                "student to null"
            )
        return self

    @model_validator(mode="after")
    def _tasks_are_known(self) -> Self:
        faulty = [name for name in self.tasks if not name.isidentifier() or self.tasks.count(name) > 1]
        if faulty:
            raise ValueError(
                f"tasks holds {faulty}; each name must stand once and be letters, digits and underscores, "
                "since it becomes part of dataset names"
            )
        unknown = [name for name in self.tasks if name not in TASKS and name not in self.own_tasks]
        if unknown:
            near = [each for name in unknown for each in get_close_matches(name, (*TASKS, *self.own_tasks), n=1)]
            meant = f" (did you mean {', '.join(near)}?)" if near else ""
            raise ValueError(
                f"tasks holds {unknown}{meant}, which are neither in the table of tasks ({', '.join(TASKS)}) nor in "
                f"own_tasks ({', '.join(self.own_tasks) or 'none'})"
            )
        strangers = [name for name in self.files if name not in self.tasks]
        if strangers:
            raise ValueError(f"files names {strangers}, which tasks does not hold ({', '.join(self.tasks)})")
        unread = [name for name in self.files if self.read_from == "hub" and name in TASKS and TASKS[name].hub[0]]
        if unread:
            raise ValueError(f"files names {unread}, and read_from is hub, which reads no file; set it to files")
        untaught = [name for name in self.teacher.recorded if name not in self.tasks]
        if untaught:
            raise ValueError(f"teacher.recorded names {untaught}, which tasks does not hold ({', '.join(self.tasks)})")
        forms = {name: task_of(name, self).form for name in self.teacher.recorded}
        unread = [f"{name} ({form})" for name, form in forms.items() if form not in RECORDED_FORMS]
        if unread:
            raise ValueError(
                f"teacher.recorded names {', '.join(unread)}; labels can be recorded for {', '.join(RECORDED_FORMS)}"
            )
        if WEAK_SUPERVISION in (self.method, *self.rivals) and self._not_recorded:
            raise ValueError(
                f"method or rivals name {WEAK_SUPERVISION}, which learns recorded labels, and teacher.recorded has "
                f"none for {', '.join(self._not_recorded)}; name a file there, or another method"
            )
        if len(set(self.rivals)) < len(self.rivals):
            raise ValueError(f"rivals is {list(self.rivals)}; each may stand once")
        taken = [name for name in self.own_tasks if name in TASKS]
        if taken:
            raise ValueError(f"own_tasks holds {taken}, which the table of tasks has already; choose other names")
        for name in self.tasks:
            needed = TASKS[name].scored_with if name in TASKS else ()
            if needed and not set(needed) & set(self.tasks):
                raise ValueError(
                    f"tasks holds {name}, which is scored with the model of {' or '.join(needed)}; add it to tasks"
                )
            if needed and name in self.teacher.recorded:
                raise ValueError(
                    f"teacher.recorded names {name}, a diagnostic, which nothing is taught; name {' or '.join(needed)}"
                )
        return self


def task_of(name: str, finetune: FinetuneParams) -> Task:
    """The row of the table of tasks, or of the user's own."""
    own = finetune.own_tasks.get(name)
    return own_task(name, **dict(own)) if own else find_task(name)
