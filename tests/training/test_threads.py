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


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(
    ("device", "precision", "is_half"), [("cpu", "bf16", True), ("cpu", "no", False), ("cuda", "bf16", False)]
)
def test_attention_is_products_in_half_precision_within_a_training_in_bf16_on_a_cpu(
    device, precision, is_half, dropout
):
    heads = torch.randn(2, 2, 4, 8, dtype=torch.bfloat16, requires_grad=True)
    with half_attention(torch.device(device), precision), Products() as products:
        scaled_dot_product_attention(heads, heads, heads, dropout_p=dropout).sum().backward()
    usual = {torch.float32} if dropout else set()  # without dropout a kernel that is no product of torch's
    assert products.dtypes == ({torch.bfloat16} if is_half else usual)
    assert not torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    assert torch.backends.cuda.flash_sdp_enabled()
