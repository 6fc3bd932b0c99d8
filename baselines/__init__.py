"""Baselines: one file a method that the papers compare themselves with."""
