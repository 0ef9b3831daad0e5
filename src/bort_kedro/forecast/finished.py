"""Which trainings of a forecast are found finished among the states of earlier runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bort_kedro.forecast.work import Work
from bort_kedro.frozen import JsonObject
from bort_kedro.params import Parameters
from bort_kedro.pretraining.settings import PretrainingSettings


@dataclass(frozen=True)
class Ended:
    """A training that is kept.

    Args:
        name: Its folder, such as ``search/scores/D2-A4-H128-I256``.
        identity: All that it depended on.
        ended_at: When, of which the order counts.
    """

    name: str
    identity: JsonObject
    ended_at: float = 0.0


@dataclass(frozen=True)
class Circumstances:
    """What else must be as it was.

    Args:
        versions: Of packages.
        tokens: Fingerprint of the corpus that is there; None where there is none yet, and nothing counts as finished.
        auto: What the precision ``auto`` is.
    """

    versions: Mapping[str, str]
    tokens: str | None
    auto: str


def with_finished(
    works: Sequence[Work], ended: Iterable[Ended], parameters: Parameters, circumstances: Circumstances
) -> list[Work]:
    """The works with the number of trainings that are found finished.

    A training counts by its shape, settings, corpus and versions, whichever encoder it began with, so this is a
    forecast too: the run compares everything. For trials of fine-tuning see `finished_trials`.
    """
    alike = [each for each in ended if _is_alike(each, circumstances)]
    kinds = _kinds(parameters)
    return [
        replace(work, num_finished=min(work.num_trainings, _count(alike, kinds[work.node], work, circumstances)))
        if work.node in kinds
        else work
        for work in works
    ]


def is_searched(works: Sequence[Work]) -> bool:
    """Whether all trainings of the search are finished."""
    search = [work for work in works if work.stage == "search"]
    return bool(search) and not any(work.trainings_left for work in search)


@dataclass(frozen=True)
class _Kind:
    """How the trainings of a node are told: their settings, how their names begin, and what they vary among
    themselves."""

    settings: PretrainingSettings | None
    beginnings: tuple[str, ...]
    varied: frozenset[str] = frozenset()


def _kinds(parameters: Parameters) -> dict[str, _Kind]:
    search, pretraining = parameters.search, parameters.pretrain_distill
    varied = frozenset({name for each in search.hyperparameter_sets for name in each.changes()} | {"seed"})
    return {
        "search.train_maximum_point_node": _Kind(search.maximum_point_training(), ("search/maximum-point-",), varied),
        "search.measure_errors_node": _Kind(search.training, ("search/scores/",), varied),
        "pretrain_distill.train_teacher_node": _Kind(pretraining.teacher, ("pretrain_distill/teacher",)),
        "pretrain_distill.distill_student_node": _Kind(
            pretraining.student_training, ("pretrain_distill/student-", "pretrain_distill/distilled-")
        ),
        "pretrain_distill.train_without_teacher_node": _Kind(
            pretraining.student_training, ("pretrain_distill/undistilled-",)
        ),
    }


def _count(ended: Sequence[Ended], kind: _Kind, work: Work, circumstances: Circumstances) -> int:
    if kind.settings is None:
        return 0
    wanted = _settings(_definite(kind.settings, circumstances.auto), kind.varied)
    return sum(
        each.name.startswith(kind.beginnings)
        and _settings(each.identity["settings"], kind.varied) == wanted
        and each.identity["shape"] in work.shapes
        for each in ended
    )


def _is_alike(ended: Ended, circumstances: Circumstances) -> bool:
    identity = ended.identity
    return (
        circumstances.tokens is not None
        and identity.get("tokens") == circumstances.tokens
        and identity.get("versions") == dict(circumstances.versions)
        and "settings" in identity
    )


def _definite(settings: PretrainingSettings, auto: str) -> JsonObject:
    identity = settings.identity()
    optimization = identity["optimization"]
    if isinstance(optimization, dict) and optimization["mixed_precision"] == "auto":
        optimization["mixed_precision"] = auto
    return identity


def _settings(identity: JsonObject, varied: frozenset[str]) -> JsonObject:
    """But for what varies."""
    optimization = {name: value for name, value in identity["optimization"].items() if name not in varied}
    return {name: value for name, value in identity.items() if name not in varied} | {"optimization": optimization}
