// A driver's library without a device, for tests. Its memory is the host's, and a launch does nothing. One function a line, so that one can be
// left out. STAND_IN, in the environment, holds words: NAME=CODE is what that function gives in place of 0; version=, count=, capability= and
// card= are what it tells of itself. Code that the build has compiled it gives that code for; what the stand-in of NVRTC has made it loads.
#include <cstdio>
#include <cstdlib>
#include <cstring>
typedef unsigned long long u64;
static const char *word(const char *name) {
    static thread_local char found[64];
    const char *all = getenv("STAND_IN");
    for (size_t n = strlen(name); all && *all; all = strchr(all, ' ') ? strchr(all, ' ') + 1 : nullptr)
        if (!strncmp(all, name, n) && all[n] == '=') return sscanf(all + n + 1, "%63[^ ]", found) == 1 ? found : nullptr;
    return nullptr;
}
static int number(const char *name, int usual) { const char *given = word(name); return given ? atoi(given) : usual; }
#define CODE number(__func__, 0)
static int something;
extern "C" {
int cuInit(unsigned) { return CODE; }
int cuDriverGetVersion(int *v) { *v = number("version", 13000); return CODE; }
int cuGetErrorName(int e, const char **s) { *s = e == 123456 ? nullptr : "STAND_IN_ERROR"; return *s ? 0 : 1; }
int cuGetErrorString(int e, const char **s) { *s = e == 802 ? "system not yet initialized" : e == 100 ? "no device is detected" : e == 123456 ? nullptr : "words of the driver"; return *s ? 0 : 1; }
int cuDeviceGetCount(int *n) { *n = number("count", 1); return CODE; }
int cuDeviceGet(int *d, int n) { *d = n; return CODE; }
int cuDeviceGetName(char *s, int n, int) { const char *card = word("card"); snprintf(s, n, "%s", card ? card : "Stand-in"); return CODE; }
int cuDeviceGetAttribute(int *v, int a, int) { int c = number("capability", 90); *v = a == 75 ? c / 10 : a == 76 ? c % 10 : a == 97 ? 227 << 10 : 132; return CODE; }
int cuDevicePrimaryCtxRetain(void **c, int) { *c = &something; return CODE; }
int cuDevicePrimaryCtxRelease_v2(int) { return CODE; }
int cuCtxSetCurrent(void *) { return CODE; }
int cuStreamCreate(void **s, unsigned) { *s = &something; return CODE; }
int cuStreamSynchronize(void *) { return CODE; }
int cuStreamBeginCapture_v2(void *, int) { return CODE; }
int cuStreamEndCapture(void *, void **g) { *g = &something; return CODE; }
int cuStreamDestroy_v2(void *) { return CODE; }
int cuEventCreate(void **e, unsigned) { *e = &something; return CODE; }
int cuEventRecord(void *, void *) { return CODE; }
int cuEventSynchronize(void *) { return CODE; }
int cuEventElapsedTime(float *t, void *, void *) { *t = 1; return CODE; }
int cuEventDestroy_v2(void *) { return CODE; }
int cuMemAlloc_v2(u64 *a, size_t n) { *a = (u64)calloc(n, 1); return CODE; }
int cuMemFree_v2(u64 a) { free((void *)a); return CODE; }
int cuMemGetInfo_v2(size_t *f, size_t *t) { *f = 1 << 20; *t = 1 << 30; return CODE; }
int cuMemsetD8Async(u64 a, unsigned char v, size_t n, void *) { memset((void *)a, v, n); return CODE; }
int cuMemcpyHtoDAsync_v2(u64 to, const void *from, size_t n, void *) { memcpy((void *)to, from, n); return CODE; }
int cuMemcpyDtoHAsync_v2(void *to, u64 from, size_t n, void *) { memcpy(to, (void *)from, n); return CODE; }
int cuMemcpyDtoDAsync_v2(u64 to, u64 from, size_t n, void *) { memmove((void *)to, (void *)from, n); return CODE; }
int cuModuleLoadData(void **m, const void *code) { *m = &something; return memcmp(code, "made", 4) ? CODE : 0; }
int cuModuleGetFunction(void **f, void *, const char *) { *f = &something; return CODE; }
int cuModuleUnload(void *) { return CODE; }
int cuFuncGetAttribute(int *v, int, void *) { *v = 0; return CODE; }
int cuFuncSetAttribute(void *, int, int) { return CODE; }
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **) { return CODE; }
int cuGraphInstantiateWithFlags(void **r, void *, u64) { *r = &something; return CODE; }
int cuGraphLaunch(void *, void *) { return CODE; }
int cuGraphDestroy(void *) { return CODE; }
int cuGraphExecDestroy(void *) { return CODE; }
}
