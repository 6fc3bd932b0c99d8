"""lowbit-suite: a reproducibility benchmark for low-bit transformer quantization.

Importing this package opens no socket and does not import torch.
"""

__version__ = "0.1.0"
