"""The folder of an exported model: what is in it, and how it is opened to answer texts.

Each format has a subfolder of its own with all that it needs: the graph or the weights, the configuration, the
tokenizer. ``export.json`` beside them says which files there must be, how long each is, and what the answers mean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from bort_kedro.encoders.pretrained import Pretrained, standalone_tokenizer
from bort_kedro.errors import LONGEST_SAID, ModelFolderError, TaskError, said_by, shortened
from bort_kedro.exports.formats import MANIFEST, PYTORCH
from bort_kedro.exports.runtimes import RUNTIMES, open_session
from bort_kedro.finetuning.encoding import EncodedExamples, TaskEncoder
from bort_kedro.finetuning.forms import FORMS
from bort_kedro.finetuning.objectives import answers_of, predict
from bort_kedro.frozen import FrozenModel
from bort_kedro.inside import outside_fault
from bort_kedro.opening import PretrainedFiles
from bort_kedro.tasks.table import Form, Task, Truncation
from bort_kedro.tasks.tags import spans_of
from bort_kedro.tasks.units import Unit
from bort_kedro.text.prose import is_whole, word_places
from bort_kedro.text.tokenizer import num_ids, tokenizer_fingerprint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bort_kedro.exports.runtimes import Session

BATCH_TOKENS = 8192
ANEW = "Remove this version's folder to fall back on the one before, or run `kedro run --pipelines evaluate` again."


class ExportedTask(FrozenModel):
    """What the answers of an exported model mean.

    Args:
        labels: In the order of the model's outputs; () for regression.
        truncation: Which text loses tokens where both do not fit.
        has_pairs: Whether an example is two texts; None where an older manifest does not say.
    """

    task: str
    form: Form
    labels: tuple[str, ...]
    truncation: Truncation
    max_tokens: int = Field(ge=1)
    tokenizer: str
    has_pairs: bool | None = None

    @property
    def num_outputs(self) -> int:
        """C: logits of a row or a word; one for a regression and for an option of multiple choice."""
        return len(FORMS[self.form].output_names(self.labels))

    def as_task(self) -> Task:
        """As much of the row of the table of tasks as encoding and answering need."""
        return Task(self.task, self.task, "export", self.form, self.labels, (), self.truncation)


class ExportManifest(ExportedTask):
    """What stands beside the formats."""

    formats: dict[str, dict[str, int]]


class RuntimeModel(nn.Module):
    """An exported graph in the place of the PyTorch model that it was made from."""

    def __init__(self, session: Session, config: Any) -> None:
        super().__init__()
        self._session, self.config = session, config
        # Tells where inputs are to be put.
        self._place = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, **inputs: Tensor) -> SequenceClassifierOutput:
        logits = self._session(**{name: value.numpy() for name, value in inputs.items()})
        return SequenceClassifierOutput(logits=torch.from_numpy(logits))


class TextSpan(NamedTuple):
    """A part of a text that was tagged, such as with ``PER``; it ends before the character ``end``."""

    type: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class OpenedExport:
    """An exported model that answers texts; made by `open_export`."""

    model: Pretrained
    meaning: ExportedTask

    def __call__(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[str]:
        """Answer texts, or pairs of texts.

        Args:
            texts: N texts.
            pairs: N second texts, for tasks of pairs. Of multiple choice: one question, N times its text, and its N
                options.

        Returns:
            N labels, or numbers of a regression as text; of multiple choice ``right`` once and ``wrong`` else; of
            tagged words a tag for each word of a text, between blanks. Words are what white space parts.

        Raises:
            TaskError: If these are no texts, or no pairs where the task is of pairs.
        """
        examples, outputs = self._run(texts, pairs)
        return answers_of(self.meaning.form, self.meaning.labels, outputs, examples.target_starts)

    def outputs(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> NDArray[np.float64]:
        """(T, C) probabilities of the labels in their order, a regression's value, or an option's probability, for each
        text, or for each word of the texts where words are tagged."""
        return self._run(texts, pairs)[1]

    def spans(self, texts: Sequence[str]) -> list[list[TextSpan]]:
        """The spans of each text, where words are tagged.

        Raises:
            TaskError: As above, and of a task of another form.
        """
        if self.meaning.form != Form.TOKENS:
            raise TaskError(f"The export of task `{self.meaning.task}` tags no words: it is a {self.meaning.form}.")
        return [_placed(text, tags.split()) for text, tags in zip(texts, self(texts), strict=True)]

    def _run(self, texts: Sequence[str], pairs: Sequence[str] | None) -> tuple[EncodedExamples, NDArray[np.float64]]:
        meaning = self.meaning
        _require_texts(meaning, texts, pairs)
        encoder = TaskEncoder(self.model, meaning.as_task(), meaning.labels, max_tokens=meaning.max_tokens)
        rows = list(zip(texts, pairs if pairs is not None else [None] * len(texts), strict=True))
        is_question = meaning.form == Form.MULTIPLE_CHOICE and rows
        examples = encoder([Unit(tuple(rows))] if is_question else [Unit((row,)) for row in rows])
        return examples, predict(self.model.model, meaning.form, examples, batch_tokens=BATCH_TOKENS)


def _placed(text: str, tags: list[str]) -> list[TextSpan]:
    words = word_places(text)
    found = []
    for span in spans_of(tags):
        start, end = words[span.start][0], words[span.stop - 1][1]
        found.append(TextSpan(span.type, text[start:end], start, end))
    return found


def _require_texts(meaning: ExportedTask, texts: Sequence[str], pairs: Sequence[str] | None) -> None:
    """Refuse a single text, whose letters would be answered one by one, and pairs that are not those of the task."""
    fault = ""
    for name, given in (("texts", texts), ("pairs", pairs if pairs is not None else [])):
        if isinstance(given, str) or not all(map(is_whole, given)):
            fault = f"`{name}` is {shortened(repr(given), LONGEST_SAID)}, expected a list of texts, such as ['A text.']"
    if not fault and pairs is not None and len(pairs) != len(texts):
        fault = f"`texts` has {len(texts)} and `pairs` {len(pairs)}, expected as many"
    if not fault and meaning.has_pairs is not None and meaning.has_pairs != (pairs is not None):
        wanted = "two texts, the second in `pairs`" if meaning.has_pairs else "one text, without `pairs`"
        fault = f"an example of this task is {wanted}"
    if fault:
        raise TaskError(f"The export of task `{meaning.task}` cannot answer: {fault}.")


def write_pytorch(model: Pretrained, folder: Path) -> None:
    """Weights as safetensors, configuration and tokenizer, as `from_pretrained` opens them."""
    model.model.save_pretrained(folder)
    standalone_tokenizer(model).save_pretrained(folder)


def write_companions(model: Pretrained, folder: Path) -> None:
    """What a graph needs beside it: configuration and tokenizer."""
    model.model.config.save_pretrained(folder)
    standalone_tokenizer(model).save_pretrained(folder)


def write_manifest(folder: Path, meaning: ExportedTask, formats: Sequence[str]) -> None:
    """Say what each format's files are; written last, so that a folder without it is half-written."""
    files = {name: {file.name: file.stat().st_size for file in sorted((folder / name).iterdir())} for name in formats}
    (folder / MANIFEST).write_text(json.dumps({**meaning.to_json(), "formats": files}, indent=2), "utf-8")


def open_export(folder: Path, name: str, *, num_threads: int = 1) -> OpenedExport:
    """Open one format of an exported model; nothing is fetched and nothing written.

    ``open_export(Path("data/06_models/exports/library/<version>/library"), "onnx_int8")(["Return the mean."])``
    gives ``["numpy"]``, say.

    Args:
        folder: A version's folder under ``data/06_models/exports/<task>``, or a copy of it.
        name: ``pytorch`` or a key of `exports.runtimes.RUNTIMES`.
        num_threads: CPU threads of a pass of a runtime; PyTorch has its own setting.

    Raises:
        ModelFolderError: If the folder is no export, is half-written, lacks the format, or its parts do not fit.
    """
    meaning = _checked(Path(folder), name)
    files = PretrainedFiles(folder / name, partial(_unreadable, folder, "transformers"), local_files_only=True)
    tokenizer = files.tokenizer()
    if name == PYTORCH:
        model = files.model(FORMS[meaning.form].model_class)[0].eval()
    else:
        config = files.config()
        try:
            model = RuntimeModel(open_session(name, folder / name, num_threads=num_threads), config)
        except Exception as fault:  # onnxruntime's and openvino's share no narrower class
            raise _unreadable(folder, RUNTIMES[name].title, said_by(fault)) from fault
    opened = OpenedExport(Pretrained(model, tokenizer), meaning)
    _require_fit(opened, folder / name)
    return opened


def _checked(folder: Path, name: str) -> ExportedTask:
    """What the answers mean, where all files of a format are there whole."""
    if not (folder / MANIFEST).is_file():
        raise ModelFolderError(
            f"{folder} is no export folder, or a half-written one: it has no {MANIFEST}. Name a version's folder under "
            "data/06_models/exports/<task>, or run `kedro run --pipelines evaluate` again."
        )
    try:
        said = ExportManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except ValidationError as fault:
        raise ModelFolderError(f"{folder / MANIFEST} cannot be understood: {said_by(fault)}. {ANEW}") from fault
    if name not in said.formats:
        raise ModelFolderError(
            f"{folder} has no `{name}`; it has {', '.join(said.formats)}. A format that is missing was not asked for "
            "(params:evaluate.export.formats) or was refused, which the export report says."
        )
    for file, size in said.formats[name].items():
        if outside := outside_fault(folder / name, file):
            raise ModelFolderError(f"{folder / MANIFEST} names a file that is not the export's: {outside}. {ANEW}")
        path = folder / name / file
        if not path.is_file() or path.stat().st_size != size:
            seen = f"{path.stat().st_size} bytes" if path.is_file() else "missing"
            raise ModelFolderError(f"{path} should have {size} bytes and is {seen}: the export is not whole. {ANEW}")
    return said


def _unreadable(folder: Path, opener: str, reason: str) -> ModelFolderError:
    return ModelFolderError(f"{folder} cannot be opened by {opener}: {reason}. {ANEW}")


def _require_fit(opened: OpenedExport, place: Path) -> None:
    """Refuse a model with another number of labels than it is said to have, or with another tokenizer."""
    meaning, tokenizer = opened.meaning, opened.model.tokenizer
    require_tokenizer(opened.model, str(place))
    found = tokenizer_fingerprint(tokenizer)
    if found != meaning.tokenizer:
        raise ModelFolderError(
            f"{place} holds another tokenizer ({found}) than the model was trained with ({meaning.tokenizer}). {ANEW}"
        )
    ids = torch.tensor([[tokenizer.cls_token_id, tokenizer.sep_token_id]])
    with torch.inference_mode():
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
        if getattr(opened.model.model.config, "type_vocab_size", 1) <= 1:
            del inputs["token_type_ids"]
        num_outputs = opened.model.model(**inputs).logits.shape[-1]
    require_outputs(num_outputs, meaning, str(place))


def require_outputs(num_outputs: int, meaning: ExportedTask, where: str) -> None:
    """Refuse a model that answers with another number of labels than its task has."""
    if num_outputs != meaning.num_outputs:
        labels = f" ({', '.join(meaning.labels)})" if meaning.form.has_labels else ""
        raise ModelFolderError(
            f"{where} is a model with {num_outputs} outputs, but task `{meaning.task}` needs "
            f"{meaning.num_outputs}{labels}. Fine-tune it again: `kedro run --pipelines finetune`, then evaluate."
        )


def require_tokenizer(model: Pretrained, where: str) -> None:
    """Refuse a tokenizer whose ids are not those of the model's embeddings."""
    config, tokenizer = model.model.config, model.tokenizer
    if (num := num_ids(tokenizer)) > config.vocab_size or tokenizer.pad_token_id != config.pad_token_id:
        raise ModelFolderError(
            f"{where}: the tokenizer has {num} ids and pads with {tokenizer.pad_token_id}, but the model "
            f"has {config.vocab_size} word embeddings and pads with {config.pad_token_id}; they do not belong "
            "together. Fine-tune it again: `kedro run --pipelines finetune`, then evaluate."
        )
