"""Sweeps: many cells at once, on a SLURM cluster or in a queue on this machine."""
