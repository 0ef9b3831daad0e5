"""Call a function in a process of its own, so that its memory and threads are its own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

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


@contextmanager
def environment_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes started in the block; not for two threads at once."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
