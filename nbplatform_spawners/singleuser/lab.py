"""Shows the notice of a coming stop in JupyterLab and Notebook, by a prebuilt extension of these servers alone.

The extension is plain JavaScript in ``labextensions``, and nothing has to be built.  It is offered by the application's
own list of folders, in this process: no other server finds it, and no kernel or terminal inherits anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import start

FOLDER = Path(__file__).resolve().parent / "labextensions"
SETTING = "extra_labextensions_path"


def offer(serverapp: Any) -> None:
    """Add the folder to those in which JupyterLab, and what is built like it, looks for extensions.

    Called when the server's extensions are linked: all applications are there, and none has made its pages yet.
    Folders that a site has configured stay, and are looked into first.

    Args:
        serverapp: the server's application.
    """
    with start.harmless("the notice in JupyterLab"):
        for apps in serverapp.extension_manager.extension_apps.values():
            for app in apps:
                if app.has_trait(SETTING) and str(FOLDER) not in getattr(app, SETTING):
                    setattr(app, SETTING, [*getattr(app, SETTING), str(FOLDER)])
