"""Open an encoder of somebody else as a teacher, or as the student, or say plainly why it is none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bort_kedro.encoders.families import has_masked_lm_head, longest_sequence, predicted_logits
from bort_kedro.encoders.opened import OpenedEncoder
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.errors import TeacherError, said_by
from bort_kedro.opening import PretrainedFiles
from bort_kedro.text.tokenizer import masking_faults, num_ids

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

WEIGHTS_SHOWN = 6
# Of the four values of a shape, where a family has another name for one.
OTHER_NAMES = {"intermediate_size": ("hidden_dim", "d_inner")}


@dataclass(frozen=True)
class TeacherPlace:
    """Where a teacher is named, for errors.

    Args:
        teacher: The parameter that names it.
        sequence_length: The parameter that says how long its inputs are.
        role: What it is to be.
        written_in: Where that parameter is stated, where there is more to say of it than its name.
        headless: What to do to be without its masked-LM head, if anything.
    """

    teacher: str
    sequence_length: str
    role: str = "teacher"
    written_in: str = ""
    headless: str = ""

    def __str__(self) -> str:
        return f"`{self.teacher}`" + (f" ({self.written_in})" if self.written_in else "")

    @property
    def or_else(self) -> str:
        """The end of a sentence that asks for another."""
        return f", or {self.headless}" if self.headless else ""


def open_teacher(
    name_or_path: str,
    *,
    sequence_length: int,
    place: TeacherPlace,
    families: Collection[str] | None = None,
    needs_head: bool = True,
) -> Pretrained:
    """An encoder and its fast tokenizer from the hub or a folder, frozen, in evaluation mode and float32.

    Weights come from safetensors alone, and code from transformers alone: nothing that is downloaded is run.

    Args:
        name_or_path: Hub id, or folder with config.json, model.safetensors and tokenizer.json.
        sequence_length: Longest input, in tokens.
        place: Where it is named.
        families: Model types of transformers that are allowed; None allows every masked-LM encoder.
        needs_head: Whether an encoder without a masked-LM head is refused, such as one made for sentences, and one
            whose head was saved as it was drawn, such as the published Bort's in the form for transformers. Else it is
            opened as the encoder alone, without a pooler that its files lack.

    Raises:
        TeacherError: If it cannot be opened, is no masked-LM encoder or of another family, lacks weights or the
            training of its head, has no tokenizer fit for masked-LM training, has fewer word embeddings than ids, takes
            only shorter blocks, or wants to be told more than tokens.
    """
    files = PretrainedFiles(name_or_path, partial(_refusal, name_or_path, place))
    config = files.config()
    _require_masked_lm(config, name_or_path, place)
    _require_family(config, families, name_or_path, place)
    with torch.random.fork_rng(devices=[]):  # weights that are missing would be drawn, before they are refused
        model, loaded = files.model("AutoModelForMaskedLM", dtype=torch.float32)
        if not needs_head and (_lacks_its_head_alone(model, loaded) or _untrained_head(model)):
            model, loaded = files.model("AutoModel", dtype=torch.float32)
    _require_all_weights(loaded, name_or_path, place)
    _require_trained_head(model, name_or_path, place)
    tokenizer = files.tokenizer()
    _require_masking_tokenizer(tokenizer, name_or_path, place)
    _require_embeddings(model, tokenizer, name_or_path, place)
    _require_length(config, sequence_length, name_or_path, place)
    teacher = Pretrained(model.eval().requires_grad_(False), tokenizer)
    _require_answer(teacher, name_or_path, place)
    return teacher


def describe_opened(name_or_path: str, model: PreTrainedModel, place: TeacherPlace) -> OpenedEncoder:
    """What is told of an encoder that was opened, of a folder its own name alone: cards are published.

    Raises:
        TeacherError: If its family has no shape of four values.
    """
    config = model.config
    names = {column: (column, *OTHER_NAMES.get(column, ())) for column in SHAPE_COLUMNS}
    values = {column: getattr(config, name) for column in names for name in names[column] if hasattr(config, name)}
    if missing := [column for column in SHAPE_COLUMNS if column not in values]:
        raise TeacherError(
            f"The {place.role} `{name_or_path}`, a `{config.model_type}` model, has no {' and no '.join(missing)} in "
            f"its configuration, by which its size and speed are told. Choose another as {place}."
        )
    count = sum(weights.numel() for weights in model.base_model.parameters())
    folder = Path(name_or_path)
    name = folder.resolve().name if folder.is_dir() else name_or_path
    return OpenedEncoder(name=name, family=config.model_type, num_parameters=count, **values)


def _refusal(name_or_path: str, place: TeacherPlace, reason: str) -> TeacherError:
    return TeacherError(
        f"The {place.role} `{name_or_path}` cannot be opened: {reason}. Expected a folder with config.json, "
        "model.safetensors and tokenizer.json, or a hub id (with a network, or in the hub's local cache). Change "
        f"{place}."
    )


def _require_masked_lm(config: PreTrainedConfig, name_or_path: str, place: TeacherPlace) -> None:
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    is_encoder = not (getattr(config, "is_decoder", False) or config.is_encoder_decoder)
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and is_encoder:
        return
    architectures = ", ".join(config.architectures or ["of an unnamed class"])
    raise TeacherError(
        f"The {place.role} `{name_or_path}` is no masked-LM encoder: it is a `{config.model_type}` model "
        f"({architectures}). Allowed are encoders that transformers opens with AutoModelForMaskedLM, such as BERT, "
        f"RoBERTa, ModernBERT and DeBERTa-v2. Change {place}."
    )


def _require_family(
    config: PreTrainedConfig, families: Collection[str] | None, name_or_path: str, place: TeacherPlace
) -> None:
    if families is None or config.model_type in families:
        return
    raise TeacherError(
        f"The encoder `{name_or_path}` is of the family `{config.model_type}`, whose layers no candidate can take "
        f"over: they are not BERT's. Families that can serve here: {', '.join(families)}. Change {place}."
    )


def _lacks_its_head_alone(model: PreTrainedModel, loaded: Mapping[str, Collection[str]]) -> bool:
    """All of it and nothing else: one that lacks a part of its head is spoiled."""
    missing = set(loaded["missing_keys"])
    head = {name for name, _ in model.named_parameters() if not name.startswith(f"{model.base_model_prefix}.")}
    return head <= missing and not any(name.startswith(f"{model.base_model_prefix}.") for name in missing)


def _require_all_weights(loaded: Mapping[str, Collection[str]], name_or_path: str, place: TeacherPlace) -> None:
    """transformers draws missing weights at random, with which an encoder without its head would teach noise."""
    if missing := sorted(loaded["missing_keys"]):
        raise TeacherError(
            f"The {place.role} `{name_or_path}` lacks {len(missing)} weights of a masked-LM encoder: {_some(missing)}. "
            f"Its own weights beyond these: {_some(sorted(loaded['unexpected_keys'])) or 'none'}. Choose a checkpoint "
            f"saved with its masked-LM head as {place}{place.or_else}."
        )


def _untrained_head(model: PreTrainedModel) -> list[str]:
    """The biases and gains of a masked-LM head, if each is still the 0 or 1 it began with, and else nothing.

    Training moves them in its first step, at the latest those of words that are never right.
    """
    prefix = f"{model.base_model_prefix}."
    vectors = {
        name: vector
        for name, vector in model.named_parameters()
        if has_masked_lm_head(model) and not name.startswith(prefix) and vector.dim() == 1
    }
    is_drawn = all(bool((vector == 0).all() or (vector == 1).all()) for vector in vectors.values())
    return list(vectors) if is_drawn else []


def _require_trained_head(model: PreTrainedModel, name_or_path: str, place: TeacherPlace) -> None:
    """A head that was saved untrained opens without a word, and would replace words by noise."""
    if drawn := _untrained_head(model):
        raise TeacherError(
            f"The {place.role} `{name_or_path}` has a masked-LM head that was never trained: {_some(drawn)} "
            "are all still the 0 or 1 that they begin with, so the words that it predicts are noise. Choose a "
            f"checkpoint with a trained head as {place}{place.or_else}."
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - WEIGHTS_SHOWN} more" if len(names) > WEIGHTS_SHOWN else ""
    return ", ".join(names[:WEIGHTS_SHOWN]) + more


def _require_masking_tokenizer(tokenizer: PreTrainedTokenizerFast, name_or_path: str, place: TeacherPlace) -> None:
    if faults := masking_faults(tokenizer):
        raise TeacherError(
            f"The tokenizer of the {place.role} `{name_or_path}` cannot serve masked-LM training: "
            f"{' and '.join(faults)}. Needed is a fast tokenizer (tokenizer.json) with a mask and a padding token. "
            f"Choose another {place.role} as {place}."
        )


def _require_embeddings(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, name_or_path: str, place: TeacherPlace
) -> None:
    """More rows than ids are allowed: vocabularies are padded to a round number."""
    rows = model.config.get_text_config().vocab_size
    if (num := num_ids(tokenizer)) > rows:
        raise TeacherError(
            f"The tokenizer of the {place.role} `{name_or_path}` has {num} ids but the model only {rows} word "
            f"embeddings; they do not belong together. Choose another {place.role} as {place}."
        )


def _require_length(config: PreTrainedConfig, sequence_length: int, name_or_path: str, place: TeacherPlace) -> None:
    longest = longest_sequence(config)
    if longest is not None and sequence_length > longest:
        raise TeacherError(
            f"The {place.role} `{name_or_path}` takes at most {longest} tokens, and inputs have up to "
            f"{sequence_length}. Set `{place.sequence_length}` to at most {longest}, or choose another {place.role} as "
            f"{place}."
        )


def _require_answer(teacher: Pretrained, name_or_path: str, place: TeacherPlace) -> None:
    """Ask it for one hidden token, since families differ in what they must be told, such as a language."""
    model, ids = teacher.model, torch.tensor([[teacher.tokenizer.mask_token_id]])
    if not has_masked_lm_head(model):  # of a family that is told no more than tokens
        return
    try:
        with torch.inference_mode():
            predicted_logits(model, ids, torch.ones_like(ids), torch.tensor([0]))
    except Exception as fault:  # families share no narrower class
        raise TeacherError(
            f"The {place.role} `{name_or_path}`, a `{model.config.model_type}` model, does not predict a hidden token: "
            f"{said_by(fault)}. Choose another as {place}."
        ) from fault
