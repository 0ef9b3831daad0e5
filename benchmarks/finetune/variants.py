"""Agora with other points, or with another dev: what its author says of both, and what it is without a task's rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bort_kedro.agora.near_duplicates import word_ngrams
from bort_kedro.agora.points import PointSource
from bort_kedro.evaluation.tfidf import TOKEN
from bort_kedro.tasks.units import Unit

NO_ORDER, ALIKE, REPRESENTATIVE = "no word order in tau", "points alike", "representative dev"
VARIANTS = {
    NO_ORDER: "tau without the transformations of word order, which on `order` are the rule of the task",
    ALIKE: "no point that shares fewer than a fifth of its runs of three words with its source",
    REPRESENTATIVE: "dev dealt anew of train and dev, evenly over clusters and labels",
}
# What of conf/base another tau changes.
WITHOUT_ORDER = {"transformation": {"weights": {"swap_words": 0, "shuffle_spans": 0}}}
# Least overlap of a point with its source.
LEAST_OVERLAP = 0.2
# Of texts, by the first components of their TF-IDF weights.
NUM_CLUSTERS, NUM_COMPONENTS = 20, 50


@dataclass(frozen=True)
class AlikePoints:
    """Points that are not too distinct from their source: such come out as it, which makes them none.

    Args:
        source: Of all points.
        ngram_words: Words of an n-gram.
    """

    source: PointSource
    ngram_words: int

    def __call__(self, units: Sequence[Unit], *, copies: int, seed: int) -> list[Unit]:
        """As the source's."""
        made = self.source(units, copies=copies, seed=seed)
        return [
            point if self.overlap(point, units[number // copies]) >= LEAST_OVERLAP else units[number // copies]
            for number, point in enumerate(made)
        ]

    def overlap(self, first: Unit, second: Unit) -> float:
        """The Jaccard index of their n-grams."""
        ours, theirs = word_ngrams(first, self.ngram_words), word_ngrams(second, self.ngram_words)
        return len(ours & theirs) / len(ours | theirs)


def with_representative_dev(examples: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The examples with as large a dev, dealt of train and dev evenly over clusters of texts and labels."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    rows = examples[examples["split"].isin(["train", "dev"])]
    texts = rows["text"] + " " + rows["text_pair"].fillna("").astype(str)
    weights = TfidfVectorizer(token_pattern=TOKEN).fit_transform(texts)
    num_components = min(NUM_COMPONENTS, weights.shape[1] - 1)
    reduced = TruncatedSVD(num_components, random_state=seed).fit_transform(weights)
    cluster = KMeans(min(NUM_CLUSTERS, len(rows)), random_state=seed, n_init=1).fit_predict(reduced)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(rows)), rows["label"].factorize()[0], cluster))
    num_dev = int((rows["split"] == "dev").sum())
    chosen = order[np.linspace(0, len(rows), num_dev, endpoint=False).astype(int)]
    split = np.full(len(rows), "train", dtype=object)
    split[chosen] = "dev"
    dealt = examples.copy()
    dealt.loc[rows.index, "split"] = split
    return dealt
