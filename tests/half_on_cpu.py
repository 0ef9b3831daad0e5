"""fp16 where there is no CUDA device."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState


class HalfOnCpu(Accelerator):
    """fp16 with its loss scale, on the CPU, where accelerate refuses it."""

    def __init__(self, mixed_precision):
        super().__init__(mixed_precision="no")
        AcceleratorState()._mixed_precision = mixed_precision
        self.native_amp, self.scaler = True, torch.amp.GradScaler("cpu")
