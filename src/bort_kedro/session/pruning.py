"""Which versions and training states of earlier runs nothing needs any more, and their removal."""

import json
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bort_kedro.frozen import JsonObject
from bort_kedro.pipelines.namespaces import STAGES, without_stage
from bort_kedro.session.manifests import MANIFEST, versions_of
from bort_kedro.session.stored_versions import TIMESTAMP, Stored, StoredVersion

# How the names of trainings begin whose results a stage's datasets hold.
TRAININGS = {
    "search": ("search/",),
    "pretrain_distill": ("pretrain_distill/",),
    "finetune": ("finetune/",),
    **dict.fromkeys(("corpus", "tasks", "evaluate"), ()),
}
# Of datasets that pass between stages under the name of a task.
STAGES_OF_TASKS = {"examples": "tasks", "finetuned_model": "finetune"}
# Where nobody knows who made a dataset, it may be of any training.
ANY = ("",)
# A version's folder as paths have it: that of the dataset, and its name.
_FOLDER_OF_VERSION = re.compile(rf"([^/\\\s\"']+)/({TIMESTAMP.pattern})")


@dataclass(frozen=True)
class StoredTraining:
    """The states of one training.

    Args:
        name: Of its folder below that of all states.
        used: When a run last asked for it, in seconds of `time.time`.
    """

    name: str
    folder: Path
    used: float
    num_bytes: int


@dataclass(frozen=True)
class Pruning:
    """What goes."""

    versions: Sequence[StoredVersion]
    trainings: Sequence[StoredTraining]

    @property
    def num_bytes(self) -> int:
        """That are freed."""
        return sum(each.num_bytes for each in self.versions) + sum(each.num_bytes for each in self.trainings)


def versions_that_go(
    stored: Stored, manifests: Mapping[str, JsonObject], configuration: object, *, keep: int
) -> list[StoredVersion]:
    """Versions that were made before the newest runs and that nothing needs.

    Kept are those of the last ``keep`` runs that ended, of which there are manifests, and of all runs since, and of
    earlier ones: the newest of each dataset, which the next run may read; what a kept run read; what its parameters, or
    the configuration of now, name by its path; and the manifest of a run that has something left.
    """
    first = first_kept(manifests, keep)
    kept = {version: manifest for version, manifest in manifests.items() if version >= first}
    needed = _newest_before(stored, _unrecorded(stored, kept, first)) | _read_by(kept.values(), stored.places)
    named = set(_FOLDER_OF_VERSION.findall(json.dumps([configuration, *_parameters(kept)], default=str)))
    old = [
        each
        for each in stored.versions
        if each.version < first
        and each.is_removable
        and not (each.is_whole and {(each.place, each.version), (None, each.version)} & needed)
        and (each.place.name, each.version) not in named
    ]
    left = {each.version for each in stored.versions if each not in old and each.dataset != MANIFEST}
    return [each for each in old if each.dataset != MANIFEST or each.version not in left]


def first_kept(manifests: Collection[str], keep: int) -> str:
    """Version of the oldest run that stays, which is that of the first where there are no more."""
    return sorted(manifests)[-keep:][0] if manifests else ""


def _unrecorded(stored: Stored, kept: Collection[str], first: str) -> list[str]:
    """Versions of runs of which nobody knows what they read: kept ones that did not end, and the next one."""
    unended = {each.version for each in stored.versions if each.version >= first} - set(kept)
    return [*unended, "~"]


def _newest_before(stored: Stored, runs: Sequence[str]) -> set[tuple[Path | None, str]]:
    """Of each dataset the version that each run has found as the newest."""
    newest: set[tuple[Path | None, str]] = set()
    for place in set(stored.places.values()):
        versions = [each.version for each in stored.versions if each.place == place and each.is_whole]
        for run in runs:
            newest |= {(place, version) for version in sorted(each for each in versions if each < run)[-1:]}
    return newest


def _read_by(manifests: Collection[JsonObject], places: Mapping[str, Path]) -> set[tuple[Path | None, str]]:
    """What runs read, by place; a dataset that the catalog has no more may lie anywhere, which None stands for."""
    by_name = {without_stage(name): place for name, place in places.items()}
    return {(by_name.get(name), version) for manifest in manifests for name, version in versions_of(manifest).items()}


def _parameters(manifests: Mapping[str, JsonObject]) -> list[object]:
    return [manifest.get("parameters") for manifest in manifests.values()]


def trainings_that_go(
    trainings: Sequence[StoredTraining],
    left: Sequence[StoredVersion],
    manifests: Mapping[str, JsonObject],
    makers: Mapping[str, str],
    *,
    keep: int,
) -> list[StoredTraining]:
    """Trainings that no run since the first kept one has asked for, and whose results no version left holds.

    A run without a list of its trainings, such as one that did not end, keeps all of them as long as a model of it
    stays. The stage that makes a dataset is known by the dataset's name.
    """
    first = first_kept(manifests, keep)
    needed: set[str] = set()
    for version in {*manifests, *(each.version for each in left if each.version < first)}:
        manifest = manifests.get(version, {})
        names = {each.dataset for each in left if each.version == version} - {MANIFEST}
        starts = ANY if version >= first else _starts({_maker(name, makers) for name in names}, manifest)
        listed = manifest.get("trainings")
        if starts and listed is None:
            return []
        needed |= {name for name in listed or () if name.startswith(starts)}
    since = seconds_of(first) if first else 0.0
    return [each for each in trainings if each.used < since and each.name not in needed]


def _starts(stages: Collection[str], manifest: JsonObject) -> tuple[str, ...]:
    """How the trainings begin whose results some stages of a run hold."""
    is_of_task = manifest.get("parameters", {}).get("search", {}).get("error_measure") == "task"
    known = TRAININGS | ({"search": ("search/", "finetune/")} if is_of_task else {})
    return tuple({start for stage in stages for start in known.get(stage, ANY)})


def _maker(dataset: str, makers: Mapping[str, str]) -> str:
    stage = dataset.partition(".")[0]
    return makers.get(dataset) or (stage if stage in STAGES else STAGES_OF_TASKS.get(dataset.rpartition(".")[2], ""))


def seconds_of(version: str) -> float:
    """The time that a version is named after, in seconds of `time.time`."""
    return datetime.strptime(version, "%Y-%m-%dT%H.%M.%S.%fZ").replace(tzinfo=UTC).timestamp()


def remove(pruning: Pruning) -> None:
    """Remove what goes; whatever ends this before its time leaves each version whole, or unseen by Kedro."""
    # The manifests last, which say what else a run has left.
    for version in sorted(pruning.versions, key=lambda each: each.dataset == MANIFEST):
        if version.is_whole:
            seen = version.folder / version.place.name
            os.replace(seen, seen.with_name(f".{seen.name}.{os.getpid()}.part"))
        shutil.rmtree(version.folder)
    for training in pruning.trainings:
        shutil.rmtree(training.folder)
