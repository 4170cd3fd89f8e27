#!/usr/bin/env python3
"""A kernel with one mistake, for a sanitizer to find: planted.py memcheck|racecheck|initcheck|synccheck|synccheck_return; `none` has none.

Compiled by NVRTC and launched through the driver, by ctypes: nothing but the driver and NVRTC (a toolkit's, or PyTorch's) is needed.

Exit status: 0 where the kernel was launched, whatever became of it, since a sanitizer's own exit status counts only then; 77 where it could
not be launched, for want of NVRTC, of a driver or of a device: then nothing was looked for, and nothing found."""

import ctypes
import glob
import os
import sys
import sysconfig

NOT_LAUNCHED = 77
# Blocks of memory have 64 floats, blocks 64 threads: two warps.
KERNELS = {
    "none": "x[threadIdx.x] = 1.0f;",
    # One element past the end.
    "memcheck": "x[threadIdx.x + 1] = 1.0f;",
    # The other warp's elements without a barrier.
    "racecheck": "__shared__ float s[64]; s[threadIdx.x] = threadIdx.x; x[threadIdx.x] = s[63 - threadIdx.x];",
    # Memory that nobody has written.
    "initcheck": "x[threadIdx.x] = x[threadIdx.x] + 1.0f;",
    # A barrier that half of a warp does not reach: it goes round it, or has returned.
    "synccheck": "if (threadIdx.x % 2) __syncthreads(); x[threadIdx.x] = 0.0f;",
    "synccheck_return": "if (threadIdx.x % 32 >= 16) return; __syncthreads(); x[threadIdx.x] = 0.0f;",
}


def not_launched(problem):
    print(f"planted.py: {problem}", file=sys.stderr)
    sys.exit(NOT_LAUNCHED)


def library(folders, names):
    for place in [*(os.path.join(folder, name) for name in names for folder in folders), *names]:
        try:
            return ctypes.CDLL(place, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
    not_launched(f"none of {', '.join(names)} was found")


def check(status, what):
    if status != 0:
        not_launched(f"{what} gives {status}")


def compiled(source):
    """The PTX of a kernel's text."""
    site = os.path.join(sysconfig.get_paths()["purelib"], "nvidia")
    folders = [os.path.join(site, "cu13", "lib"), os.path.join(site, "cuda_nvrtc", "lib"), *glob.glob("/usr/local/cuda*/lib64")]
    # NVRTC opens its built-ins by name: it finds what is loaded already.
    for folder in folders:
        found = sorted(name for name in glob.glob(os.path.join(folder, "libnvrtc-builtins.so.*")) if ".alt." not in name)
        if found:
            ctypes.CDLL(found[-1], mode=ctypes.RTLD_GLOBAL)
            folders = [folder]
            break
    nvrtc = library(folders, ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"])
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"planted.cu", 0, None, None), "nvrtcCreateProgram")
    options = (ctypes.c_char_p * 2)(b"--gpu-architecture=compute_80", b"-lineinfo")
    check(nvrtc.nvrtcCompileProgram(program, 2, options), "nvrtcCompileProgram")
    check(nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)), "nvrtcGetPTXSize")
    ptx = ctypes.create_string_buffer(size.value)
    check(nvrtc.nvrtcGetPTX(program, ptx), "nvrtcGetPTX")
    return ptx


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in KERNELS:
        sys.exit(f"usage: planted.py {'|'.join(KERNELS)}")
    ptx = compiled(f'extern "C" __global__ void planted(float* x) {{ {KERNELS[sys.argv[1]]} }}'.encode())
    cuda = library([], ["libcuda.so.1"])
    device, context, module, function = ctypes.c_int(), *(ctypes.c_void_p() for _ in range(3))
    memory = ctypes.c_uint64()
    check(cuda.cuInit(0), "cuInit")
    check(cuda.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
    check(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")
    check(cuda.cuModuleLoadData(ctypes.byref(module), ptx), "cuModuleLoadData")
    check(cuda.cuModuleGetFunction(ctypes.byref(function), module, b"planted"), "cuModuleGetFunction")
    check(cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(64 * 4)), "cuMemAlloc")
    # A pointer to each argument's value; the value of the only one is the address of the memory.
    arguments = (ctypes.c_void_p * 1)(ctypes.addressof(memory))
    check(cuda.cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, 0, None, arguments, None), "cuLaunchKernel")
    print(f"launched; waiting for it gives {cuda.cuCtxSynchronize()}")


if __name__ == "__main__":
    main()
