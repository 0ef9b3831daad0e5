"""The loop of Agora: which settings are trained on which points next, and which are dropped.

Nothing is trained here. A run is a value that follows from its scores: with the same ones it is the same run again.

References:
    de Wynter 2020, arXiv 2010.07990, as far as it is public.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

from bort_kedro.finetuning.rounds import Round

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class DoneRound(Round):
    """A round and what came of it.

    Args:
        scores: Of ``settings``, in their order; higher is better.
        dropped: Settings not tried again, worst first; none where the round did not help and is replayed.
    """

    scores: tuple[float, ...]
    dropped: tuple[int, ...]

    @property
    def is_accepted(self) -> bool:
        """False if its points were thrown away; every accepted round drops at least one setting."""
        return bool(self.dropped)

    @property
    def ranking(self) -> list[int]:
        """Settings, worst first; of equal scores the one with the higher place in Theta counts as worse."""
        score_of = dict(zip(self.settings, self.scores, strict=True))
        return sorted(self.settings, key=lambda setting: (score_of[setting], -setting))


@dataclass(frozen=True)
class AgoraRun:
    """The rounds so far, and what they lead to.

    Each accepted round drops the longest run of settings, from the worst end, that kept its order: the first entries
    in which its ranking and that of the accepted round before, without the settings that are gone, agree ("the
    longest common sequence, rooted at the first element"). At least one is dropped each time, so that the loop ends
    (our reading); of the first round, which has none before it, the worst alone.

    A round that does not score above all rounds before it is replayed while replays are left: its points are thrown
    away, and other points are made of the same mistakes. Without replays left it is accepted, points and all.

    Args:
        max_replays: Replays in the whole run.
    """

    num_settings: int
    max_replays: int
    rounds: tuple[DoneRound, ...] = ()

    def next_round(self) -> Round | None:
        """What to do now; None when no setting is left."""
        if not self.rounds:
            return Round.first(self.num_settings) if self.num_settings else None
        last = self.rounds[-1]
        left = tuple(setting for setting in last.settings if setting not in last.dropped)
        if not left:
            return None
        kept = [done.number for done in self.rounds[1:] if done.is_accepted]
        return Round(
            number=len(self.rounds),
            settings=left,
            is_replay=not last.is_accepted,
            draws=(*kept, len(self.rounds)),
            mistakes_of=last.number if last.is_accepted else last.mistakes_of,
        )

    def record(self, scores: Sequence[float]) -> AgoraRun:
        """The run with one more round, given a score for each of the settings of `next_round`, in their order.

        Raises:
            ValueError: If the run is over, the number of scores is another, or one is not finite.
        """
        upcoming = self.next_round()
        if upcoming is None:
            raise ValueError(f"the run is over after {len(self.rounds)} rounds: no setting is left to score")
        if len(scores) != len(upcoming.settings):
            raise ValueError(f"round {upcoming.number} has {len(upcoming.settings)} settings but {len(scores)} scores")
        for setting, score in zip(upcoming.settings, scores, strict=True):
            if not math.isfinite(score):
                raise ValueError(
                    f"the score of setting {setting} in round {upcoming.number} is {score}, which cannot be ranked; "
                    "give a training that diverged a score below all others"
                )
        done = DoneRound(**asdict(upcoming), scores=tuple(map(float, scores)), dropped=())
        helped = max(done.scores) > self.best_score
        if helped or self._replays_done + done.is_replay >= self.max_replays:
            done = replace(done, dropped=self._dropped_by(done))
        return replace(self, rounds=(*self.rounds, done))

    @property
    def best_score(self) -> float:
        """The highest of all trials; before the first round below all others."""
        return max((score for done in self.rounds for score in done.scores), default=-math.inf)

    @property
    def _replays_done(self) -> int:
        return sum(done.is_replay for done in self.rounds)

    def _dropped_by(self, done: DoneRound) -> tuple[int, ...]:
        """Settings that an accepted round drops, worst first."""
        accepted = [before for before in self.rounds if before.is_accepted]
        earlier = [setting for setting in accepted[-1].ranking if setting in done.settings] if accepted else []
        ranking = done.ranking
        pairs = takewhile(lambda pair: pair[0] == pair[1], zip(ranking, earlier, strict=False))
        return tuple(ranking[: max(1, len(list(pairs)))])
