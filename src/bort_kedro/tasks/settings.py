"""Which tasks there are and where they are read, as parameters say it."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from bort_kedro.frozen import FrozenModel, Written, as_written
from bort_kedro.tasks.description import SourceFile


def _each_as_written(value: object) -> str | tuple[str, ...]:
    return tuple(map(as_written, value)) if isinstance(value, list | tuple) else as_written(value)


def _as_file(value: object) -> object:
    """A path alone, or a map of all that there is to say of a file."""
    if not isinstance(value, str | dict | SourceFile):
        raise ValueError("expected a path, or a map of path, header, trailing and format")
    return {"path": value} if isinstance(value, str) else value


File = Annotated[SourceFile, BeforeValidator(_as_file)]


class MaxExamples(FrozenModel):
    """Upper bounds on the examples of a built-in task; fewer are made where the corpus gives fewer."""

    train: int = Field(ge=2, description="Examples to train on.")
    dev: int = Field(ge=2, description="Examples that choose among the settings.")
    test: int = Field(ge=2, description="Examples scored once, at the end.")


class BuiltinTasksSettings(FrozenModel):
    """How the built-in tasks are made from the documents of corpus split `tasks`."""

    seed: int = Field(ge=0, description="Draws the document splits and the examples.")
    dev_share: float = Field(gt=0, lt=1, description="Share of the task documents kept for dev.")
    test_share: float = Field(gt=0, lt=1, description="Share of the task documents kept for test.")
    min_words: int = Field(ge=2, description="Shortest sentence used, in words.")
    max_words: int = Field(ge=2, description="Longest sentence used, in words.")
    shuffled_words: int = Field(ge=2, description="Words permuted in a shuffled sentence of `order`.")
    max_examples: MaxExamples = Field(description="Upper bounds per split.")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.dev_share + self.test_share >= 1:
            raise ValueError(
                f"dev_share {self.dev_share} and test_share {self.test_share} leave nothing to train on; "
                "their sum must be below 1"
            )
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        if self.shuffled_words >= self.max_words:
            raise ValueError(
                f"shuffled_words {self.shuffled_words} must be below max_words {self.max_words}: the first "
                "word of a sentence keeps its place"
            )
        return self


Columns = dict[
    Literal["text", "text_pair", "label", "options"],
    Annotated[str | tuple[str, ...], BeforeValidator(_each_as_written)],
]


class RecordedLabelsSettings(FrozenModel):
    """Labels, or beliefs, that are a task's teacher."""

    file: File = Field(
        description=".jsonl, or .tsv or .csv for labels alone, seen from the project's folder; or a map of path, "
        "header, trailing and format."
    )
    columns: Columns = Field({}, description="Names of columns that are called otherwise than in the task's own files.")


class OwnTaskSettings(FrozenModel):
    """A task of the user's own: files and what their columns mean."""

    files: dict[Literal["train", "dev", "test"], File] = Field(
        description="train, dev and, if there is one, test: .tsv, .csv or .jsonl, of tagged words .conll or .jsonl; "
        "seen from the project's folder; or a map of path, header, trailing and format."
    )
    columns: Columns = Field(
        {},
        description="Their names in the files; options is a list, of multiple choice. Of tagged words, text are the "
        "words and label the tags, `tokens` and `tags` where left out; a CoNLL file that has no header among `files` "
        "calls its first column and its last so.",
    )
    form: Literal["classification", "regression", "multiple_choice", "token_classification"] = Field(
        "classification", description="What is predicted."
    )
    labels: tuple[Written, ...] = Field(
        (),
        description="Allowed labels, in order, in quotes; left out, those found in train. Blanks around them are none. "
        "Of tagged words the types of spans, such as PER.",
    )
    metrics: tuple[str, ...] = Field((), description="Names of tasks.metrics; the first chooses on dev.")
    truncation: Literal["longest_first", "text", "text_pair"] = Field(
        "longest_first", description="Which text of a pair loses tokens first."
    )


class ReadingSettings(FrozenModel):
    """Where tasks are read."""

    read_from: Literal["files", "hub"] = Field(description="Where GLUE, SuperGLUE and RACE are read.")
    files: dict[str, dict[str, File]] = Field(
        description="For a task, other files than its official ones: train, dev, test, seen from the task's folder; or "
        "maps of path, header, trailing and format."
    )
    skip_bad_rows: bool = Field(description="Leave malformed rows out and count them, instead of stopping.")
