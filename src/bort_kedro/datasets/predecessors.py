"""Folders of earlier runs that differ from what is asked for in circumstances alone: told, and taken where accepted."""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from bort_kedro.frozen import JsonObject
from bort_kedro.launcher import is_first
from bort_kedro.training.saved_state import CIRCUMSTANCES, Circumstance

LOGGER = logging.getLogger(__name__)
# In each folder, what its content depends on; its name ends in so many digits of that text's hash.
IDENTITY = "identity.json"
HASH_LENGTH = 12
# Said of the first of those that differ alike.
BEGUN_ANEW = (
    logging.WARNING,
    "%s was made under another %s, so all that was made so begins anew. To take it nevertheless, set "
    "`accepted_changes: [%s]` in conf/local/parameters.yml; a training that has ended is taken for more "
    "num_steps under the schedule warmup_stable_decay alone, from before its decay.",
)
TAKEN = (
    logging.INFO,
    "%s was made under another %s, and is taken with all that was made so, since `accepted_changes` has %s; but a "
    "training that has ended is taken for more num_steps under the schedule warmup_stable_decay alone, from before "
    "its decay.",
)


@dataclass(frozen=True)
class Predecessor:
    """A folder that differs in circumstances alone.

    Args:
        changes: By its path in the identity, each circumstance that differs: ``(there, now)``.
    """

    folder: Path
    changes: dict[str, tuple[Any, Any]]


class Predecessors:
    """Looks for them once, so that what a run itself makes is none; some circumstances may be accepted to differ."""

    def __init__(self, accepted: tuple[Circumstance, ...] = ()) -> None:
        self.accepted = accepted
        self._found: dict[tuple[Path, str], dict[str, list[tuple[Path, JsonObject]]]] = {}
        self._told: set[tuple[str, ...]] = set()

    def accepted_of(self, own: Path, identity: str) -> Iterator[Predecessor]:
        """Those of a folder, named by a hash of its identity, whose differences are accepted, the newest first; of
        others it is said what differs."""
        rest, now = _without_circumstances(json.loads(identity))
        for folder, there in self._like(own).get(rest, []):
            if folder == own or there.keys() != now.keys():
                continue
            changes = {path: (there[path], now[path]) for path in now if there[path] != now[path]}
            names = tuple(sorted({path.rpartition(".")[2] for path in changes}))
            is_accepted = set(names) <= set(self.accepted)
            if names not in self._told and is_first():
                self._told.add(names)
                said = ", ".join(f"{path} ({before} there, {after} now)" for path, (before, after) in changes.items())
                LOGGER.log(*(TAKEN if is_accepted else BEGUN_ANEW), folder, said, ", ".join(names))
            if is_accepted:
                yield Predecessor(folder, changes)

    def _like(self, own: Path) -> dict[str, list[tuple[Path, JsonObject]]]:
        """Folders named alike with their circumstances, by the rest of their identities."""
        key = own.parent, own.name[:-HASH_LENGTH]
        if key not in self._found:
            found = self._found[key] = defaultdict(list)
            files = own.parent.glob(f"{key[1]}*/{IDENTITY}")
            for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
                if (identity := read_identity(file)) is not None:
                    rest, circumstances = _without_circumstances(identity)
                    found[rest].append((file.parent, circumstances))
        return self._found[key]


def read_identity(file: Path) -> JsonObject | None:
    """What the content of a folder depends on; None, and told, where it is not what the folder is named by."""
    text = file.read_bytes()
    if not file.parent.name.endswith(hashlib.sha256(text).hexdigest()[:HASH_LENGTH]):
        LOGGER.warning("%s is truncated or altered. What lies beside it is taken under its own settings alone.", file)
        return None
    identity: JsonObject = json.loads(text)
    return identity


def _without_circumstances(identity: JsonObject) -> tuple[str, JsonObject]:
    """``(the rest as text, circumstances by path)``."""
    circumstances: JsonObject = {}

    def rest(value: JsonValue, path: str) -> JsonValue:
        if not isinstance(value, dict):
            return value
        circumstances.update({f"{path}{name}": value[name] for name in CIRCUMSTANCES if name in value})
        return {name: rest(below, f"{path}{name}.") for name, below in value.items() if name not in CIRCUMSTANCES}

    return json.dumps(rest(identity, ""), sort_keys=True), circumstances
