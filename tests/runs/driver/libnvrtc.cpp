// A compiler's library for tests: whatever it is given, it makes the four bytes that the driver's stand-in loads.
#include <cstddef>
#include <cstring>
extern "C" {
int nvrtcVersion(int *major, int *minor) { *major = 13; *minor = 0; return 0; }
int nvrtcCreateProgram(void **p, const char *, const char *, int, const char *const *, const char *const *) { static int program; *p = &program; return 0; }
int nvrtcDestroyProgram(void **) { return 0; }
int nvrtcCompileProgram(void *, int, const char *const *) { return 0; }
int nvrtcGetProgramLogSize(void *, size_t *n) { *n = 1; return 0; }
int nvrtcGetProgramLog(void *, char *log) { *log = 0; return 0; }
int nvrtcGetCUBINSize(void *, size_t *n) { *n = 4; return 0; }
int nvrtcGetCUBIN(void *, char *code) { memcpy(code, "made", 4); return 0; }
int nvrtcGetPTXSize(void *, size_t *n) { *n = 5; return 0; }
int nvrtcGetPTX(void *, char *code) { memcpy(code, "made", 5); return 0; }
}
