"""What the order of a sum may change: each processor's kernels add in an order of their own."""

import torch


def rounding(dtype: torch.dtype, *, width: int, depth: int, scale: float = 1.0) -> float:
    """Bound of the difference of two results that are equal but for the order of their sums.

    A sum of n terms is off by eps n max|term| at most, whatever the order, and what follows carries that on.

    Args:
        dtype: Of the values.
        width: Terms of the longest sum.
        depth: Sums on the way from the input to the result: about eight in a layer of an encoder.
        scale: Largest value on that way.

    References:
        Higham 2002, Accuracy and Stability of Numerical Algorithms, section 4.2.
    """
    return torch.finfo(dtype).eps * width * depth * scale
