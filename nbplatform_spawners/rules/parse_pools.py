"""From blocks to pools and hosts."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..names import bounded, is_safe
from ..yaml_nodes import YamlReader
from .keys import Block
from .kinds import NOT_SAFE
from .model import Host, Pool

_KUBERNETES = ("node_selector", "tolerations")


@dataclass
class Hosts:
    """The hosts and GPUs met so far, in all pools of all files.

    Attributes:
        names: host to where it stands.
        gpus: id of a GPU to its host.
    """

    names: dict[str, str] = field(default_factory=dict)
    gpus: dict[str, str] = field(default_factory=dict)


def make_pool(reader: YamlReader, name: str, block: Block, met: Hosts) -> Pool:
    """Return a pool; hosts and GPUs that were met before become mistakes, so do hosts together with nodes."""
    if "hosts" in block.values:
        for key in _KUBERNETES:
            if key in block.values:
                reader.wrong(block.lines[key], f"{block.what}: {key!r} stands in place of 'hosts', not beside it")
    return Pool(
        name,
        hosts=tuple(_host(reader, host, met) for host in block.get("hosts", ())),
        overcommit=block.get("overcommit", 1.0),
        reserved=block.get("reserved", False),
        strategy=block.get("strategy", "spread"),
        node_selector={key: value for key, value, _ in block.get("node_selector", ())},
        tolerations=tuple(dict(found.values) for found in block.get("tolerations", ())),
    )


def _host(reader: YamlReader, block: Block, met: Hosts) -> Host:
    name: str = block.get("name", "")
    if name:
        _check_host(reader, block, name, met)
    gpus = tuple(gpu.text for gpu in block.get("gpus", ()))
    for gpu in block.get("gpus", ()):
        if gpu.text and gpu.text in met.gpus:
            first = met.gpus[gpu.text]
            reader.wrong(gpu.line, f"{block.what}: the GPU {bounded(gpu.text)} is listed twice, first {first}")
        met.gpus.setdefault(gpu.text, f"for host {bounded(name)}")
    return Host(
        name,
        url=block.get("url", ""),
        memory=block.get("memory", 0),
        cpus=block.get("cpus"),
        gpu_model=block.get("gpu_model"),
        gpus=gpus,
        memory_per_gpu=block.get("memory_per_gpu", 0),
        drain=block.get("drain", False),
    )


def _check_host(reader: YamlReader, block: Block, name: str, met: Hosts) -> None:
    line = block.lines["name"]
    if not is_safe(name):
        reader.wrong(line, f"{block.what}: {NOT_SAFE}")
    if name in met.names:
        reader.wrong(line, f"{block.what}: two hosts have this name, the first is in {met.names[name]}")
    met.names.setdefault(name, f"{reader.file}:{line}")
