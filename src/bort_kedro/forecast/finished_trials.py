"""Which trials of fine-tuning are found finished among the states of earlier runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from bort_kedro.finetuning.settings import FinetuningSettings
from bort_kedro.forecast.finished import Circumstances, Ended
from bort_kedro.forecast.work import Work
from bort_kedro.frozen import JsonObject
from bort_kedro.params.finetune import FinetuneParams

# What trials vary, as their identities and as the settings have it; rivals draw with seeds of their own.
VARIED = {
    "learning_rate": "learning_rates",
    "weight_decay": "weight_decays",
    "warmup_share": "warmup_shares",
    "batch_tokens": "batch_tokens",
}
SHARED = frozenset(
    {"looks_per_epoch", "class_weights", "dropout", "num_threads", "adam_beta2", "adam_epsilon", "max_gradient_norm"}
)
# How far the steps of a forecast may be off, whose tokens may be guessed.
STEPS_FACTOR = 1.5


def with_finished_trials(
    works: Sequence[Work],
    ended: Sequence[Ended],
    finetune: FinetuneParams,
    circumstances: Circumstances,
    last_trials: Mapping[tuple[str, str], int],
) -> list[Work]:
    """The works with the number of trials that are found finished.

    A trial counts by its task, settings and versions, among those of the encoder that was fine-tuned last. A task's
    trials are given to its works in their order. Where there are as many as the last run says that it took, no more
    are needed.

    Args:
        works: Of all stages.
        ended: What is kept.
        finetune: Settings of the trials.
        circumstances: What else must be as it was.
        last_trials: Of each node and kind of its trainings, what its last run says.
    """
    found: list[Work] = []
    for place, own in groupby(works, lambda work: work.node.rpartition(".")[0]):
        name = place.replace(".", "/")
        left = [
            each for each in ended if each.name == name and each.identity["versions"] == dict(circumstances.versions)
        ]
        is_as_it_was = True
        for work in own:
            alike = _of_last_encoder([each for each in left if _is_of(each.identity, work, finetune, circumstances)])
            # What follows is as it was where all before it is finished.
            known, last = work, last_trials.get((work.node, work.kind)) if is_as_it_was else None
            if last is not None and len(alike) >= last:
                known = replace(work, num_trainings=last, least_trainings=last, is_limit=False)
            taken = alike[: known.num_trainings]
            left = [each for each in left if each not in taken]
            found.append(replace(known, num_finished=known.num_finished + len(taken)))
            is_as_it_was = is_as_it_was and not found[-1].trainings_left
    return [work for work in found if work.num_trainings]


def _of_last_encoder(trials: Sequence[Ended]) -> list[Ended]:
    encoder = max(trials, key=lambda each: each.ended_at).identity["encoder"] if trials else None
    return [each for each in trials if each.identity["encoder"] == encoder]


def _is_of(identity: JsonObject, work: Work, finetune: FinetuneParams, circumstances: Circumstances) -> bool:
    settings = finetune.teacher.training if work.is_teacher else finetune.training
    said = identity | identity["optimization"]
    return (
        {name: said.get(name) for name in _shared(settings, circumstances)} == _shared(settings, circumstances)
        and all(said[name] in getattr(settings, values) for name, values in VARIED.items())
        and said["num_steps"] * STEPS_FACTOR >= work.first_steps
    )


def _shared(settings: FinetuningSettings, circumstances: Circumstances) -> JsonObject:
    precision = settings.mixed_precision
    return settings.model_dump(include=set(SHARED)) | {
        "patience_after_warmup": settings.patience,
        "mixed_precision": circumstances.auto if precision == "auto" else precision,
    }
