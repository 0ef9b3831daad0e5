"""Call functions in processes of their own, so that their memory and threads are their own, and without their noise."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from bort_kedro.environment import environment_variables

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def on_the_cpu(num_threads: int) -> dict[str, str]:
    """The environment of a process that computes on so many CPU threads and sees no accelerator."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(num_threads))
    return {**threads, "TOKENIZERS_PARALLELISM": "true", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}


@contextmanager
def fresh_processes(count: int, environment: Mapping[str, str]) -> Iterator[ProcessPoolExecutor]:
    """So many fresh interpreters, with variables set for them beside those of this one; they end with the block."""
    with (
        environment_variables(environment),
        ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        yield pool


def in_own_process(
    environment: Mapping[str, str],
    function: Callable[Arguments, Result],
    *arguments: Arguments.args,
    **keywords: Arguments.kwargs,
) -> Result:
    """What the function returns in a fresh interpreter, which ends with the call; its errors are raised here.

    Args:
        environment: Variables set for that process beside those of this one.
        function: Of a module, so that the other process can import it.
        arguments: Of the function; they travel by pickle, as the result does.
        keywords: Likewise.
    """
    with fresh_processes(1, environment) as pool:
        return pool.submit(function, *arguments, **keywords).result()


@contextmanager
def quietly() -> Iterator[None]:
    """Without the bars and notices of transformers and of the project, of which those of two processes would mix."""
    from transformers.utils import logging as of_transformers

    own = logging.getLogger("bort_kedro")
    level, verbosity, has_bars = own.level, of_transformers.get_verbosity(), of_transformers.is_progress_bar_enabled()
    of_transformers.disable_progress_bar()
    of_transformers.set_verbosity_error()
    own.setLevel(logging.ERROR)
    try:
        yield
    finally:
        own.setLevel(level)
        of_transformers.set_verbosity(verbosity)
        if has_bars:
            of_transformers.enable_progress_bar()
