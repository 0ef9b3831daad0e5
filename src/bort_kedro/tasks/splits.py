"""The splits that a task is trained, chosen and scored on, made of its official ones.

Agora makes new points of mistakes on dev, so dev says nothing of unseen text. Where the official test has no labels,
dev is halved: one half chooses, the other is seen by nothing before it is scored.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from bort_kedro.errors import TaskError
from bort_kedro.frozen import FrozenModel, JsonObject
from bort_kedro.tasks.description import Form
from bort_kedro.tasks.spans import CLOSE, OPEN
from bort_kedro.tasks.tags import single_labels, spans_of
from bort_kedro.tasks.units import units_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

TRAIN, DEV, TEST, SUBMISSION = "train", "dev", "test", "submission"
OFFICIAL = dict.fromkeys((TRAIN, DEV, TEST), "official")
# Parts of dev whose texts are of other sources than those of train: MNLI's. They choose nothing and are only scored.
ONLY_SCORED_PARTS = ("mismatched",)
# Regressions are stratified by tenths of their labels.
NUM_BINS = 10
_STRATIFIED_BY = {
    Form.CLASSIFICATION: "label",
    Form.REGRESSION: "tenth of the label",
    Form.MULTIPLE_CHOICE: "place of the right option",
    Form.TOKENS: "types of spans",
}


class SplitReport(FrozenModel):
    """What a split holds.

    Args:
        source: The split it comes from, in words.
        num_units: Rows, or questions of multiple choice.
        labels: Rows of each, of tags words; for regression ``minimum``, ``mean`` and ``maximum``.
        texts_also_in_train: Units of dev and test that have an equal one in train.
        texts_also_in_dev: Units of test that have an equal one in dev.
    """

    source: str
    num_rows: int
    num_units: int
    labels: dict[str, int | float]
    texts_also_in_train: int | None = None
    texts_also_in_dev: int | None = None


class ExamplesReport(FrozenModel):
    """What the splits of a task hold, and the files that they were read from.

    Args:
        train: None where there is no such split, as of the others.
        submission: The official test, where its labels are hidden.
        num_rows_skipped: Malformed ones by file.
    """

    train: SplitReport | None = None
    dev: SplitReport | None = None
    test: SplitReport | None = None
    submission: SplitReport | None = None
    files: dict[str, str] = Field(default_factory=dict)
    num_rows_read: dict[str, int] = Field(default_factory=dict)
    num_rows_skipped: dict[str, int] = Field(default_factory=dict)
    first_faults: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, SplitReport]:
        """Those there are, by name."""
        named = {TRAIN: self.train, DEV: self.dev, TEST: self.test, SUBMISSION: self.submission}
        return {split: report for split, report in named.items() if report is not None}

    def to_json(self) -> JsonObject:
        """As JSON has it, without what there is not."""
        return self.model_dump(mode="json", exclude_defaults=True)


def divide_splits(
    examples: pd.DataFrame, *, form: Form, seed: int, task: str = "", whose: Mapping[str, str] = OFFICIAL
) -> tuple[pd.DataFrame, ExamplesReport]:
    """Give every example the split it is used in.

    Labelled examples of the official test stay in ``test``; the others become ``submission``. Without labelled ones,
    the official dev is divided into ``dev`` and ``test``, halves in every stratum but for one unit, rows of one
    ``group`` together, and groups that ask about one text. The division depends on groups, texts, labels and the seed,
    not on the order of the groups.

    Args:
        examples: Columns ``split`` (train, dev or test, as they are official), ``part``, ``group``, ``text``,
            ``text_pair`` and ``label``; the others are left alone.
        form: Of the task.
        seed: Of the halving.
        task: For error texts.
        whose: By split, what the report calls it: ``official``, ``built-in`` or ``user's``.

    Returns:
        The examples in their order with the ``split`` they are used in; and what each split holds.

    Raises:
        TaskError: If a task that is trained has no dev, or one with unlabelled rows or too small to be halved.
    """
    divided = examples.copy()
    divided.loc[(divided["split"] == TEST) & divided["label"].isna(), "split"] = SUBMISSION
    found = set(divided["split"])
    sources = {split: f"{whose[split]} {split}" for split in (TRAIN, DEV, TEST)}
    sources[SUBMISSION] = f"{whose[TEST]} test, whose labels are hidden"
    # Diagnostics have a test split alone, labelled or not; nothing is chosen on them.
    if TRAIN in found and DEV not in found:
        raise _no_dev(divided, task)
    is_unlabelled = (divided["split"] == DEV) & divided["label"].isna()
    if is_unlabelled.any():
        raise _unlabelled_dev(int(is_unlabelled.sum()), task)
    if DEV in found and TEST not in found:
        is_test, halved = _test_half(divided[divided["split"] == DEV], form=form, seed=seed, whose=whose[DEV])
        if is_test.all() or not is_test.any():
            raise _too_small(divided, is_test, task)
        divided.loc[is_test.index[is_test], "split"] = TEST
        sources |= halved
    return divided, _report(divided, form, sources)


def _test_half(dev: pd.DataFrame, *, form: Form, seed: int, whose: str) -> tuple[pd.Series, dict[str, str]]:
    """Which rows of the official dev go to test, and what is to be said of both halves."""
    is_only_scored = dev["part"].isin(ONLY_SCORED_PARTS)
    rows = dev[~is_only_scored]
    is_test = is_only_scored.copy()
    is_test[~is_only_scored] = folds_of(rows, form=form, num_folds=2, seed=seed) == 1
    parts = [part for part in dict.fromkeys(rows["part"]) if part]
    by = f"{_STRATIFIED_BY[form]} and part" if len(parts) > 1 else _STRATIFIED_BY[form]
    how = f"the {whose} dev{_named(parts)}, stratified by {by}, seed {seed}"
    others = dict.fromkeys(dev.loc[is_only_scored, "part"])
    whole = f"; and all of the {whose} dev{_named(list(others))}" if others else ""
    return is_test, {DEV: f"half of {how}", TEST: f"the other half of {how}{whole}"}


def folds_of(rows: pd.DataFrame, *, form: Form, num_folds: int, seed: int) -> NDArray[np.intp]:
    """(N,) the fold of each labelled example, from 0: those of one ``group`` or about one text together.

    There are at least two, stratified as `divide_splits` stratifies halves. Columns are ``part``, ``group``, ``text``
    and ``label``.
    """
    rows = rows.assign(cluster=_clusters(rows))
    strata = _strata(rows, form)
    # One after the other of each stratum in turn: no stratum's folds differ by more than one unit.
    fold_of = np.empty(len(strata), dtype=np.intp)
    fold_of[_mixed_within_strata(strata, seed)] = np.arange(len(strata)) % num_folds
    places: NDArray[np.intp] = strata.index.get_indexer(pd.MultiIndex.from_frame(rows[["part", "cluster"]]))
    return fold_of[places]


def _clusters(rows: pd.DataFrame) -> pd.Series:
    """What goes to one half together: rows of a group, and groups that ask about one text, such as a passage.

    Otherwise a method that learns from texts like those of dev would learn the very texts of test.
    """
    unmarked = rows["text"].str.replace(f"{OPEN} ", "", regex=False).str.replace(f" {CLOSE}", "", regex=False)
    cluster = rows["group"].groupby([rows["part"], unmarked]).transform("first")
    return cluster.groupby([rows["part"], rows["group"]]).transform("first")


def _named(parts: Sequence[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""


def _strata(rows: pd.DataFrame, form: Form) -> pd.Series:
    """The stratum of each cluster within its part, by (part, cluster) in rising order."""
    keys = ["part", "cluster"]
    if form == Form.REGRESSION:
        means = rows["label"].astype(float).groupby([rows[key] for key in keys]).mean()
        return pd.qcut(means, min(NUM_BINS, max(1, len(means) // 2)), labels=False, duplicates="drop").astype(str)
    if form == Form.TOKENS:
        types = rows["label"].map(lambda label: " ".join(sorted({span.type for span in spans_of(label.split())})))
        return types.groupby([rows[key] for key in keys]).agg(" ".join)
    # The labels of a question's options in their order say where the right one stands; of other groups their order
    # says nothing.
    ordered = rows if form == Form.MULTIPLE_CHOICE else rows.sort_values("label", kind="stable")
    return ordered.groupby(keys)["label"].agg(" ".join)


def _mixed_within_strata(strata: pd.Series, seed: int) -> NDArray[np.intp]:
    """Places of the units: part by part and stratum by stratum, in random order within each."""
    parts = pd.factorize(strata.index.get_level_values("part"), sort=True)[0]
    kinds = pd.factorize(strata, sort=True)[0]
    return np.lexsort((np.random.default_rng(seed).permutation(len(strata)), kinds, parts))


def _report(divided: pd.DataFrame, form: Form, sources: dict[str, str]) -> ExamplesReport:
    reports, units_in = {}, {}
    for split in (TRAIN, DEV, TEST, SUBMISSION):
        rows = divided[divided["split"] == split]
        if rows.empty:
            continue
        units = units_of(rows, form == Form.MULTIPLE_CHOICE)
        units_in[split] = set(units)
        earlier = [each for each in {DEV: (TRAIN,), TEST: (TRAIN, DEV)}.get(split, ()) if each in units_in]
        reports[split] = SplitReport(
            source=sources[split],
            num_rows=len(rows),
            num_units=len(units),
            labels=_label_counts(rows["label"].dropna(), form),
            **{f"texts_also_in_{each}": sum(unit in units_in[each] for unit in units) for each in earlier},
        )
    return ExamplesReport.model_validate(reports)


def _label_counts(labels: pd.Series, form: Form) -> dict[str, int | float]:
    if labels.empty:
        return {}
    if form == Form.REGRESSION:
        values = labels.astype(float)
        return {"minimum": float(values.min()), "mean": float(values.mean()), "maximum": float(values.max())}
    return dict(sorted(Counter(single_labels(form, map(str, labels))).items()))


def _no_dev(divided: pd.DataFrame, task: str) -> TaskError:
    counts = ", ".join(f"{split} {count}" for split, count in divided["split"].value_counts(sort=False).items())
    return TaskError(
        f"{_subject(task)} no dev split (rows found: {counts}), but settings are chosen on dev, and dev is halved "
        "where the official test has no labels. Add the task's dev file, or name one under params:finetune."
    )


def _unlabelled_dev(count: int, task: str) -> TaskError:
    return TaskError(
        f"{_subject(task)} {count} row(s) of dev without a label, but dev scores settings and needs all of them. Add "
        "the labels to the task's dev file, or take the rows out."
    )


def _too_small(divided: pd.DataFrame, is_test: pd.Series, task: str) -> TaskError:
    rows = divided.loc[is_test.index[~divided.loc[is_test.index, "part"].isin(ONLY_SCORED_PARTS)]]
    num_units = _clusters(rows).groupby([rows["part"], _clusters(rows)]).ngroups
    return TaskError(
        f"{_subject(task)} {num_units} unit(s) in dev and no labelled test, and one half of dev would be empty: two "
        "units at least are needed, rows about one text or of one group counted once and those of part "
        f"`{ONLY_SCORED_PARTS[0]}` not at all. Add examples to the task's dev file, or give it a test file with labels."
    )


def _subject(task: str) -> str:
    return f"Task `{task}` has" if task else "The examples have"
