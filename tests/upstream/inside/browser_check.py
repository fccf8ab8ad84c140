"""Runs JupyterLab's check of itself in a browser, with the speed-ups applied as the command does."""

from __future__ import annotations

import os
import runpy
import sys

from nbplatform_spawners.singleuser.__main__ import begin

begin(os.environ.get("NBPLATFORM_SPEEDUPS"))
sys.argv[0] = "jupyterlab.browser_check"
runpy.run_module("jupyterlab.browser_check", run_name="__main__", alter_sys=True)
