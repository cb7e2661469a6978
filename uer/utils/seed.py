"""Seeds for every source of random numbers."""

from __future__ import annotations

import random


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and torch (CPU and GPU), and choose deterministic cuDNN kernels."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
