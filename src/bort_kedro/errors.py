"""Errors a user can mend: each names the object, the value seen, what is allowed and where to change it."""

from pydantic import ValidationError

from bort_kedro.redaction import redacted

# Characters of a text that is shown: a screen, and of what a library says a few lines.
LONGEST_TEXT = 4000
LONGEST_SAID = 300


class BortKedroError(Exception):
    """Base of every error raised on purpose; the command line shows its text without a traceback.

    A text longer than a screen is cut in its middle: what is at fault stands at its start, and what to change at its
    end. Passwords and tokens are left out of it.
    """

    def __str__(self) -> str:
        return shortened(redacted(super().__str__()), LONGEST_TEXT)


class ConfigurationError(BortKedroError):
    """A parameter is unknown, of the wrong type, or at odds with another."""


class ShapeError(BortKedroError):
    """A BERT shape that cannot be built."""


class CorpusError(BortKedroError):
    """A text source that is missing, unreadable, or too small for what was asked."""


class TokenizerError(BortKedroError):
    """A tokenizer that cannot be trained as asked, or lacks what masked-LM training needs."""


class TeacherError(BortKedroError):
    """A teacher that cannot be opened, or is no masked-LM encoder fit for this corpus."""


class TaskError(BortKedroError):
    """A task whose examples are missing, malformed or inconsistent."""


class StorageError(BortKedroError):
    """A file or folder that cannot be written, or that is not what its manifest says."""


class CheckpointError(StorageError):
    """Training state on disk that is truncated, altered or of another configuration."""


class ModelFolderError(StorageError):
    """A model folder that is incomplete, unsafe or does not fit its tokenizer."""


class MissingInputError(BortKedroError):
    """A stage was started before the stage that makes its inputs."""


class TrainingError(BortKedroError):
    """Training stopped because going on would waste time or give a wrong result."""


class FailedTrainingError(TrainingError):
    """A training came apart or outgrew its memory, as it would again under the same settings.

    What happened is said without a full stop, and then what to change.
    """

    def __init__(self, name: str, reason: str, advice: str) -> None:
        super().__init__(name, reason, advice)
        self.reason, self._text = reason, f"{name}: {reason}. {advice}"

    def __str__(self) -> str:
        return shortened(redacted(self._text), LONGEST_TEXT)


def shortened(text: str, longest: int) -> str:
    """A text of at most as many characters and a note of how many were left out, in its middle."""
    if len(text) <= longest:
        return text
    start, end = longest - longest // 3, longest // 3
    return f"{text[:start]} [{len(text) - start - end} characters left out] {text[len(text) - end :]}"


def said_by(fault: BaseException) -> str:
    """What an error of a library says: its first line without its full stop, and of a missing key that it is one.

    Of the faults that pydantic counts in its first line it is the first.
    """
    if isinstance(fault, ValidationError):
        first = fault.errors(include_url=False)[0]
        place = "".join(f"`{'.'.join(map(str, each))}`: " for each in [first["loc"]] if each)
        return shortened(place + first["msg"].removeprefix("Value error, ").rstrip("."), LONGEST_SAID)
    said = shortened(next(iter(str(fault).strip().splitlines()), "").rstrip("."), LONGEST_SAID)
    return f"{type(fault).__name__}: {said}" if isinstance(fault, LookupError) or not said else said
