"""Dask on a real Slurm."""
