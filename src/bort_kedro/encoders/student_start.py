"""How a student's weights begin: as drawn, from layers of a teacher, or from another encoder of the same shape."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

import torch

from bort_kedro.encoders.families import has_masked_lm_head, longest_sequence
from bort_kedro.encoders.last_layer import ROBERTA_LIKE
from bort_kedro.encoders.layer_transfer import (
    NARROWINGS,
    copy_layer_norm,
    copy_linear_bias,
    main_directions,
    transfer_layer,
)
from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.errors import ConfigurationError, ModelFolderError
from bort_kedro.opening import PretrainedFiles
from bort_kedro.text.tokenizer import tokenizer_fingerprint

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import BertConfig, BertForMaskedLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.encoders.settings import StudentStartSettings

LOGGER = logging.getLogger(__name__)
PARAMETER_PATH = "params:pretrain_distill.student_start"
TYPE_ROWS = "bert.embeddings.token_type_embeddings.weight"
POSITION_ROWS = "bert.embeddings.position_embeddings.weight"

# By model type, where a teacher keeps its masked-LM head: dense map, layer norm, bias over the vocabulary.
TEACHER_HEADS: dict[str, Callable[[PreTrainedModel], tuple[nn.Linear, nn.LayerNorm, Tensor]]] = {
    "bert": lambda model: (
        model.cls.predictions.transform.dense,
        model.cls.predictions.transform.LayerNorm,
        model.cls.predictions.bias,
    ),
    **dict.fromkeys(
        ROBERTA_LIKE,
        lambda model: (model.lm_head.dense, model.lm_head.layer_norm, model.lm_head.bias),
    ),
}


def start_student(
    student: BertForMaskedLM,
    tokenizer: PreTrainedTokenizerFast,
    settings: StudentStartSettings,
    *,
    teacher: Pretrained | None,
    kept_ids: Tensor | None,
    candidate: Pretrained | None = None,
) -> None:
    """Give a freshly drawn student its first weights (in place).

    See `from_teacher`, `from_candidate` and `from_checkpoint`.

    Args:
        student: With the weights drawn for it, which ``random`` leaves as they are.
        tokenizer: The student's.
        settings: Where its weights begin.
        teacher: Needed if the source is ``teacher``, else not read.
        kept_ids: (V_student,) the teacher id of each student id; needed and read with the teacher.
        candidate: Needed if the source is ``candidate``, else not read.
    """
    if settings.source == "teacher":
        given = cast("Pretrained", teacher), cast("Tensor", kept_ids)
        from_teacher(student, *given, layers=settings.teacher_layers, narrowing=settings.narrowing)
    elif settings.source == "candidate":
        from_candidate(student, cast("Pretrained", candidate))
    elif settings.source == "checkpoint":
        from_checkpoint(student, tokenizer, str(settings.checkpoint))


@torch.no_grad()
def from_teacher(
    student: BertForMaskedLM,
    teacher: Pretrained,
    kept_ids: Tensor,
    *,
    layers: tuple[int, ...] | None,
    narrowing: Literal["truncation", "svd"],
) -> None:
    """Write layers of a BERT or RoBERTa teacher into the student (in place).

    The student's own token-type row is zero and never trained, so the teacher's row 0 is added to its positions.
    RoBERTa's positions start behind its padding id. Layer norms: see `layer_transfer.HiddenBasis.layer_norm`. Without a
    masked-LM head of the teacher the student's stays as drawn; with one and with equal sizes, epsilons and activations
    the student gives the teacher's logits; what narrowing costs stands in docs/decisions/0011-student-start.md.

    Args:
        student: Changed in place.
        teacher: Its word embeddings are taken as the decoder's, as in every published BERT and RoBERTa.
        kept_ids: (V_student,) the teacher id of each student id.
        layers: Of the teacher, from 0, one for each of the student's; None for `spread_layers`.
        narrowing: ``truncation`` cuts to the first dimensions, heads and units; ``svd`` keeps what reaches furthest.

    Raises:
        ConfigurationError: If the teacher is of another family, narrower or shallower than the student, or ``layers``
            does not fit.
    """
    model = teacher.model
    _require_known_family(model.config)
    _require_no_wider(student.config, model.config)
    depth, teacher_depth = student.config.num_hidden_layers, model.config.num_hidden_layers
    chosen = spread_layers(depth, teacher_depth) if layers is None else layers
    _require_layers(chosen, depth, teacher_depth)
    _warn_of_another_activation(student.config, model.config, "the teacher")
    way = NARROWINGS[narrowing]
    words, positions = teacher_embeddings(model, kept_ids, student.config.max_position_embeddings)
    basis = way.basis(words, positions, student.config.hidden_size)
    embeddings = student.bert.embeddings
    embeddings.word_embeddings.weight.copy_(basis.project(words))
    embeddings.position_embeddings.weight.copy_(basis.project(positions))
    copy_layer_norm(embeddings.LayerNorm, model.base_model.embeddings.LayerNorm, basis)
    for target, index in zip(student.bert.encoder.layer, chosen, strict=True):
        transfer_layer(target, model.base_model.encoder.layer[index], (student.config, model.config), basis, way)
    if not has_masked_lm_head(model):
        return
    dense, norm, bias = TEACHER_HEADS[model.config.model_type](model)
    head = student.cls.predictions
    head.transform.dense.weight.copy_(basis.project(basis.project(dense.weight).T).T)
    copy_linear_bias(head.transform.dense, dense, basis)
    copy_layer_norm(head.transform.LayerNorm, norm, basis)
    head.bias.copy_(bias[kept_ids])


@torch.no_grad()
def hidden_basis(teacher: PreTrainedModel, kept_ids: Tensor, student: BertConfig) -> Tensor:
    """(H_teacher, H_student) float32, where a student's hidden dimensions lie in its teacher's hidden space.

    For a student that is no wider, the basis that ``svd`` starts it on; the first dimensions of another are the
    teacher's.
    """
    width = teacher.config.hidden_size
    if student.hidden_size > width:
        return torch.eye(width, student.hidden_size)
    rows = teacher_embeddings(teacher, kept_ids, student.max_position_embeddings)
    return main_directions(*rows, student.hidden_size).columns.float()


def spread_layers(depth: int, teacher_depth: int) -> tuple[int, ...]:
    """Student layer i of n takes teacher layer i (N - 1) / (n - 1) of N, rounded: evenly, first and last included.

    A student of one layer takes the first: the layer that reads the embeddings, which it is given as well.
    """
    if depth == 1:
        return (0,)
    return tuple(round(index * (teacher_depth - 1) / (depth - 1)) for index in range(depth))


def teacher_embeddings(model: PreTrainedModel, kept_ids: Tensor, num_positions: int) -> tuple[Tensor, Tensor]:
    """(V_student, H) words and (P_student, H) positions, row 0 of the token types added to these."""
    embeddings = model.base_model.embeddings
    # The rows before are those that RoBERTa never uses; BERT has none.
    positions = embeddings.position_embeddings.weight[-_num_positions(model.config) :][:num_positions]
    return embeddings.word_embeddings.weight[kept_ids], positions + embeddings.token_type_embeddings.weight[0]


def _num_positions(config: PreTrainedConfig) -> int:
    return cast(int, longest_sequence(config))  # every known family has absolute positions


def _require_known_family(config: PreTrainedConfig) -> None:
    if config.model_type not in TEACHER_HEADS:
        raise ConfigurationError(
            f"A student cannot start from the layers of a `{config.model_type}` teacher, whose layers are not BERT's. "
            f"Families that can: {', '.join(TEACHER_HEADS)}. Name another encoder as params:search.maximum_point."
        )


def _require_no_wider(student: BertConfig, teacher: PreTrainedConfig) -> None:
    sizes = {name: (getattr(student, name), getattr(teacher, name)) for name in SHAPE_COLUMNS}
    sizes["positions"] = (student.max_position_embeddings, _num_positions(teacher))
    wider = [f"{name} {own} over {other}" for name, (own, other) in sizes.items() if own > other]
    if wider:
        raise ConfigurationError(
            f"A student larger than its teacher cannot start from the teacher's layers: {', '.join(wider)}. Set "
            f"`source` under {PARAMETER_PATH} to random, or choose a larger teacher."
        )


def _require_layers(layers: tuple[int, ...], depth: int, teacher_depth: int) -> None:
    if len(layers) != depth or not all(0 <= layer < teacher_depth for layer in layers):
        raise ConfigurationError(
            f"`teacher_layers` is {list(layers)} for a student of {depth} layers: it needs {depth} numbers from 0 to "
            f"{teacher_depth - 1}, the teacher's layers. Change it under {PARAMETER_PATH}, or set it to null."
        )


def _warn_of_another_activation(student: BertConfig, other: PreTrainedConfig, source: str) -> None:
    if student.hidden_act != other.hidden_act:
        LOGGER.warning(
            "The student keeps its activation %s though %s was trained with %s, so its first outputs differ.",
            student.hidden_act,
            source,
            other.hidden_act,
        )


def from_candidate(student: BertForMaskedLM, candidate: Pretrained) -> None:
    """Write the weights of the chosen candidate into the student (in place).

    Raises:
        ModelFolderError: If it has another shape, vocabulary or number of positions.
    """
    names = (*SHAPE_COLUMNS, "vocab_size", "max_position_embeddings")
    own, other = ({name: getattr(model.config, name) for name in names} for model in (student, candidate.model))
    if different := [f"{name} {other[name]} (student {own[name]})" for name in names if own[name] != other[name]]:
        raise ModelFolderError(
            f"`selected_encoder` is not of the student's sizes: {', '.join(different)}. Shape or corpus have changed "
            "since the search. Run `kedro run --pipelines search` again, then this stage."
        )
    student.load_state_dict(candidate.model.state_dict())


@torch.no_grad()
def from_checkpoint(student: BertForMaskedLM, tokenizer: PreTrainedTokenizerFast, name_or_path: str) -> None:
    """Write a Hugging Face BERT of the same shape and vocabulary, such as the published Bort, into the student.

    Row 0 of its token types is added to its positions; of more positions than the student's the first are taken; a
    pooler is left out. Without a masked-LM head the student's stays as drawn, with a warning.

    Args:
        student: Changed in place.
        tokenizer: The student's.
        name_or_path: Hub id, or folder with config.json and model.safetensors.

    Raises:
        ModelFolderError: If it cannot be opened, is no BERT, lacks weights, or has another shape or tokenizer.
    """
    files = PretrainedFiles(name_or_path, partial(_refusal, name_or_path))
    config = files.config()
    _require_same_shape(student.config, config, name_or_path)
    _require_same_tokenizer(tokenizer, files)
    _warn_of_another_activation(student.config, config, f"the checkpoint `{name_or_path}`")
    with torch.random.fork_rng(devices=[]):  # a missing head is drawn, then not used
        model, loaded = files.model("BertForMaskedLM", dtype=torch.float32)
    missing = sorted(loaded["missing_keys"])
    if lacking := [name for name in missing if not name.startswith("cls.")]:
        raise ModelFolderError(
            f"The checkpoint `{name_or_path}` lacks {len(lacking)} weights of its encoder, such as {lacking[0]}. "
            f"Choose another as `checkpoint` under {PARAMETER_PATH}."
        )
    weights = model.state_dict()
    positions = weights[POSITION_ROWS] + weights.pop(TYPE_ROWS)[0]
    weights[POSITION_ROWS] = positions[: student.config.max_position_embeddings]
    if missing:
        LOGGER.warning("`%s` has no masked-LM head; the student's head starts as drawn.", name_or_path)
        weights = {name: value for name, value in weights.items() if not name.startswith("cls.")}
    student.load_state_dict(weights, strict=False)


def _refusal(name_or_path: str, reason: str) -> ModelFolderError:
    return ModelFolderError(
        f"The checkpoint `{name_or_path}` cannot be opened: {reason}. Expected a folder with "
        "config.json and model.safetensors, or a hub id (with a network, or in the hub's local cache). Change "
        f"`checkpoint` under {PARAMETER_PATH}."
    )


def _require_same_shape(student: BertConfig, config: PreTrainedConfig, name_or_path: str) -> None:
    names = ("model_type", *SHAPE_COLUMNS, "vocab_size")
    pairs = {name: (getattr(config, name, None), getattr(student, name)) for name in names}
    different = [f"{name} {other} (student {own})" for name, (other, own) in pairs.items() if other != own]
    own, other = student.max_position_embeddings, getattr(config, "max_position_embeddings", 0)
    if other < own:
        different.append(f"max_position_embeddings {other} (student {own})")
    if different:
        raise ModelFolderError(
            f"The checkpoint `{name_or_path}` does not fit the student: {', '.join(different)}. Choose another as "
            f"`checkpoint` under {PARAMETER_PATH}, or change the shape (params:search.space), the vocabulary or the "
            "positions (params:corpus) to the checkpoint's."
        )


def _require_same_tokenizer(tokenizer: PreTrainedTokenizerFast, files: PretrainedFiles) -> None:
    """Compare what the tokenizers do, where the checkpoint has one as tokenizer.json; else the sizes had to do."""
    from transformers.utils import cached_file

    try:
        cached_file(files.name_or_path, "tokenizer.json")
    except OSError:
        return
    own, other = tokenizer_fingerprint(tokenizer), tokenizer_fingerprint(files.tokenizer())
    if own != other:
        raise ModelFolderError(
            f"The checkpoint `{files.name_or_path}` was trained with another tokenizer ({other}) than the corpus "
            f"({own}), so its word embeddings belong to other tokens. Name the checkpoint's tokenizer as `pretrained` "
            f"under params:corpus.tokenizer, or choose another checkpoint under {PARAMETER_PATH}."
        )
