"""Independent jobs through joblib on any of its engines: workers stay for the next jobs, and may die."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from bort_kedro.errors import TrainingError
from bort_kedro.launcher import end_with
from bort_kedro.progress import track
from bort_kedro.search.pools import POOLS, Pool, reason_of
from bort_kedro.search.settings import EngineSettings

__all__ = ["ENGINES", "Engine", "Job", "Restart", "device_index", "run_jobs"]

LOGGER = logging.getLogger(__name__)
ENGINES = tuple(POOLS)
# Deaths without a finished job in between, after which starting again would waste time.
MAX_DEATHS = 3


@dataclass(frozen=True)
class Job:
    """A call that travels to a worker.

    Args:
        function: Picklable; an interrupted call is made again, so it should go on from what it saved.
    """

    name: str
    function: Callable[..., object]
    arguments: tuple[object, ...]


@dataclass(frozen=True)
class Restart:
    """A worker died, for a reason on one line, and the jobs under way were started again."""

    jobs: tuple[str, ...]
    reason: str


class _WorkerDiedError(Exception):
    """Sets a worker's death apart from an exception of a job."""


class Engine:
    """Workers that stay from one `run_jobs` to the next, until a ``with`` block ends.

    They start with the first job that is run. When jobs end otherwise than by their results (a worker died, a job
    failed, the caller stopped early), all workers end, and the next jobs start new ones.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self._numbers = count()
        self._workers = ExitStack()
        self._pool: Pool | None = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *raised: object) -> None:
        self.end_workers()

    def take_numbers(self, jobs: Sequence[Job]) -> dict[int, Job]:
        """The jobs by their numbers, counted over all jobs of this engine, so that all GPUs have their turn."""
        return {next(self._numbers): job for job in jobs}

    def pool(self) -> Pool:
        """The workers; new ones where there are none."""
        if self._pool is None:
            self._pool = self._workers.enter_context(POOLS[self.settings.engine](self.settings))
        return self._pool

    def end_workers(self) -> None:
        """Leave nothing running but a cluster that was running before."""
        self._pool = None
        self._workers.close()


def run_jobs(
    jobs: Sequence[Job],
    engine: Engine,
    *,
    description: str,
    on_restart: Callable[[Restart], None] | None = None,
    on_lost: Callable[[Job, str], object] | None = None,
) -> Generator[Any, None, None]:
    """Yield each job's result as soon as it is there, in any order; a description of "" shows no progress.

    Jobs are dispatched in the order given. A worker's death costs the jobs under way a restart with fresh workers,
    which ``on_restart`` is told of, and nothing else. When no job finished in between, the last of `MAX_DEATHS` tries
    is of one job alone, so that it shows whose fault the deaths are; ``on_lost`` gives its result where it dies again.
    Where there are GPUs, a job runs on the one that `device_index` names. Exhaust the iterator, or close it, before the
    next call on the same engine.

    Raises:
        ConfigurationError: If the engine's package is not installed, or nothing answers at the cluster's address.
        TrainingError: If a job fails its last try and there is no ``on_lost``.
        Exception: Whatever a job raises, unchanged.
    """
    with closing(_results(jobs, engine, on_restart, on_lost)) as results:
        yield from track(results, description, total=len(jobs))


def device_index(job_number: int, num_devices: int) -> int | None:
    """The GPU of a job, both counted from 0: jobs take turns over all GPUs; None where there is none."""
    return job_number % num_devices if num_devices else None


def _results(
    jobs: Sequence[Job],
    engine: Engine,
    on_restart: Callable[[Restart], None] | None,
    on_lost: Callable[[Job, str], object] | None,
) -> Generator[Any, None, None]:
    unfinished = engine.take_numbers(jobs)
    deaths = 0
    while unfinished:
        is_last_try = deaths == MAX_DEATHS - 1
        tried = dict(islice(unfinished.items(), 1 if is_last_try else None))
        try:
            with closing(_results_until_a_death(tried, engine)) as results:
                for number, result in results:
                    del unfinished[number]
                    deaths = 0
                    yield result
        except _WorkerDiedError as death:
            # No more than num_workers jobs are dispatched at a time, and in order: these were under way.
            alive = [job for number, job in tried.items() if number in unfinished]
            restart = Restart(tuple(job.name for job in alive[: engine.settings.num_workers]), str(death))
            if is_last_try:
                if on_lost is None:
                    raise _too_many_deaths(restart) from death
                ((number, job),) = tried.items()
                del unfinished[number]
                yield on_lost(job, restart.reason)
                continue
            deaths += 1
            LOGGER.warning("A worker died (%s). Started again: %s.", restart.reason, ", ".join(restart.jobs))
            if on_restart is not None:
                on_restart(restart)


def _too_many_deaths(last: Restart) -> TrainingError:
    return TrainingError(
        f"Workers died {MAX_DEATHS} times without finishing a job, usually because memory ran out. "
        f"At last {last.jobs[0]} alone was under way: {last.reason}. What is finished is kept. Lower "
        "params:search.num_workers or params:search.training.batch_tokens, then run the same command again."
    )


def _results_until_a_death(jobs: Mapping[int, Job], engine: Engine) -> Generator[tuple[int, Any], None, None]:
    """Numbers and results of jobs until all are done or a worker dies."""
    from joblib import Parallel, delayed

    pool, num_workers = engine.pool(), engine.settings.num_workers
    parallel = Parallel(
        n_jobs=num_workers,
        backend=pool.new_backend(),
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch=num_workers,
    )
    try:
        # Closed before the workers end, so that none goes on when the caller stops early.
        with closing(parallel(delayed(_run)(number, job, os.getpid()) for number, job in jobs.items())) as results:
            yield from results
    except BaseException as error:
        # Some jobs may still be under way; the next ones must not wait for these.
        engine.end_workers()
        if isinstance(error, pool.deaths):
            raise _WorkerDiedError(reason_of(error)) from error
        raise


def _run(number: int, job: Job, caller: int) -> tuple[int, Any]:
    """In the worker: the job on its GPU, which accelerate takes, as it asks for `cuda` without an index."""
    import torch

    # Not on another machine, where the number is that of some other process.
    if os.getppid() == caller:
        end_with(caller)
    index = device_index(number, torch.cuda.device_count())
    with nullcontext() if index is None else torch.cuda.device(index):
        return number, job.function(*job.arguments)
