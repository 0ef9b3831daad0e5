"""Training states kept in memory, for tests of what is kept and found again."""

import json

from bort_kedro.training.observer import SilentObserver
from bort_kedro.training.state import SavedState


class DictStore:
    """A store in memory; what goes in is copied, as a disk would."""

    def __init__(self):
        self.states = {}

    def latest(self):
        return self._copy(self.states[max(self.states)]) if self.states else None

    def put(self, state):
        self.states[state.step] = self._copy(state)

    @staticmethod
    def _copy(state):
        tensors = {name: value.clone() for name, value in state.tensors.items()}
        return SavedState(state.step, tensors, json.loads(json.dumps(state.record)))


class DictStates:
    """States of many trainings, each under its name and the text of its identity."""

    def __init__(self, observer=None):
        self.stores, self.observer = {}, observer or SilentObserver()

    def of(self, name, identity):
        return self.stores.setdefault((name, json.dumps(identity, sort_keys=True)), DictStore())

    @property
    def identities(self):
        return [json.loads(identity) for _, identity in self.stores]


class NotingObserver:
    """Keeps what it hears."""

    def __init__(self):
        self.rows, self.ended, self.trials = [], [], []

    def row_logged(self, training, row):
        self.rows.append((training, row))

    def training_ended(self, training, results, history, failure):
        self.ended.append((training, results, history, failure))

    def trial_ended(self, trial):
        self.trials.append(trial)
