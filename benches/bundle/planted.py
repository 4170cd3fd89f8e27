#!/usr/bin/env python3
"""A kernel with one mistake, for a sanitizer to find: planted.py memcheck|racecheck|initcheck|synccheck.

Compiled by NVRTC and launched through the driver, by ctypes: nothing but the driver and NVRTC (a toolkit's, or PyTorch's) is needed."""

import ctypes
import glob
import os
import sys
import sysconfig

KERNELS = {
    # One element past the end of a block of memory of 64 floats.
    "memcheck": "extern \"C\" __global__ void k(float* x) { x[threadIdx.x + 1024 * 1024] = 1.0f; }",
    # Neighbours' elements without a barrier.
    "racecheck": "extern \"C\" __global__ void k(float* x) { __shared__ float s[64]; s[threadIdx.x] = threadIdx.x; x[threadIdx.x] = s[63 - threadIdx.x]; }",
    # Memory that nobody has written.
    "initcheck": "extern \"C\" __global__ void k(float* x) { x[threadIdx.x] = x[threadIdx.x] + 1.0f; }",
    # A barrier that half of a warp does not reach.
    "synccheck": "extern \"C\" __global__ void k(float* x) { if (threadIdx.x % 2) __syncthreads(); x[threadIdx.x] = 0.0f; }",
}


def library(names, packages):
    places = [os.path.join(sysconfig.get_paths()["purelib"], "nvidia", package, "lib", name) for package in packages for name in names]
    for place in [*sum((glob.glob(place) for place in places), []), *glob.glob("/usr/local/cuda*/lib64/" + names[0]), *names]:
        try:
            return ctypes.CDLL(place, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
    sys.exit(f"none of {names} was found")


def main():
    source = KERNELS[sys.argv[1]].encode()
    packages = ["cu13", "cuda_nvrtc"]
    for name in glob.glob(os.path.join(sysconfig.get_paths()["purelib"], "nvidia", "*", "lib", "libnvrtc-builtins.so.1*.*")):
        ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    nvrtc, cuda = library(["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"], packages), library(["libcuda.so.1"], [])

    def check(status, what):
        if status != 0:
            sys.exit(f"{what}: {status}")

    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"planted.cu", 0, None, None), "create")
    options = (ctypes.c_char_p * 2)(b"--gpu-architecture=compute_80", b"-lineinfo")
    check(nvrtc.nvrtcCompileProgram(program, 2, options), "compile")
    check(nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)), "size")
    ptx = ctypes.create_string_buffer(size.value)
    check(nvrtc.nvrtcGetPTX(program, ptx), "PTX")
    device, context, module, function, memory = ctypes.c_int(), *(ctypes.c_void_p() for _ in range(4))
    check(cuda.cuInit(0), "init")
    check(cuda.cuDeviceGet(ctypes.byref(device), 0), "device")
    check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "context")
    check(cuda.cuCtxSetCurrent(context), "context")
    check(cuda.cuModuleLoadData(ctypes.byref(module), ptx), "module")
    check(cuda.cuModuleGetFunction(ctypes.byref(function), module, b"k"), "function")
    check(cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(256)), "memory")
    arguments = (ctypes.c_void_p * 1)(ctypes.cast(ctypes.byref(memory), ctypes.c_void_p))
    check(cuda.cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, 0, None, arguments, None), "launch")
    check(cuda.cuCtxSynchronize(), "wait")


if __name__ == "__main__":
    main()
