"""Tolerances of P2's golden values, relative to the largest golden magnitude of an array."""

EXACT = 0.0
FORWARD = 1e-6
GRADIENT = 1e-4
GRADIENT_16 = 2e-2
"""Float32 noise of the step gradient at 16 bits, where codes reach 65535."""

SEARCHED = 1e-3
"""A searched range depends on the optimizer's last steps; what follows from it by as much."""

TRAINED = 5e-2
"""While the soft weight still equals the FP32 one, gradients are rounding noise, which Adam
scales to full steps: the same formulas in float64 move alpha and losses by 1 % (measured)."""
