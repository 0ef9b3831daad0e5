"""The benchmark of CUDA devices, tiny, on the CPU, in a process without the packages that it does without."""

import math
import sys
from importlib.machinery import PathFinder
from pathlib import Path

ABSENT = {
    *("kedro", "kedro_datasets", "kedro_mlflow", "kedro_viz", "mlflow", "pandas", "pyarrow", "datasets", "matplotlib"),
    *("plotly", "sklearn", "omegaconf", "optuna", "onnx", "onnxruntime", "openvino", "nncf", "sqlalchemy"),
}


class WithoutThem(PathFinder):
    """Finds what the path has, but for these."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in ABSENT else super().find_spec(fullname, path, target)


def tiny_sizes():
    from benchmarks.pretrain.cuda.bench import Sizes
    from benchmarks.pretrain.material import Setting
    from bort_kedro.encoders.shapes import BertShape

    return Sizes(
        shapes={"Bort": BertShape(1, 2, 16, 16), "BERT-base": BertShape(2, 2, 16, 32)},
        teacher=BertShape(1, 2, 16, 32),
        lengths=(8,),
        vocabulary_size=100,
        first_tokens=32,
        rows=2,
        steps_a_row=1,
        precision="no",
        checked=Setting(BertShape(2, 2, 16, 16), vocabulary_size=100, batch_size=2, sequence_length=12, num_threads=1),
        head_positions=8,
        latency_batches=(1, 2),
        latency_rounds=1,
    )


def no_bytes():
    return 1_000_000


def nothing():
    pass


def stand_in():
    from benchmarks.pretrain.cuda.bench import Device

    return Device("cpu", "stand-in for a device", 1e12, False, no_bytes, nothing)


def tiny_start():
    """What the process of the findings begins with."""
    without_them()
    from accelerate import Accelerator

    from benchmarks.pretrain.cuda import speed
    from benchmarks.pretrain.cuda.bench import Bench
    from benchmarks.pretrain.cuda.order import findings_of
    from bort_kedro.training import loop
    from bort_kedro.training.steps import ModelWithLoss
    from half_on_cpu import HalfOnCpu

    loop.Accelerator = lambda mixed_precision: (HalfOnCpu if mixed_precision == "fp16" else Accelerator)(
        mixed_precision=mixed_precision
    )
    # Compiling takes longer than all the rest; no batch is worth more than one that is half of it.
    ModelWithLoss.compile = lambda self: None
    speed.WORTH_IT = math.inf
    return Bench(stand_in(), tiny_sizes()), findings_of(tiny_sizes())


def without_them():
    sys.meta_path = [WithoutThem if finder is PathFinder else finder for finder in sys.meta_path]


def main(folder):
    without_them()
    from benchmarks.pretrain.cuda.order import measure_and_write

    measure_and_write(folder, sizes=tiny_sizes(), start=tiny_start)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
