"""How much memory encoders take: of a process each, or as the CUDA allocator counts it."""

import multiprocessing
import resource
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.latency.conditions import Condition
from bort_kedro.progress import track

# A measurement: which shape, under which condition, with which vocabulary.
Request = tuple[BertShape, Condition, int]
SMALL_SHAPE = BertShape(1, 1, 8, 8)


def peak_memory(
    shapes: Sequence[BertShape], conditions: Sequence[Condition], *, vocabulary_size: int
) -> dict[Condition, list[int]]:
    """Bytes that weights and one forward pass take at most beyond what the libraries take, by condition and in the
    order of the shapes.

    On the CPU: the largest resident memory of a process that builds the encoder and passes it once, less what was
    resident after a small pass, before it was built. Weights, activations, logits and the buffers of the libraries
    count, but for some megabytes that the small pass left for reuse. Each encoder has a process of its own for each
    batch and length, and with a head another. The number of threads is that of the first condition that differs in
    nothing else, since memory hardly depends on it.

    On CUDA: the most that torch's allocator handed out, less what it had handed out after a small pass. The context and
    the libraries' own memory on the device do not count.
    """
    distinct: dict[Condition, Condition] = {}
    for condition in conditions:
        distinct.setdefault(replace(condition, num_threads=1), condition)
    requests = [
        (shape, condition, vocabulary_size) for condition in distinct.values() for shape in dict.fromkeys(shapes)
    ]
    on_cpu = [request for request in requests if request[1].device == "cpu"]
    found = dict(zip(on_cpu, _in_own_processes(on_cpu), strict=True)) if on_cpu else {}
    found |= {request: _cuda_peak(*request) for request in requests if request not in found}
    return {
        condition: [found[shape, distinct[replace(condition, num_threads=1)], vocabulary_size] for shape in shapes]
        for condition in conditions
    }


def resident_bytes() -> int:
    """Memory of this process that is resident now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_resident_bytes() -> int:
    """Largest resident memory of this process so far.

    Linux carries ``ru_maxrss`` over from the process that started this one, so the status file is asked first.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _in_own_processes(requests: Sequence[Request]) -> list[int]:
    """Bytes of each request, from a fresh interpreter, whose results are handed on as they come."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        # torch is loaded once, by whom all others are copied from before it has started any thread.
        pool.submit(_load_libraries).result()
        return [
            pool.submit(_in_copy_of_this_process, request).result()
            for request in track(requests, "measuring memory", total=len(requests))
        ]


def _load_libraries(device: str = "cpu") -> None:
    """Do a small pass, so that all it takes to do one is there before memory is looked at."""
    from bort_kedro.training.threads import cpu_threads

    # With one thread none is started, and a process without threads can be copied.
    with cpu_threads(1):
        _pass_once(SMALL_SHAPE, Condition(1, 8, 1, has_head=True, device=device), 16)


def _in_copy_of_this_process(request: Request) -> int:
    # Elsewhere than on Linux the systems' libraries do not survive a fork.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_cpu_peak, *request).result()


def _cpu_peak(shape: BertShape, condition: Condition, vocabulary_size: int) -> int:
    from bort_kedro.training.threads import cpu_threads

    _load_libraries()
    before = resident_bytes()
    with cpu_threads(condition.num_threads):
        _pass_once(shape, condition, vocabulary_size)
    return peak_resident_bytes() - before


def _cuda_peak(shape: BertShape, condition: Condition, vocabulary_size: int) -> int:
    import torch

    _load_libraries(condition.device)
    torch.cuda.synchronize(condition.device)
    before = torch.cuda.memory_allocated(condition.device)
    torch.cuda.reset_peak_memory_stats(condition.device)
    _pass_once(shape, condition, vocabulary_size)
    torch.cuda.synchronize(condition.device)
    return int(torch.cuda.max_memory_allocated(condition.device)) - before


def _pass_once(shape: BertShape, condition: Condition, vocabulary_size: int) -> None:
    import torch

    from bort_kedro.latency.shapes import random_ids
    from bort_kedro.latency.timed_encoders import build_headless_encoder, with_masked_lm_head

    encoder = build_headless_encoder(
        shape, vocabulary_size=vocabulary_size, sequence_length=condition.sequence_length, device=condition.device
    )
    model = with_masked_lm_head(encoder) if condition.has_head else encoder
    with torch.inference_mode():
        model(input_ids=random_ids(condition, vocabulary_size))
