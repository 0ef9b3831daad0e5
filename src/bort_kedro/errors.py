"""Errors a user can mend: each names the object, the value seen, what is allowed and where to change it."""


class BortKedroError(Exception):
    """Base of every error raised on purpose; the command line shows its text without a traceback."""


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

    Args:
        name: Of the training.
        reason: What happened, without a full stop.
        advice: What to change.
    """

    def __init__(self, name: str, reason: str, advice: str) -> None:
        super().__init__(name, reason, advice)
        self.reason, self._text = reason, f"{name}: {reason}. {advice}"

    def __str__(self) -> str:
        return self._text
