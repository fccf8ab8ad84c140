"""Run inside a container, by a Python without packages: what NVIDIA's driver gives a program there, as JSON.

It speaks to the driver's own libraries, as CUDA and nvidia-smi do: NVML lists the GPUs, and a small kernel computes on
each that CUDA finds.  With the argument ``hold`` it then keeps the GPU until it is ended.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
import uuid
from typing import Any

NUMBERS = 1024
UUID_LENGTH = 96
# Multiplies each number by three.  The driver compiles it for the GPU at hand.
KERNEL = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry triple(.param .u64 numbers)
{
  .reg .b32 %r<6>;
  .reg .b64 %a<5>;
  ld.param.u64 %a1, [numbers];
  cvta.to.global.u64 %a2, %a1;
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  mad.lo.s32 %r4, %r1, %r2, %r3;
  mul.wide.s32 %a3, %r4, 4;
  add.s64 %a4, %a2, %a3;
  ld.global.u32 %r5, [%a4];
  mul.lo.s32 %r5, %r5, 3;
  st.global.u32 [%a4], %r5;
  ret;
}
\0"""


class DriverError(Exception):
    """The driver says no; the message is its own word for why."""


def nvml() -> list[str]:
    """Return the UUIDs of all GPUs that NVML finds.

    Raises:
        DriverError: NVML says no.
    """
    library = ctypes.CDLL("libnvidia-ml.so.1")
    library.nvmlErrorString.restype = ctypes.c_char_p

    def ask(name: str, *arguments: Any) -> None:
        if status := getattr(library, name)(*arguments):
            raise DriverError(library.nvmlErrorString(status).decode())

    count, found = ctypes.c_uint(), []
    ask("nvmlInit_v2")
    ask("nvmlDeviceGetCount_v2", ctypes.byref(count))
    for index in range(count.value):
        device, text = ctypes.c_void_p(), ctypes.create_string_buffer(UUID_LENGTH)
        ask("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
        ask("nvmlDeviceGetUUID", device, text, ctypes.c_uint(UUID_LENGTH))
        found.append(text.value.decode())
    return found


def cuda() -> dict[str, list[int]]:
    """Return what each GPU that CUDA finds made of the first numbers, by its UUID.

    Raises:
        DriverError: CUDA says no.
    """
    library = ctypes.CDLL("libcuda.so.1")

    def ask(name: str, *arguments: Any) -> None:
        if status := getattr(library, name)(*arguments):
            word = ctypes.c_char_p()
            library.cuGetErrorName(status, ctypes.byref(word))
            raise DriverError(f"{name}: {(word.value or b'').decode()}")

    ask("cuInit", 0)
    count = ctypes.c_int()
    ask("cuDeviceGetCount", ctypes.byref(count))
    return dict(computed(ask, index) for index in range(count.value))


def computed(ask: Any, index: int) -> tuple[str, list[int]]:
    """Return one GPU's UUID, and what it made of the first numbers."""
    context, module, kernel = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    name, memory = (ctypes.c_ubyte * 16)(), ctypes.c_uint64()
    numbers = (ctypes.c_uint32 * NUMBERS)(*range(NUMBERS))
    size = ctypes.c_size_t(ctypes.sizeof(numbers))
    ask("cuDeviceGetUuid", ctypes.byref(name), index)
    ask("cuDevicePrimaryCtxRetain", ctypes.byref(context), index)
    ask("cuCtxSetCurrent", context)
    ask("cuModuleLoadData", ctypes.byref(module), KERNEL)
    ask("cuModuleGetFunction", ctypes.byref(kernel), module, b"triple")
    ask("cuMemAlloc_v2", ctypes.byref(memory), size)
    ask("cuMemcpyHtoD_v2", memory, numbers, size)
    parameters = (ctypes.c_void_p * 1)(ctypes.addressof(memory))
    ask("cuLaunchKernel", kernel, NUMBERS // 256, 1, 1, 256, 1, 1, 0, None, parameters, None)
    ask("cuMemcpyDtoH_v2", numbers, memory, size)
    return f"GPU-{uuid.UUID(bytes=bytes(name))}", list(numbers)


def told(question: Any) -> Any:
    """Return the answer, or why there is none."""
    try:
        return question()
    except (DriverError, OSError) as error:
        return f"error: {error}"


def main(hold: bool) -> None:
    """Look, and say it."""
    sys.stdout.write(json.dumps({"nvml": told(nvml), "cuda": told(cuda)}) + "\n")
    sys.stdout.flush()
    while hold:
        time.sleep(1)


if __name__ == "__main__":
    main("hold" in sys.argv)
