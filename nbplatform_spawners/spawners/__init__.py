"""Spawners: the glue between JupyterHub and the plan."""
