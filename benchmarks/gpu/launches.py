# SPDX-License-Identifier: Apache-2.0
"""What a node of a CUDA graph costs: chains of tiny kernels, captured and replayed.

With and without programmatic launches, where a kernel starts while the one before it ends, and as
phases of one kernel whose blocks wait for each other: the floor of whatever launches small nodes.
"""

from __future__ import annotations

import ctypes
import statistics
from functools import partial
from typing import Any

from benchmarks.gpu.native import call, library

SOURCE = r"""
extern "C" __global__ void plain(float* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = x[i] * 0.999f + 0.001f;
}
extern "C" __global__ void programmatic(float* x, int n) {
  asm volatile("griddepcontrol.launch_dependents;");
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  asm volatile("griddepcontrol.wait;" ::: "memory");
  if (i < n) x[i] = x[i] * 0.999f + 0.001f;
}
extern "C" __global__ void phases(float* x, int n, unsigned* arrived, int count) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int p = 1; p <= count; ++p) {
    if (i < n) x[i] = x[i] * 0.999f + 0.001f;
    __syncthreads();
    if (threadIdx.x == 0) {
      __threadfence();
      atomicAdd(arrived, 1u);
      while (*(volatile unsigned*)arrived < p * gridDim.x) {}
      __threadfence();
    }
    __syncthreads();
  }
}
extern "C" __global__ void clear(unsigned* arrived) {
  if (threadIdx.x == 0) *arrived = 0;
}
"""
SERIALIZE = 6  # CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
THREADS = 256
NODES = 11  # what a small training step needs


class Attribute(ctypes.Structure):
    """CUlaunchAttribute, of which a flag is used."""

    _fields_ = [
        ("id", ctypes.c_int),
        ("pad", ctypes.c_char * 4),
        ("value", ctypes.c_int),
        ("rest", ctypes.c_char * 60),
    ]


class Config(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(Attribute)),
        ("count", ctypes.c_uint),
    ]


def compiled(architecture: str = "sm_90") -> bytes:
    """The kernels as machine code."""
    nvrtc = library("libnvrtc.so.13")
    program = ctypes.c_void_p()
    call(
        *(nvrtc, "nvrtcCreateProgram", ctypes.byref(program)),
        *(ctypes.c_char_p(SOURCE.encode()), ctypes.c_char_p(b"launches.cu"), 0, None, None),
    )
    option = (ctypes.c_char_p * 1)(f"-arch={architecture}".encode())
    call(nvrtc, "nvrtcCompileProgram", program, 1, option)
    size = ctypes.c_size_t()
    call(nvrtc, "nvrtcGetCUBINSize", program, ctypes.byref(size))
    image = ctypes.create_string_buffer(size.value)
    call(nvrtc, "nvrtcGetCUBIN", program, image)
    return image.raw


class Device:
    """The first GPU: kernels, a stream, some memory."""

    def __init__(self) -> None:
        self.cuda = library("libcuda.so.1")
        self._do("cuInit", 0)
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._do("cuDeviceGet", ctypes.byref(device), 0)
        self._do("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._do("cuCtxSetCurrent", context)
        module = ctypes.c_void_p()
        self._do("cuModuleLoadData", ctypes.byref(module), compiled())
        self._module = module
        self.stream = ctypes.c_void_p()
        self._do("cuStreamCreate", ctypes.byref(self.stream), 1)
        self.x, self.arrived = ctypes.c_uint64(), ctypes.c_uint64()
        for place, size in ((self.x, 1 << 20), (self.arrived, 256)):
            self._do("cuMemAlloc_v2", ctypes.byref(place), ctypes.c_size_t(size))
            self._do("cuMemsetD8_v2", place, 0, ctypes.c_size_t(size))

    def _do(self, function: str, *arguments: Any) -> None:
        call(self.cuda, function, *arguments)

    def launch(self, name: str, blocks: int, arguments: list[Any], programmatic: bool) -> None:
        """Into the stream."""
        function = ctypes.c_void_p()
        self._do("cuModuleGetFunction", ctypes.byref(function), self._module, name.encode())
        attribute = Attribute(SERIALIZE, b"", 1)
        config = Config((blocks, 1, 1), (THREADS, 1, 1), 0, self.stream)
        if programmatic:
            config.attributes, config.count = ctypes.pointer(attribute), 1
        pointers = [ctypes.cast(ctypes.pointer(a), ctypes.c_void_p) for a in arguments]
        given = (ctypes.c_void_p * len(arguments))(*pointers)
        self._do("cuLaunchKernelEx", ctypes.byref(config), function, given, None)

    def captured(self, put: Any) -> ctypes.c_void_p:
        """An executable graph of what `put` launches."""
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._do("cuStreamBeginCapture_v2", self.stream, 1)
        put()
        self._do("cuStreamEndCapture", self.stream, ctypes.byref(graph))
        flags = ctypes.c_ulonglong(0)
        self._do("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, flags)
        return executable

    def replay(self, graph: ctypes.c_void_p, count: int) -> float:
        """Microseconds of one of `count` replays in a row."""
        begin, end = ctypes.c_void_p(), ctypes.c_void_p()
        for event in (begin, end):
            self._do("cuEventCreate", ctypes.byref(event), 0)
        self._do("cuEventRecord", begin, self.stream)
        for _ in range(count):
            self._do("cuGraphLaunch", graph, self.stream)
        self._do("cuEventRecord", end, self.stream)
        self._do("cuEventSynchronize", end)
        milliseconds = ctypes.c_float()
        self._do("cuEventElapsedTime", ctypes.byref(milliseconds), begin, end)
        return 1e3 * milliseconds.value / count


def chain(device: Device, kind: str, count: int, blocks: int) -> None:
    """So many kernels, each waiting for the one before."""
    for _ in range(count):
        n = ctypes.c_int(blocks * THREADS)
        device.launch(kind, blocks, [device.x, n], kind == "programmatic")


def together(device: Device, count: int, blocks: int) -> None:
    """The same work in one kernel."""
    n, phases = ctypes.c_int(blocks * THREADS), ctypes.c_int(count)
    device.launch("clear", 1, [device.arrived], False)
    device.launch("phases", blocks, [device.x, n, device.arrived, phases], False)


def measure(replays: int = 500, windows: int = 7) -> dict[str, Any]:
    """Microseconds of a replay, median of windows in turn, and of each node added."""
    device = Device()
    graphs: dict[str, ctypes.c_void_p] = {}
    for blocks in (1, 32):
        for count in (1, NODES, 4 * NODES):
            for kind in ("plain", "programmatic"):
                put = partial(chain, device, kind, count, blocks)
                graphs[f"{kind}, {count} nodes of {blocks} blocks"] = device.captured(put)
            put = partial(together, device, count, blocks)
            graphs[f"phases, {count} of {blocks} blocks"] = device.captured(put)
    times: dict[str, list[float]] = {name: [] for name in graphs}
    for graph in graphs.values():
        device.replay(graph, replays)
    for _ in range(windows):
        for name, graph in graphs.items():
            times[name].append(device.replay(graph, replays))
    medians = {name: statistics.median(us) for name, us in times.items()}
    return {
        "replay_us": {name: round(us, 3) for name, us in medians.items()},
        "us_per_added_node": slopes(medians),
    }


def slopes(medians: dict[str, float]) -> dict[str, float]:
    """Microseconds of each node more, from the shortest to the longest chain of a kind."""
    found: dict[str, list[tuple[int, float]]] = {}
    for name, us in medians.items():
        kind, rest = name.split(", ")
        count, tail = rest.split(" ", 1)
        found.setdefault(f"{kind}, {tail.removeprefix('nodes ')}", []).append((int(count), us))
    result = {}
    for kind, points in found.items():
        (few, low), (many, high) = min(points), max(points)
        result[kind] = round((high - low) / max(many - few, 1), 3)
    return result
