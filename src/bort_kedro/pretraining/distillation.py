"""The pretraining loss under a teacher: its logits, live or cached, its relations, its hidden states."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from torch import Tensor, nn
from torch.nn.utils import skip_init

from bort_kedro.encoders.encoder import shape_of
from bort_kedro.encoders.families import has_masked_lm_head, logits_of, splits_head, undecoded
from bort_kedro.encoders.last_layer import can_spare_last_layer
from bort_kedro.encoders.layer_reading import read_layers, require_readable
from bort_kedro.encoders.student_start import hidden_basis
from bort_kedro.encoders.training_cost import spared_weights
from bort_kedro.errors import ConfigurationError
from bort_kedro.frozen import JsonObject
from bort_kedro.pretraining.chunked_head import HeadLoss, Taught, chunked_head_loss, is_chunked
from bort_kedro.pretraining.losses import (
    distillation_loss,
    hidden_states_error,
    masked_accuracy,
    masked_lm_loss,
    relations_divergence,
    require_common_heads,
)
from bort_kedro.pretraining.masked_blocks import Batch
from bort_kedro.pretraining.masked_lm import batch_logits, batch_undecoded
from bort_kedro.pretraining.taught_batches import dropped_mark
from bort_kedro.pretraining.teacher_targets import TeacherTargets, bucketed_divergence
from bort_kedro.text.vocabulary_map import VocabularyMap

if TYPE_CHECKING:
    from transformers import BertForMaskedLM, PreTrainedModel

    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.pretraining.settings import DistillationSettings, LayerSettings, TeacherCacheSettings
    from bort_kedro.pretraining.teacher_targets import TargetStores

# Kinds that read a layer of the teacher, and what the first of them reads.
LAYER_KINDS: tuple[Literal["relations"], Literal["hidden_states"]] = ("relations", "hidden_states")
ATTENDED = ("queries", "keys", "values")
# How far a masked-LM head is run.
Head = Literal["logits", "undecoded"]


@dataclass(frozen=True)
class TeacherCache:
    """What is kept of a teacher, and where; see `settings.TeacherCacheSettings`."""

    top_k: int
    num_epochs: int | None
    store: TargetStores


def cache_of(settings: TeacherCacheSettings, store: TargetStores) -> TeacherCache | None:
    """None where the teacher is run live."""
    return TeacherCache(settings.top_k, settings.num_epochs, store) if settings.top_k else None


@dataclass(frozen=True)
class Distillation:
    """A teacher, and what is made of what it says.

    Args:
        teacher: An encoder with its tokenizer; any masked-LM encoder where its logits alone teach, and a BERT or
            RoBERTa, with a head or without, where its layers do.
        vocabulary_map: From its ids to the student's.
        settings: What it teaches, and how much each kind counts.
        cache: What to keep of its logits instead of running it for them; None runs it. For its layers it always runs.
    """

    teacher: Pretrained
    vocabulary_map: VocabularyMap
    settings: DistillationSettings
    cache: TeacherCache | None = None
    _maps: dict[torch.device, VocabularyMap] = field(default_factory=dict, repr=False, compare=False)

    def identity(self) -> JsonObject:
        """What a student's training depends on."""
        return {
            "teacher": self.teacher.fingerprint,
            "masked_lm_weight": self.settings.masked_lm_weight,
            **{name: kind.model_dump() for name, kind in self.settings.kinds.items()},
            "cache": {"top_k": self.cache.top_k, "num_epochs": self.cache.num_epochs} if self.cache else None,
        }

    def require_fitting(self, hidden_size: int) -> None:
        """Refuse a teacher that cannot teach a student of this width in the ways that are asked for.

        Raises:
            ConfigurationError: If it lacks the head or the layer that is named, its layers are not BERT's, or the
                relation heads do not divide both widths.
        """
        settings, config = self.settings, self.teacher.model.config
        if settings.logits.weight and not has_masked_lm_head(self.teacher.model):
            raise ConfigurationError(
                "The teacher has no masked-LM head, so it has no logits to teach. Set the weight of `logits` to 0 "
                "under params:distillation, and that of `relations` or `hidden_states` above 0."
            )
        if settings.reads_layers:
            require_readable(config)
        # Where nothing is predicted a student is scored by its relations, whatever it learns.
        compared = {*settings.kinds, *(() if settings.predicts else ("relations",))}
        for name in LAYER_KINDS:
            if name in compared and self.layer(name) >= config.num_hidden_layers:
                raise ConfigurationError(
                    f"`{name}.teacher_layer` is {self.layer(name)}; the teacher has the layers 0 to "
                    f"{config.num_hidden_layers - 1}. Change it under params:distillation, or set it to null for the "
                    "last."
                )
        if "relations" in compared:
            try:
                require_common_heads(settings.relations.num_heads, hidden_size, config.hidden_size)
            except ValueError as fault:
                raise ConfigurationError(f"{fault}. Change it under params:distillation.") from fault

    @contextmanager
    def readied(self, student: BertForMaskedLM) -> Iterator[None]:
        """Ready a student for `loss` within the block, after which it is as it was but for what it has learned.

        Its hidden states reach the teacher's space by a linear map that is trained, and saved, with it; it begins as
        `encoders.student_start.hidden_basis`. Weights that no part of the loss depends on are not trained: left to the
        optimiser, weight decay would move them.

        Raises:
            ConfigurationError: See `require_fitting`.
        """
        self.require_fitting(student.config.hidden_size)
        if self.cache is None or self.settings.reads_layers:
            # Not at the first step, which may be compiled; on the device that the loop will take.
            self._moved_to(PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).device)
        still = [weight for weight in self._unreached(student) if weight.requires_grad]
        if self.settings.hidden_states.weight:
            basis = hidden_basis(self.teacher.model, self.vocabulary_map.kept, student.config)
            student.map_to_teacher = skip_init(nn.Linear, *reversed(basis.shape))
            student.map_to_teacher.load_state_dict({"weight": basis, "bias": torch.zeros(len(basis))})
        for weight in still:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight in still:
                weight.requires_grad_(True)
            if self.settings.hidden_states.weight:
                del student.map_to_teacher

    def _unreached(self, student: BertForMaskedLM) -> list[nn.Parameter]:
        """Where nothing is predicted a student's head, and of relations alone what follows them in its last layer."""
        if self.settings.predicts:
            return []
        body = {id(parameter) for parameter in student.base_model.parameters()}
        unused = [parameter for parameter in student.parameters() if id(parameter) not in body]
        if not self.settings.hidden_states.weight:
            last = student.base_model.encoder.layer[-1]
            for module in (last.attention.output, last.intermediate, last.output):
                unused += module.parameters()
        return unused

    def asked(self, batch: Batch) -> set[str]:
        """The kinds that a batch is taught by."""
        return {name for name in self.settings.kinds if dropped_mark(name) not in batch}

    def weights_passed(self, batch: Batch, masked_share: float) -> float:
        """Weights of the live teacher that a token of a batch passes, on average."""
        model, kinds = self.teacher.model, self.asked(batch) - ({"logits"} if self.cache else set())
        if "logits" in kinds:
            # A layer that is read is run whole.
            return weights_passed(model, masked_share if kinds == {"logits"} else 1.0)
        depth = max((self.layer(name) + 1 for name in LAYER_KINDS if name in kinds), default=0)
        layers = model.base_model.encoder.layer[:depth] if depth else ()
        return float(sum(weight.numel() for layer in layers for weight in layer.parameters()))

    def teacher_logits(self, batch: Batch) -> Tensor:
        """The teacher's logits in the student's vocabulary, (N, V) float32; softened they are what it teaches."""
        return self.ask(batch, {"logits"})["logits"]

    @torch.no_grad()
    def ask(self, batch: Batch, kinds: Collection[str], head: Head = "logits") -> Batch:
        """What the teacher says of a batch in the student's vocabulary, as far as these kinds need it: see `read`.

        What its head was not finished for is as the teacher has it.
        """
        vocabulary_map = self._moved_to(batch["input_ids"].device)
        attended_in, states_of = (self.layer(name) if name in kinds else None for name in LAYER_KINDS)
        said = read(
            self.teacher.model,
            {**batch, "input_ids": vocabulary_map.to_teacher_ids(batch["input_ids"])},
            attended_in=attended_in,
            states_of=states_of,
            head=head if "logits" in kinds else None,
        )
        if "logits" in said:
            said["logits"] = vocabulary_map.to_student_logits(said["logits"].float())
        return said

    def layer(self, kind: Literal["relations", "hidden_states"]) -> int:
        """The teacher's layer that a kind reads, from 0."""
        settings: LayerSettings = getattr(self.settings, kind)
        last: int = self.teacher.model.config.num_hidden_layers - 1
        return last if settings.teacher_layer is None else settings.teacher_layer

    def _moved_to(self, device: torch.device) -> VocabularyMap:
        """The map on a device; it and the teacher are moved there once."""
        if device not in self._maps:
            self.teacher.model.to(device).eval()
            there = self.vocabulary_map.to(device)
            # accelerate says `cuda` where tensors say `cuda:0`.
            self._maps[device] = self._maps[there.kept.device] = there
        return self._maps[device]

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """What a step minimises, as ``loss``, and its parts.

        Args:
            model: A student that is `readied`.
            batch: On its device; of `taught_batches.TaughtBatches` where kinds are dropped, nothing is predicted, or a
                cache brings what the teacher said.
        """
        settings, kinds = self.settings, self.asked(batch)
        student = cast("BertForMaskedLM", model)
        last = student.config.num_hidden_layers - 1
        maps_states = bool(settings.hidden_states.weight)
        live = kinds - {"logits"} if self.cache else kinds
        head: Head = "undecoded" if settings.predicts and self._is_chunked(student, batch, live) else "logits"
        own = read(
            student,
            batch,
            attended_in=last if "relations" in kinds else None,
            states_of=last if "hidden_states" in kinds or (maps_states and not settings.predicts) else None,
            head=head if settings.predicts else None,
        )
        said = self.ask(batch, live, head) if live else {}
        documents = documents_of(batch)
        of_head = self._head_loss(student, batch, own, {**batch, **said}, teaches="logits" in kinds)
        parts: dict[str, tuple[float, Tensor]] = {}
        if "relations" in kinds:
            mine, taught = ([encoder[name] for name in ATTENDED] for encoder in (own, said))
            divergence = relations_divergence(mine, taught, documents, num_heads=settings.relations.num_heads)
            parts["relations_divergence"] = settings.relations.weight, divergence
        if "hidden_states" in kinds:
            error = hidden_states_error(student.map_to_teacher(own["states"]), said["states"], documents)
            parts["hidden_states_error"] = settings.hidden_states.weight, error
        terms = [*([of_head.loss] if of_head else []), *(weight * value for weight, value in parts.values())]
        if maps_states and "hidden_states" not in kinds:
            # Processes that share a training expect a gradient of every weight, even of those that learn no more.
            unused = [*student.map_to_teacher.parameters(), *([] if settings.predicts else [own["states"]])]
            terms += [0.0 * values.sum() for values in unused]
        told = {"loss": torch.stack(terms).sum()}
        if of_head:
            told["masked_lm_loss"] = of_head.masked_lm_loss
            told |= {"divergence": of_head.divergence} if "logits" in kinds else {}
        told |= {name: value for name, (_, value) in parts.items()}
        return told | ({"masked_accuracy": of_head.accuracy} if of_head else {})

    def _is_chunked(self, student: BertForMaskedLM, batch: Batch, live: Collection[str]) -> bool:
        """Whether no head is finished here: see `chunked_head`."""
        targets = batch["targets"]
        can_be = "logits" not in live or splits_head(self.teacher.model)
        return can_be and is_chunked(targets.device, len(targets), student.config.vocab_size)

    def _head_loss(
        self, student: BertForMaskedLM, batch: Batch, own: Batch, said: Batch, *, teaches: bool
    ) -> HeadLoss | None:
        """Masked-LM loss and divergence; None where nothing is predicted."""
        settings, targets = self.settings, batch["targets"]
        if "undecoded" in own:
            decoder, weight = student.cls.predictions.decoder, settings.masked_lm_weight
            taught = self._taught(said) if teaches else None
            return chunked_head_loss(own["undecoded"], decoder, targets, masked_lm_weight=weight, taught=taught)
        if "logits" not in own:
            return None
        logits = own["logits"].float()
        loss, accuracy = masked_lm_loss(logits, targets), masked_accuracy(logits, targets)
        divergence = self._divergence(logits, said) if teaches else torch.zeros_like(loss)
        terms = [settings.masked_lm_weight * loss, *([settings.logits.weight * divergence] if teaches else [])]
        return HeadLoss(torch.stack(terms).sum(), loss, divergence, accuracy)

    def _divergence(self, logits: Tensor, said: Batch) -> Tensor:
        temperature = self.settings.logits.temperature
        if self.cache is None:
            return distillation_loss(logits, said["logits"], temperature=temperature)
        return bucketed_divergence(logits, targets_of(said), temperature=temperature)

    def _taught(self, said: Batch) -> Taught:
        temperature, weight = self.settings.logits.temperature, self.settings.logits.weight
        if self.cache is not None:
            return Taught(tuple(vars(targets_of(said)).values()), temperature, weight)
        decoder = cast("nn.Linear", self.teacher.model.get_output_embeddings())
        ids = self._moved_to(said["undecoded"].device)
        return Taught.live(said["undecoded"], decoder, ids, temperature=temperature, weight=weight)


def targets_of(batch: Batch) -> TeacherTargets:
    """What a cache brought with a batch."""
    return TeacherTargets(batch["teacher_ids"], batch["teacher_log_probabilities"], batch["teacher_log_tail"])


def documents_of(batch: Batch) -> Tensor:
    """(B, L), 0 for padding and else the number of the document in its row, as losses over all tokens take it."""
    shown = batch.get("document_ids", batch.get("attention_mask"))
    return torch.ones_like(batch["input_ids"]) if shown is None else shown


def distillation_of(
    settings: DistillationSettings,
    teacher: Pretrained,
    vocabulary_map: VocabularyMap,
    cache: TeacherCache | None = None,
) -> Distillation | None:
    """None where no kind has a weight, so that no teacher runs."""
    return Distillation(teacher, vocabulary_map, settings, cache) if settings.kinds else None


def read(
    model: PreTrainedModel, batch: Batch, *, attended_in: int | None, states_of: int | None, head: Head | None
) -> Batch:
    """What an encoder makes of a batch in its own vocabulary, from one pass no deeper than needed.

    Args:
        model: A BERT or RoBERTa where a layer is read.
        batch: On its device.
        attended_in: The layer, from 0, of which ``queries``, ``keys`` and ``values`` are wanted, (B, L, H) each.
        states_of: The layer of which ``states`` are wanted, (B, L, H).
        head: Whether ``logits`` are wanted, (N, V) at the predicted positions, or ``undecoded``, (N, H) that they are
            made of.
    """
    if attended_in is None and states_of is None:
        ways = {"logits": batch_logits, "undecoded": batch_undecoded}
        return {head: ways[head](model, batch)} if head else {}
    wanted = {states_of, model.config.num_hidden_layers - 1 if head else None} - {None}
    attended, states = read_layers(
        model,
        batch["input_ids"],
        batch.get("attention_mask"),
        batch.get("document_ids"),
        attended_in=attended_in,
        states_of=cast("set[int]", wanted),
    )
    said = dict(zip(ATTENDED, attended, strict=True)) if attended is not None else {}
    if states_of is not None:
        said["states"] = states[states_of]
    if head:
        finish = logits_of if head == "logits" else undecoded
        said[head] = finish(model, states[max(states)].flatten(0, 1).index_select(0, batch["predicted"]))
    return said


def weights_passed(model: PreTrainedModel, masked_share: float) -> float:
    """Weights that a token passes on its way through an encoder, on average; embeddings are looked up, not passed."""
    weights = float(model.num_parameters(exclude_embeddings=True))
    if can_spare_last_layer(model):
        weights -= spared_weights(shape_of(model.config)) * (1 - masked_share)
    return weights
