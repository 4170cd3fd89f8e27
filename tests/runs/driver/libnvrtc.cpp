// A compiler's library for tests: whatever text it is given, it makes what the driver's stand-in loads as its kernels: a list of their names.
#include <cstddef>
#include <cstring>
#include <regex>
#include <string>
static std::string made;
extern "C" {
int nvrtcVersion(int *major, int *minor) { *major = 13; *minor = 0; return 0; }
int nvrtcCreateProgram(void **p, const char *text, const char *, int, const char *const *, const char *const *) {
    static const std::regex kernel("__global__ void (?:__\\w+\\([^)]*\\)\\s*)*(\\w+)\\(");
    std::string all(text);
    made = "// made\n.target sm_80\n";
    for (std::sregex_iterator at(all.begin(), all.end(), kernel), end; at != end; ++at) made += ".entry " + (*at)[1].str() + "()\n";
    *p = &made;
    return 0;
}
int nvrtcDestroyProgram(void **) { return 0; }
int nvrtcCompileProgram(void *, int, const char *const *) { return 0; }
int nvrtcGetProgramLogSize(void *, size_t *n) { *n = 1; return 0; }
int nvrtcGetProgramLog(void *, char *log) { *log = 0; return 0; }
int nvrtcGetCUBINSize(void *, size_t *n) { *n = made.size() + 1; return 0; }
int nvrtcGetCUBIN(void *, char *code) { memcpy(code, made.c_str(), made.size() + 1); return 0; }
int nvrtcGetPTXSize(void *, size_t *n) { return nvrtcGetCUBINSize(nullptr, n); }
int nvrtcGetPTX(void *, char *code) { return nvrtcGetCUBIN(nullptr, code); }
}
