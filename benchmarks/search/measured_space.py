"""Train every candidate of ``conf/bench`` with several seeds, and know its error after each rung of the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from benchmarks.configured import raw_parameters
from bort_kedro.configuration import check_parameters
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.costs import candidate_counts
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape
from bort_kedro.params import Parameters
from bort_kedro.pipelines.corpus.nodes import make_tokenizer, split_documents, tokenize_documents
from bort_kedro.pretraining.pretrain import definite
from bort_kedro.search.candidates import order, problem_of
from bort_kedro.search.engines import Engine, Job, run_jobs
from bort_kedro.search.replay import Recorded
from bort_kedro.search.short_training import ShortTraining, steps_of
from bort_kedro.search.space import enumerate_shapes
from bort_kedro.search.strategies import SearchProblem
from bort_kedro.search.strategies.halving import RUNG_SHARES
from bort_kedro.text.tokens import Tokens

MEASURES = ("error", "loss")


def bench_parameters() -> Parameters:
    """Those of ``conf/bench``."""
    return check_parameters(raw_parameters("bench"))


def tokens_of(raw_corpus: pd.DataFrame, parameters: Parameters) -> Tokens:
    """What the corpus stage makes of a text."""
    return tokenized(raw_corpus, parameters)[0]


def tokenized(raw_corpus: pd.DataFrame, parameters: Parameters) -> tuple[Tokens, PreTrainedTokenizerFast]:
    """What the corpus stage makes of a text, and the tokenizer that it trained on it."""
    documents, manifest = split_documents(raw_corpus, parameters.corpus)
    tokenizer, _ = make_tokenizer(documents, parameters.corpus, parameters.search)
    tokens = tokenize_documents(documents, tokenizer, parameters.corpus)
    fingerprint = f"{manifest['sha256']} {tokens.vocabulary.fingerprint} {parameters.corpus.sequence_length}"
    return Tokens(tokens.vocabulary, tokens.splits, fingerprint), tokenizer


def ordered_shapes(parameters: Parameters) -> list[BertShape]:
    """The candidates in the order of the search, the smallest first."""
    shapes = enumerate_shapes(parameters.search.space).shapes
    table = pd.DataFrame([shape.to_row() for shape in shapes]).assign(**candidate_counts(shapes, **_sizes(parameters)))
    return [BertShape.from_row(row) for row in order(table.assign(cost=table["operations"])).to_dict("records")]


def train_all(tokens: Tokens, parameters: Parameters, states_folder: Path, *, first_seed: int = 0) -> pd.DataFrame:
    """Errors of every candidate and of T, with as many seeds from the first as the parameters say.

    Finished trainings are kept in the folder and not repeated, so a benchmark that was stopped goes on.

    Returns:
        One row for each candidate, seed and rung: the shape, ``is_maximum_point``, ``seed``, ``share`` of the
        training, ``error``, ``loss``, their standard errors, ``seconds`` of training so far.
    """
    search = parameters.search
    states = TrainingStates(states_folder, keep=1)
    training = ShortTraining(tokens, definite(search.training), parameters.corpus.max_positions, states)
    maximum = search.stated_maximum()
    rate = {"learning_rate": search.maximum_point_learning_rate}
    shapes = [
        (maximum, rate),
        *((shape, {}) for shape in reversed(enumerate_shapes(search.space).shapes)),
    ]
    jobs = [
        Job(f"{shape.identifier}, seed {seed}", _train_one, (training, shape, changes, seed))
        for seed in range(first_seed, first_seed + search.num_seeds)
        for shape, changes in shapes
    ]
    with Engine(search) as engine:
        rows = [row for rows in run_jobs(jobs, engine, description="training every candidate") for row in rows]
    table = pd.DataFrame(rows).assign(
        is_maximum_point=lambda rows: (rows[list(SHAPE_COLUMNS)] == list(maximum.to_row().values())).all(axis=1)
    )
    return table.sort_values(["seed", *SHAPE_COLUMNS, "share"], ignore_index=True)


def _train_one(training: ShortTraining, shape: BertShape, changes: dict[str, float], seed: int) -> list[dict[str, Any]]:
    rows = []
    for share in RUNG_SHARES:
        steps = steps_of(share, training.settings.optimization.num_steps)
        record = training.run(shape, changes, seed, steps)
        scores = {name: value for name, value in record.items() if name != "history"}
        rows.append({**shape.to_row(), "seed": seed, "share": share, **scores})
    return rows


@dataclass(frozen=True)
class MeasuredSpace:
    """The space of one seed, as strategies and replays take it.

    Args:
        table: Candidates in order, with costs and the errors of the full training.
        problem: In the measure that was asked for.
        recorded: Errors after every rung.
    """

    table: pd.DataFrame
    problem: SearchProblem
    recorded: Recorded


def spaces_of(errors: pd.DataFrame, parameters: Parameters, *, measure: str) -> list[MeasuredSpace]:
    """One space for each seed of `train_all`."""
    sizes = _sizes(parameters)
    return [_space(rows, sizes, parameters, measure=measure) for _, rows in errors.groupby("seed")]


def _space(rows: pd.DataFrame, sizes: dict[str, int], parameters: Parameters, *, measure: str) -> MeasuredSpace:
    full = rows[rows["share"] == 1.0].reset_index(drop=True)
    full = full.assign(**candidate_counts([BertShape.from_row(row) for row in full.to_dict("records")], **sizes))
    full["cost"] = full["operations"].astype(float)
    maximum = full[full["is_maximum_point"]].iloc[0].to_dict()
    table = order(full[~full["is_maximum_point"]])
    search = parameters.search
    problem = problem_of(
        table,
        maximum,
        measure=measure,
        budget=search.budget,
        seed=int(full["seed"].iloc[0]),
        trials_per_round=search.trials_per_round,
    )
    by_share = {
        share: table[list(SHAPE_COLUMNS)].merge(group, on=list(SHAPE_COLUMNS), how="left")[measure].to_numpy(float)
        for share, group in rows.groupby("share")
    }
    noise = table[f"{measure}_standard_error"].to_numpy(float)
    recorded = Recorded(table[measure].to_numpy(float), noise, {float(share): by_share[share] for share in by_share})
    return MeasuredSpace(table, problem, recorded)


def mean_space(errors: pd.DataFrame, parameters: Parameters, *, measure: str) -> MeasuredSpace:
    """The space whose errors are means over the seeds: the best estimate of the truth that there is."""
    columns = [*SHAPE_COLUMNS, "share", "is_maximum_point"]
    values = [name for measure_name in MEASURES for name in (measure_name, f"{measure_name}_standard_error")]
    means = errors.groupby(columns, as_index=False)[values].mean().assign(seed=0)
    return _space(means, _sizes(parameters), parameters, measure=measure)


def _sizes(parameters: Parameters) -> dict[str, int]:
    return {
        "vocabulary_size": parameters.corpus.tokenizer.vocabulary_size,
        "max_positions": parameters.corpus.max_positions,
        "sequence_length": parameters.search.latency.sequence_length,
    }


def w_of(space: MeasuredSpace) -> NDArray[np.float64]:
    """(N,) W of every candidate, in the space's order, which no training changes."""
    return space.problem.w(np.arange(len(space.problem)), space.recorded.errors)


def winner(space: MeasuredSpace) -> tuple[str, float]:
    """The shape with the largest W, and that W."""
    w = w_of(space)
    best = int(np.argmax(w))
    return str(BertShape.from_row(space.table.loc[best])), float(w[best])
