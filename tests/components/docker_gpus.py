"""GPUs that are none: what a container gets to see of an NVIDIA GPU, without the hardware and its driver.

A device node of major 195 has no driver here.  Opening it fails with ENXIO where the container's control group grants
the device, and with EPERM where it does not: so a test sees from inside whether a GPU was granted.

An engine with CDI reads :func:`cdi_spec`.  Docker 20.10 runs a hook of NVIDIA's that is found on its PATH:
:mod:`tests.components.nvidia_hook` stands in for it.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

MAJOR = 195
CONTROL_MINOR = 255
HOOK = Path(__file__).with_name("nvidia_hook.py")
NAMESPACE = uuid.UUID("6f0a4bd2-6d7c-5d0e-8a55-0d3b7e9d2c11")


def gpu_uuids(host: str, count: int) -> tuple[str, ...]:
    """Return the UUIDs of a host's GPUs: the same for the same name, different on every host."""
    return tuple(f"GPU-{uuid.uuid5(NAMESPACE, f'{host}/{index}')}" for index in range(count))


def make_nodes(folder: Path, count: int) -> None:
    """Make the device nodes of ``count`` GPUs, and of their control device, in a folder."""
    folder.mkdir(exist_ok=True)
    for minor in (*range(count), CONTROL_MINOR):
        path = folder / f"nvidia{minor}"
        if not path.exists():
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(MAJOR, minor))
            path.chmod(0o666)


def cdi_spec(nodes: Path, uuids: Sequence[str]) -> str:
    """Return a CDI specification, as NVIDIA's toolkit writes it: each GPU by UUID and by index, and all together."""
    edits = [
        {"deviceNodes": [{"path": f"/dev/nvidia{index}", "hostPath": f"{nodes}/nvidia{index}"}]}
        for index in range(len(uuids))
    ]
    devices = [
        {"name": name, "containerEdits": edits[index]} for index, one in enumerate(uuids) for name in (one, str(index))
    ]
    everything = [node for edit in edits for node in edit["deviceNodes"]]
    devices.append({"name": "all", "containerEdits": {"deviceNodes": everything}})
    control = {"path": "/dev/nvidiactl", "hostPath": f"{nodes}/nvidia{CONTROL_MINOR}"}
    common = {"env": ["NVIDIA_VISIBLE_DEVICES=void"], "deviceNodes": [control]}
    spec = {"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": devices, "containerEdits": common}
    return json.dumps(spec, indent=1)


def install_hook(folder: Path, uuids: Sequence[str]) -> None:
    """Put a stand-in for NVIDIA's runtime hook into a folder that is on a daemon's PATH."""
    folder.mkdir(exist_ok=True)
    hook = folder / "nvidia-container-runtime-hook"
    hook.write_text(f"#!/bin/sh\nexec '{sys.executable}' -I -S '{HOOK}' {' '.join(uuids)}\n")
    hook.chmod(0o755)
