// The functions that g++ -fsanitize=thread calls before every access to memory: the emulator's eyes. Not instrumented itself.
#include "host.h"

extern "C" {
__thread Thread* emu_current __attribute__((tls_model("initial-exec"))) = 0;

// Where the emulator sets the running thread: one place for each thread of the operating system.
Thread** emu_slot() { return &emu_current; }

// Where in the kernel the hook was called: the instruction, for builds that count.
#ifdef NORMSCAPE_COUNTS
#define SITE __builtin_return_address(0)
#else
#define SITE 0
#endif

// No single access of a GPU is wider than `widest`.
static inline void look(const void* address, unsigned bytes, int written, unsigned widest, const void* site) {
    Thread* thread = emu_current;
    // A thread's own stack is its own.
    if ((emu_u64)((const unsigned char*)address - thread->stack) < thread->stack_bytes) return;
    thread->calls->access(thread, address, bytes, written);
#ifdef NORMSCAPE_COUNTS
    thread->calls->count(thread, address, bytes, written, widest, site);
#endif
}

// An access is called unaligned where its type's alignment is below its size, of 16 bytes below 8: a GPU takes it in parts.
#define HOOKS(n)                                                                                                          \
    void __tsan_read##n(void* p) { look(p, n, 0, n, SITE); }                                                              \
    void __tsan_write##n(void* p) { look(p, n, 1, n, SITE); }                                                             \
    void __tsan_unaligned_read##n(void* p) { look(p, n, 0, n > 4 ? 4 : n > 1 ? n / 2 : 1, SITE); }                        \
    void __tsan_unaligned_write##n(void* p) { look(p, n, 1, n > 4 ? 4 : n > 1 ? n / 2 : 1, SITE); }                       \
    void __tsan_volatile_read##n(void* p) { look(p, n, 0, n, SITE); }                                                     \
    void __tsan_volatile_write##n(void* p) { look(p, n, 1, n, SITE); }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void* p, unsigned long bytes) { look(p, (unsigned)bytes, 0, 16, SITE); }
void __tsan_write_range(void* p, unsigned long bytes) { look(p, (unsigned)bytes, 1, 16, SITE); }
// A copy that the compiler makes itself is two accesses.
void* __tsan_memcpy(void* to, const void* from, unsigned long bytes) {
    look(from, (unsigned)bytes, 0, 16, SITE);
    look(to, (unsigned)bytes, 1, 16, SITE);
    return memcpy(to, from, bytes);
}
void* __tsan_memset(void* to, int value, unsigned long bytes) {
    look(to, (unsigned)bytes, 1, 16, SITE);
    return memset(to, value, bytes);
}
#ifdef NORMSCAPE_COUNTS
// An asynchronous copy as its two accesses. What is not valid is written, as zeros, and not read.
void emu_count_copy(const void* to, const void* from, unsigned bytes, unsigned valid) {
    Thread* thread = emu_current;
    if (valid > 0) thread->calls->count(thread, from, valid, 2, bytes, SITE);
    thread->calls->count(thread, to, bytes, 3, bytes, SITE);
}
#endif
#ifdef NORMSCAPE_ALIGNED
// What -fsanitize=alignment calls where an address is not a multiple of its type's alignment: a host passes over it, a GPU does not.
struct Mismatch {
    const char* file;
    unsigned line, column;
    const void* type;
    unsigned char log_alignment, kind;
};
void __ubsan_handle_type_mismatch_v1(const Mismatch* at, const void* address) {
    Thread* thread = emu_current;
    thread->calls->misaligned(thread, address, 1u << at->log_alignment, at->file, at->line);
}
#endif
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}
