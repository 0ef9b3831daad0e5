"""joblib backends by name: in this process, in processes, on a dask or a ray cluster."""

import logging
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from textwrap import shorten
from typing import Any
from urllib.parse import urlsplit

from bort_kedro.errors import ConfigurationError
from bort_kedro.search.settings import EngineSettings

# Characters that are told of an exception of an engine.
REASON_LENGTH = 160
# ray itself would look for its cluster for two minutes, and then end the process.
RAY_TIMEOUT_SECONDS = 10.0
# joblib keeps a single job at a time from its backend and runs it here. How many run is up to `pre_dispatch`.
FEWEST_JOBS_ELSEWHERE = 2
LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class Pool:
    """Makes joblib backends, by name or as objects, that share workers; the exceptions that mean that one died."""

    new_backend: Callable[[], Any]
    deaths: tuple[type[Exception], ...]


def reason_of(error: BaseException) -> str:
    """An exception on one line."""
    return shorten(f"{type(error).__name__}: {error}", REASON_LENGTH, placeholder=" ...")


@contextmanager
def _sequential_pool(settings: EngineSettings) -> Iterator[Pool]:
    yield Pool(lambda: "sequential", ())


@contextmanager
def _loky_pool(settings: EngineSettings) -> Iterator[Pool]:
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    try:
        # By its name, joblib finds the workers of the call before.
        yield Pool(lambda: "loky", (BrokenProcessPool,))
    finally:
        # Idle workers would hold their memory, torch included, for minutes.
        get_reusable_executor().shutdown(wait=True)


@contextmanager
def _dask_pool(settings: EngineSettings) -> Iterator[Pool]:
    distributed = _package_of(settings, "distributed")
    from joblib._dask import DaskDistributedBackend

    class DaskBackend(DaskDistributedBackend):
        """joblib's own calls nothing back when a task is lost with its worker, and then waits for ever."""

        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(int(super().effective_n_jobs(n_jobs)), FEWEST_JOBS_ELSEWHERE)

        def submit(self, func: Any, callback: Any = None) -> Any:
            future = super().submit(func, callback)
            future.add_done_callback(lambda done: callback(done.exception()) if done.exception() else None)
            return future

    with _dask_cluster(settings) as cluster, _dask_client(settings, cluster) as client:
        # A backend of its own for each call: what one call collects would reach into the next.
        yield Pool(lambda: DaskBackend(client=client), (distributed.scheduler.KilledWorker,))


def _dask_client(settings: EngineSettings, cluster: Any) -> AbstractContextManager[Any]:
    from distributed import Client

    try:
        client: AbstractContextManager[Client] = Client(cluster, set_as_default=False)
    except (OSError, ValueError) as error:
        if settings.cluster_address is None:
            raise
        raise _unreachable(settings, error) from error
    return client


def _dask_cluster(settings: EngineSettings) -> AbstractContextManager[Any]:
    """The address given, or a cluster on this machine that ends with the block."""
    from distributed import LocalCluster

    if settings.cluster_address is not None:
        return nullcontext(settings.cluster_address)
    cluster: AbstractContextManager[LocalCluster] = LocalCluster(
        n_workers=settings.num_workers,
        processes=True,
        threads_per_worker=1,
        # Workers take pickled jobs from whoever reaches them.
        host=LOCALHOST,
        # As with loky, only the operating system limits memory.
        memory_limit=None,
        dashboard_address=None,
        # A death is told here, once; dask's own logs would repeat it.
        silence_logs=logging.CRITICAL,
        # dask would start a job again by itself, without telling.
        scheduler_kwargs={"allowed_failures": 0},
    )
    return cluster


@contextmanager
def _ray_pool(settings: EngineSettings) -> Iterator[Pool]:
    # Unless its user says otherwise, ray must not report its usage over the network.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _package_of(settings, "ray")

    errors = ray.exceptions
    deaths = (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError)
    with ThreadPoolExecutor(max_workers=1) as callbacks:
        try:
            _start_ray(ray, settings)
            backend = _ray_backend(callbacks)
            yield Pool(backend, deaths)
        finally:
            ray.shutdown()


def _start_ray(ray: Any, settings: EngineSettings) -> None:
    address = settings.cluster_address
    if address is None:
        own = {"num_cpus": settings.num_workers, "include_dashboard": False}
        ray.init(address="local", logging_level=logging.ERROR, **own)
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        # Without a port it is a word of ray's own, such as `auto`, which ray finds out about at once.
        if parts.port is not None:
            socket.create_connection((parts.hostname or "", parts.port), RAY_TIMEOUT_SECONDS).close()
        ray.init(address=address, logging_level=logging.ERROR)
    except (OSError, ValueError) as error:
        raise _unreachable(settings, error) from error


def _ray_backend(callbacks: ThreadPoolExecutor) -> type:
    """A joblib backend of ray tasks.

    ray's own is a pool that deals jobs out in turn, to busy workers, too, and yields nothing before all are done. What
    joblib does after a job would hold up the thread that ray tells it in, so callbacks have one of their own.
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

    return RayBackend


def _call(function: Callable[[], Any]) -> Any:
    return function()


POOLS: dict[str, Callable[[EngineSettings], AbstractContextManager[Pool]]] = {
    "sequential": _sequential_pool,
    "loky": _loky_pool,
    "dask": _dask_pool,
    "ray": _ray_pool,
}


def _unreachable(settings: EngineSettings, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"params:search.cluster_address is `{settings.cluster_address}`, but no {settings.engine} cluster, which "
        f"params:search.engine asks for, answers there ({reason_of(error)}). Start it there, or set the address to "
        "where it runs, or to null to start one on this machine."
    )


def _package_of(settings: EngineSettings, package: str) -> Any:
    """Import an engine's package."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigurationError(
            f"params:search.engine is `{settings.engine}`, but the package `{package}` is not installed. Install it "
            f"with pip install 'bort-kedro[{settings.engine}]', or set params:search.engine to `sequential` or `loky`, "
            "which need nothing more."
        ) from error
