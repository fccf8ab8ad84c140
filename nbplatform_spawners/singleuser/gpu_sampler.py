"""Reads the samples of the server's GPUs in a thread of its own: a driver in trouble may never answer."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ..names import bounded
from . import start
from .gpu_use import GpuUse, Sample, chosen, is_granted, visible

INTERVAL = 10.0
"""Seconds between two looks.  The driver keeps 71 samples, 5 a second: nothing is lost until 14 seconds."""
AGAIN = 60.0
"""Seconds after which it is tried again where it has failed."""
SILENT = timedelta(seconds=90)
"""The driver does not answer if a look takes that long."""


class GpuSampler:
    """Knows how much the GPUs of this server are used, or why that is not known."""

    def __init__(self, environ: Mapping[str, str], clock: Callable[[], datetime], interval: float = INTERVAL) -> None:
        """Prepare; nothing is imported and no driver is asked before :meth:`start`.

        Args:
            environ: the server's environment.
            clock: returns the time, with an offset.
            interval: seconds between two looks.
        """
        self._names = visible(environ)
        self._clock = clock
        self._interval = interval
        self._use: GpuUse | None = None
        self._nvml: Any = None
        self._handles: dict[int, Any] = {}
        self._problem: str | None = "the GPUs have not been looked at yet"
        self._looked = clock()
        self._told = False
        self._lock = threading.Lock()
        self._end = threading.Event()

    def start(self) -> None:
        """Begin to look, every few seconds until :meth:`stop`."""
        self._looked = self._clock()
        threading.Thread(target=self._run, name="nbplatform-gpu-use", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._end.set()

    def answer(self) -> tuple[dict[str, Any] | None, str | None]:
        """Return the use, and None; or None, and one sentence why it is not known."""
        now = self._clock()
        with self._lock:
            if now - self._looked > SILENT:
                return None, "the GPU driver does not answer"
            if self._problem is not None or self._use is None:
                return None, self._problem
            return self._use.as_json(now), None

    def look(self) -> bool:
        """Read what is new; returns whether that was possible."""
        problem = None
        try:
            self._read(self._open())
        except Exception as error:  # noqa: BLE001 - a library of the driver's: whatever it raises is the answer
            problem = _sentence(error)
            self._close()
        with self._lock:
            self._problem = problem
            self._looked = self._clock()
        if problem is not None and not self._told:
            start.log.warning("the use of GPUs is not known: %s", problem)
        self._told = problem is not None
        return problem is None

    def _run(self) -> None:
        wait = 0.0
        while not self._end.wait(wait):
            wait = self._interval if self.look() else max(self._interval, AGAIN)
            with self._lock:
                # The time until the next look is not the driver's silence.
                self._looked = self._clock() + timedelta(seconds=wait)

    def _open(self) -> GpuUse:
        if self._nvml is not None and self._use is not None:
            return self._use
        pynvml = importlib.import_module("pynvml")
        pynvml.nvmlInit()
        self._nvml = pynvml
        self._handles = self._mine(pynvml)
        mine = len(self._handles)
        use = self._use if self._use is not None and self._use.count == mine else GpuUse(mine)
        with self._lock:
            self._use = use
        return use

    def _mine(self, nvml: Any) -> dict[int, Any]:
        """Return the driver's handles of this server's GPUs, by their index; others may be out of reach."""
        handles, uuids, trouble = {}, [], LookupError("the driver knows none of the GPUs that this server was given")
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handles[index] = nvml.nvmlDeviceGetHandleByIndex(index)
                uuids.append(str(nvml.nvmlDeviceGetUUID(handles[index])))
            except nvml.NVMLError as error:
                trouble = error
                uuids.append("")
        mine = {index: handles[index] for index in chosen(self._names, uuids) if index in handles}
        if not mine:
            raise trouble
        return mine

    def _read(self, use: GpuUse) -> None:
        nvml = self._nvml
        for index, handle in self._handles.items():
            try:
                _, found = nvml.nvmlDeviceGetSamples(handle, nvml.NVML_GPU_UTILIZATION_SAMPLES, use.seen(index))
            except nvml.NVMLError_NotFound:  # there is nothing new
                continue
            samples = [Sample(int(one.timeStamp), int(one.sampleValue.uiVal)) for one in found]
            with self._lock:
                use.add(index, samples, self._clock())

    def _close(self) -> None:
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            with start.harmless("the end of a look at GPUs"):
                nvml.nvmlShutdown()


def sampler_for(environ: Mapping[str, str], clock: Callable[[], datetime]) -> GpuSampler | None:
    """Return what looks at the GPUs of a server; None where it was given none."""
    nodes = sum(node.name.removeprefix("nvidia").isdecimal() for node in Path("/dev").glob("nvidia*"))
    return GpuSampler(environ, clock) if is_granted(environ, nodes) else None


def _sentence(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "nvidia-ml-py is not installed in the server's environment"
    return bounded(str(error) or type(error).__name__, 200).strip("'\"")
