"""Independent jobs through joblib on any of its engines, going on when a worker dies."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from textwrap import shorten
from typing import Any

from bort_kedro.errors import ConfigurationError, TrainingError
from bort_kedro.progress import track

LOGGER = logging.getLogger(__name__)
ENGINES = ("sequential", "loky", "dask", "ray")
# Deaths without a finished job in between, after which starting again would waste time.
MAX_DEATHS = 3
# Characters of a dead worker's exception that are told.
REASON_LENGTH = 160
# joblib keeps a single job at a time from its backend and runs it here. How many run is up to `pre_dispatch`.
FEWEST_JOBS_ELSEWHERE = 2


@dataclass(frozen=True)
class EngineSettings:
    """Where jobs run.

    Args:
        name: One of `ENGINES`.
        num_workers: Jobs at a time. With 1, loky, too, runs them in this process, where a death ends all.
        cluster_address: Of a dask scheduler or a ray cluster; None starts one on this machine with
            ``num_workers`` workers. The other engines have no use for it.
    """

    name: str
    num_workers: int
    cluster_address: str | None


@dataclass(frozen=True)
class Job:
    """A call that travels to a worker.

    Args:
        name: For people.
        function: Picklable; an interrupted call is made again, so it should go on from what it saved.
        arguments: Of the call.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Restart:
    """A worker died, and the jobs under way were started again.

    Args:
        jobs: Names of the jobs under way.
        reason: What the engine said, on one line.
    """

    jobs: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class _Pool:
    """A joblib backend, by name or as an object, and the exceptions that mean that a worker died."""

    backend: Any
    deaths: tuple[type[Exception], ...]


class _WorkerDiedError(Exception):
    """Sets a worker's death apart from an exception of a job."""


def run_jobs(
    jobs: Sequence[Job],
    engine: EngineSettings,
    *,
    description: str,
    on_restart: Callable[[Restart], None] | None = None,
) -> Generator[Any, None, None]:
    """Yield each job's result as soon as it is there, in any order.

    Jobs are dispatched in the order given. A worker's death costs the jobs under way a restart in a fresh pool
    and nothing else. Where there are GPUs, a job runs on the one that `device_index` names. Workers end with
    the iterator: exhaust it or close it.

    Args:
        jobs: Calls that do not depend on one another.
        engine: Where they run.
        description: For the progress bar; empty for silence.
        on_restart: Told of every death that was survived.

    Raises:
        ConfigurationError: If the engine's package is not installed.
        TrainingError: If workers die `MAX_DEATHS` times without a job finishing in between.
        Exception: Whatever a job raises, unchanged.
    """
    with closing(_results(jobs, engine, on_restart)) as results:
        yield from track(results, description, total=len(jobs))


def device_index(job_number: int, num_devices: int) -> int | None:
    """The GPU of a job, counted from 0: jobs take turns over all GPUs; None where there is none."""
    return job_number % num_devices if num_devices else None


def _results(
    jobs: Sequence[Job], engine: EngineSettings, on_restart: Callable[[Restart], None] | None
) -> Generator[Any, None, None]:
    unfinished = dict(enumerate(jobs))
    deaths = 0
    while unfinished:
        try:
            with closing(_results_of_one_pool(dict(unfinished), engine)) as results:
                for number, result in results:
                    del unfinished[number]
                    deaths = 0
                    yield result
        except _WorkerDiedError as death:
            # No more than num_workers jobs are dispatched at a time, and in order: these were under way.
            under_way = tuple(job.name for job in list(unfinished.values())[: engine.num_workers])
            restart = Restart(under_way, str(death))
            deaths += 1
            if deaths == MAX_DEATHS:
                raise _too_many_deaths(restart) from death
            LOGGER.warning("A worker died (%s). Started again: %s.", restart.reason, ", ".join(restart.jobs))
            if on_restart is not None:
                on_restart(restart)


def _too_many_deaths(last: Restart) -> TrainingError:
    return TrainingError(
        f"Workers died {MAX_DEATHS} times without finishing a job, usually because memory ran out. "
        f"Under way were {', '.join(last.jobs)}; the last death: {last.reason}. What is finished is kept. Lower "
        "params:search.num_workers or params:search.training.batch_tokens, then run the same command again."
    )


def _results_of_one_pool(jobs: Mapping[int, Job], engine: EngineSettings) -> Generator[tuple[int, Any], None, None]:
    """Numbers and results of jobs until all are done or a worker dies."""
    from joblib import Parallel, delayed

    with _POOLS[engine.name](engine) as pool:
        parallel = Parallel(
            n_jobs=engine.num_workers,
            backend=pool.backend,
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch=engine.num_workers,
        )
        try:
            # Closed before the pool is, so that no worker goes on when the caller stops early.
            with closing(parallel(delayed(_run)(number, job) for number, job in jobs.items())) as results:
                yield from results
        except pool.deaths as error:
            reason = shorten(f"{type(error).__name__}: {error}", REASON_LENGTH, placeholder=" ...")
            raise _WorkerDiedError(reason) from error


def _run(number: int, job: Job) -> tuple[int, Any]:
    """In the worker: the job on its GPU, which accelerate takes, as it asks for `cuda` without an index."""
    import torch

    index = device_index(number, torch.cuda.device_count())
    with nullcontext() if index is None else torch.cuda.device(index):
        return number, job.function(*job.arguments)


@contextmanager
def _sequential_pool(engine: EngineSettings) -> Iterator[_Pool]:
    yield _Pool("sequential", ())


@contextmanager
def _loky_pool(engine: EngineSettings) -> Iterator[_Pool]:
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    try:
        yield _Pool("loky", (BrokenProcessPool,))
    finally:
        # Idle workers would hold their memory, torch included, for minutes.
        get_reusable_executor().shutdown(wait=True)


@contextmanager
def _dask_pool(engine: EngineSettings) -> Iterator[_Pool]:
    distributed = _package_of(engine, "distributed")
    from joblib._dask import DaskDistributedBackend

    class DaskBackend(DaskDistributedBackend):
        """joblib's own calls nothing back when a task is lost with its worker, and then waits for ever."""

        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(int(super().effective_n_jobs(n_jobs)), FEWEST_JOBS_ELSEWHERE)

        def submit(self, func: Any, callback: Any = None) -> Any:
            future = super().submit(func, callback)
            future.add_done_callback(lambda done: callback(done.exception()) if done.exception() else None)
            return future

    with _dask_cluster(engine) as address, distributed.Client(address, set_as_default=False) as client:
        yield _Pool(DaskBackend(client=client), (distributed.scheduler.KilledWorker,))


def _dask_cluster(engine: EngineSettings) -> AbstractContextManager[Any]:
    """The address given, or a cluster on this machine that ends with the block."""
    from distributed import LocalCluster

    if engine.cluster_address is not None:
        return nullcontext(engine.cluster_address)
    return LocalCluster(
        n_workers=engine.num_workers,
        processes=True,
        threads_per_worker=1,
        # As with loky, only the operating system limits memory.
        memory_limit=None,
        dashboard_address=None,
        # A death is told here, once; dask's own logs would repeat it.
        silence_logs=logging.CRITICAL,
        # dask would start a job again by itself, without telling.
        scheduler_kwargs={"allowed_failures": 0},
    )


@contextmanager
def _ray_pool(engine: EngineSettings) -> Iterator[_Pool]:
    # Unless its user says otherwise, ray must not report its usage over the network.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _package_of(engine, "ray")

    own = {"num_cpus": engine.num_workers, "include_dashboard": False} if engine.cluster_address is None else {}
    errors = ray.exceptions
    deaths = (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError)
    with ThreadPoolExecutor(max_workers=1) as callbacks:
        try:
            ray.init(address=engine.cluster_address or "local", logging_level=logging.ERROR, **own)
            yield _Pool(_ray_backend(callbacks), deaths)
        finally:
            ray.shutdown()


def _ray_backend(callbacks: ThreadPoolExecutor) -> Any:
    """A joblib backend of ray tasks.

    ray's own is a pool that deals jobs out in turn, to busy workers, too, and yields nothing before all are done.

    Args:
        callbacks: Runs what joblib does after a job, which would hold up the thread that ray tells it in.
    """
    import ray
    from joblib.parallel import ParallelBackendBase

    # A death is told here rather than retried in silence.
    call = ray.remote(num_cpus=1, max_retries=0)(_call)

    class RayBackend(ParallelBackendBase):
        supports_retrieve_callback = True

        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(n_jobs, FEWEST_JOBS_ELSEWHERE)

        def submit(self, func: Any, callback: Any = None) -> Any:
            future = call.remote(func).future()
            future.add_done_callback(lambda done: callbacks.submit(callback, done.exception() or done.result()))
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, ray.exceptions.RayTaskError):
                raise out.cause
            if isinstance(out, BaseException):
                raise out
            return out

    return RayBackend()


def _call(function: Callable[[], Any]) -> Any:
    return function()


_POOLS: dict[str, Callable[[EngineSettings], AbstractContextManager[_Pool]]] = dict(
    zip(ENGINES, (_sequential_pool, _loky_pool, _dask_pool, _ray_pool), strict=True)
)


def _package_of(engine: EngineSettings, package: str) -> Any:
    """Import an engine's package.

    Raises:
        ConfigurationError: If it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigurationError(
            f"params:search.engine is `{engine.name}`, but the package `{package}` is not installed. Install it "
            f"with pip install 'bort-kedro[{engine.name}]', or set params:search.engine to `sequential` or `loky`, "
            "which need nothing more."
        ) from error
