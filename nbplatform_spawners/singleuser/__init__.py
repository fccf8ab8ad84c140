"""``nbplatform-singleuser``: JupyterHub's own single-user server, ready in less time.

It runs wherever users' servers run, so it imports nothing of the hub's side.  Each speed-up is a module here, can be
switched off by name, and leaves itself out, with a line in the log, where what it was made for has changed.  Beside
them the server answers the idle culler: what its person, its kernels and its GPUs do, and the notice of a stop.
"""
