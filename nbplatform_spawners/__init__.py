"""nbplatform: JupyterHub plugins for research computing centres.

Importing this package imports nothing heavy: it also sits in user images.
"""

__version__ = "0.1.0"
