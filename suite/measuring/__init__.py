"""`lowbit measure`: memory and time of a training step, method beside method."""
