"""Findings of which one hangs, one dies and one fails, made without torch, so that a process of them begins at once."""

import os
import time

from benchmarks.pretrain.cuda.bench import Bench, Case, Sizes
from benchmarks.pretrain.cuda.findings import Finding, Found
from tiny_cuda import stand_in


def speaks(bench):
    """The process, and how much was found before."""
    known = len(bench.speeds)
    bench.speeds[Case("Bort", known)] = []
    return Found(f"{os.getpid()} {known}")


def hangs(bench):
    time.sleep(60)


def dies(bench):
    os._exit(3)


def fails(bench):
    raise RuntimeError("no kernel")


FINDS = (speaks, speaks, hangs, speaks, dies, speaks, fails, speaks)


def start():
    return Bench(stand_in(), Sizes()), [Finding("First", str(number), find, 1) for number, find in enumerate(FINDS)]


def start_without_a_device():
    raise RuntimeError("no driver")
