"""The precision that a device computes in."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from bort_kedro.training.threads import half_attention


class Products(TorchDispatchMode):
    """Notes the precisions of batched matrix products."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.bmm.default:
            self.dtypes.add(args[0].dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("device", "dtype"), [("cpu", torch.bfloat16), ("cuda", torch.float32)])
def test_attention_with_dropout_multiplies_in_half_precision_within_a_training_on_a_cpu(device, dtype):
    heads = torch.randn(2, 2, 4, 8, dtype=torch.bfloat16, requires_grad=True)
    with half_attention(torch.device(device)), Products() as products:
        scaled_dot_product_attention(heads, heads, heads, dropout_p=0.1).sum().backward()
    assert products.dtypes == {dtype}
    assert not torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
