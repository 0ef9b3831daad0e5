"""Call a function in a process of its own, so that its memory and threads are its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar

from bort_kedro.environment import environment_variables

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def on_the_cpu(num_threads: int) -> dict[str, str]:
    """The environment of a process that computes on so many CPU threads and sees no accelerator."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(num_threads))
    return {**threads, "TOKENIZERS_PARALLELISM": "true", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}


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
    with (
        environment_variables(environment),
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        return pool.submit(function, *arguments, **keywords).result()
