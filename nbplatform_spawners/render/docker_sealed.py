"""What every container of ours has, whatever the rules or the site say."""

from __future__ import annotations

from typing import Any


def sealed_host() -> dict[str, Any]:
    """Return the part of ``HostConfig`` that is the same for every container, made anew."""
    return {
        "AutoRemove": False,  # what a container held is read from it until it is positively gone
        "Binds": [],  # they would create a missing source, as root
        "CapAdd": [],
        "CapDrop": ["ALL"],
        "DeviceCgroupRules": [],
        "Devices": [],
        "Init": True,
        "IpcMode": "private",
        "Links": [],
        "OomKillDisable": False,
        "PidMode": "",
        "Privileged": False,
        "PublishAllPorts": False,
        "ReadonlyRootfs": False,  # the names of the account are written into the root folder
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "UTSMode": "",
        "UsernsMode": "",
        "VolumesFrom": [],
    }


def sealed_container() -> dict[str, Any]:
    """Return the part of the body beside ``HostConfig`` that is the same for every container, made anew."""
    return {
        "AttachStderr": False,
        "AttachStdin": False,
        "AttachStdout": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Tty": False,
    }


NO_NEW_PRIVILEGES = "no-new-privileges:true"
