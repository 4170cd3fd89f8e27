// Inline PTX for the products: asynchronous copies to shared memory (cp.async), ldmatrix and mma.sync. Each wrapper has a version for the host.
#pragma once
#include "prelude.cuh"

// ---- places in shared memory --------------------------------------------------------------------------------------------------------

// An address in shared memory, to which numbers of bytes are added: of 32 bits on a device, where a generic one has 64.
#ifdef NORMSCAPE_HOST
typedef unsigned char* Shared;
__device__ __forceinline__ Shared shared_place(void* p) { return (Shared)p; }
__device__ __forceinline__ unsigned load_word(Shared from) { return *(const unsigned*)from; }
__device__ __forceinline__ void load_words(unsigned& first, unsigned& second, Shared from) {
    first = load_word(from);
    second = load_word(from + 4);
}
__device__ __forceinline__ void load_words(unsigned (&words)[4], Shared from) {
    Four four = *(const Four*)from;
    for (unsigned i = 0; i < 4; ++i) words[i] = __float_as_uint(four.v[i]);
}
#else
typedef unsigned Shared;
__device__ __forceinline__ Shared shared_place(void* p) { return (unsigned)__cvta_generic_to_shared(p); }
__device__ __forceinline__ unsigned load_word(Shared from) {
    unsigned word;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(from) : "memory");
    return word;
}
// Two words, aligned to 8 bytes.
__device__ __forceinline__ void load_words(unsigned& first, unsigned& second, Shared from) {
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(first), "=r"(second) : "r"(from) : "memory");
}
// Four words, aligned to 16 bytes.
__device__ __forceinline__ void load_words(unsigned (&words)[4], Shared from) {
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(from) : "memory");
}
#endif

// ---- asynchronous copies to shared memory: cp.async ------------------------------------------------------------------------------

#ifdef NORMSCAPE_HOST
// The emulator makes the copy when a wait asks for it: reading too early finds what was there before.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid) {
    emu_copy_async(shared, global, 16, valid ? 16 : 0);
}
__device__ __forceinline__ void cp_async_16(Shared to, const void* global) { emu_copy_async(to, global, 16, 16); }
__device__ __forceinline__ void cp_async_commit() { emu_copy_commit(); }
template <int LEFT> __device__ __forceinline__ void cp_async_wait() { emu_copy_wait(LEFT); }
#else
// 16 bytes from global to shared memory, both aligned to 16; zeros where not valid (global must be an address all the same).
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid) {
    unsigned to = (unsigned)__cvta_generic_to_shared(shared), bytes = valid ? 16u : 0u;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
}
// The same where all 16 bytes are valid.
__device__ __forceinline__ void cp_async_16(Shared to, const void* global) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
}
// Closes a group of copies.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most LEFT of this thread's groups are under way; a barrier must follow before others' copies are read.
template <int LEFT> __device__ __forceinline__ void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory"); }
#endif

// ---- tensor cores: ldmatrix and mma.sync; all 32 lanes call together ---------------------------------------------------------------
//
// With g = lane / 4 and t = lane % 4, lane holds
//   mma_bf16 (16×8×16): a[0..3] = rows (g, g+8, g, g+8) × columns (2t, 2t, 2t+8, 2t+8) and the next, packed;
//                       b[0..1] = column g × rows (2t, 2t+8) and the next, packed;
//   mma_tf32 (16×8×8):  a[0..3] = rows (g, g+8, g, g+8) × columns (t, t, t+4, t+4); b[0..1] = column g × rows (t, t+4);
//   both:               d[0..3] = rows (g, g, g+8, g+8) × columns (2t, 2t+1, 2t, 2t+1), updated.

#ifdef NORMSCAPE_HOST
__device__ EMU_REGISTERS inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    EMU_WITHIN(EMU_MMA, 1);
    u64 mine[3] = {a[0] | (u64)a[1] << 32, a[2] | (u64)a[3] << 32, b[0] | (u64)b[1] << 32};
    u64 all[96];
    emu_exchange_into(all, 0xffffffffu, mine, 3);
    unsigned g = lane_id() / 4, t = lane_id() % 4;
    for (unsigned i = 0; i < 4; ++i) {
        unsigned row = i / 2, column = 2 * t + i % 2;
        for (unsigned k = 0; k < 16; ++k) {
            // Lane that holds (row, k) of a, and (k, column) of b; word and half within.
            unsigned from_a = 4 * g + k % 8 / 2, from_b = 4 * column + k % 8 / 2;
            unsigned word_a = (unsigned)(all[3 * from_a + k / 8] >> (32 * row));
            unsigned word_b = (unsigned)(all[3 * from_b + 2] >> (32 * (k / 8)));
            float x = __uint_as_float(k % 2 ? word_a & 0xffff0000u : word_a << 16);
            float y = __uint_as_float(k % 2 ? word_b & 0xffff0000u : word_b << 16);
            d[i] = fmaf(x, y, d[i]);
        }
    }
}
__device__ EMU_REGISTERS inline void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    EMU_WITHIN(EMU_MMA, 1);
    u64 mine[3] = {a[0] | (u64)a[1] << 32, a[2] | (u64)a[3] << 32, b[0] | (u64)b[1] << 32};
    u64 all[96];
    emu_exchange_into(all, 0xffffffffu, mine, 3);
    unsigned g = lane_id() / 4, t = lane_id() % 4;
    for (unsigned i = 0; i < 4; ++i) {
        unsigned row = i / 2, column = 2 * t + i % 2;
        for (unsigned k = 0; k < 8; ++k) {
            unsigned from_a = 4 * g + k % 4, from_b = 4 * column + k % 4;
            float x = __uint_as_float((unsigned)(all[3 * from_a + k / 4] >> (32 * row)) & 0xffffe000u);
            float y = __uint_as_float((unsigned)(all[3 * from_b + 2] >> (32 * (k / 4))) & 0xffffe000u);
            d[i] = fmaf(x, y, d[i]);
        }
    }
}
// Four 8×8 matrices of 16-bit elements: lane 8i + j gives the address of row j of matrix i, 16 bytes, aligned to 16; lane
// gets in r[i] the elements (g, 2t) and (g, 2t + 1) of matrix i; with trans of its transpose.
__device__ inline void ldmatrix_x4(unsigned (&r)[4], const void* row) {
    emu_need_aligned(row, 16);
    EMU_WITHIN(EMU_LDMATRIX, (u64)row);
    u64 mine = (u64)row;
    u64 rows[32];
    emu_exchange_into(rows, 0xffffffffu, &mine, 1);
    for (unsigned i = 0; i < 4; ++i) r[i] = ((const unsigned*)rows[8 * i + lane_id() / 4])[lane_id() % 4];
}
__device__ inline void ldmatrix_x4_trans(unsigned (&r)[4], const void* row) {
    emu_need_aligned(row, 16);
    EMU_WITHIN(EMU_LDMATRIX, (u64)row);
    u64 mine = (u64)row;
    u64 rows[32];
    emu_exchange_into(rows, 0xffffffffu, &mine, 1);
    for (unsigned i = 0; i < 4; ++i) {
        unsigned j = 8 * i + 2 * (lane_id() % 4), column = lane_id() / 4;
        r[i] = ((const unsigned short*)rows[j])[column] | (unsigned)((const unsigned short*)rows[j + 1])[column] << 16;
    }
}
#else
__device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* row) {
    unsigned from = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], const void* row) {
    unsigned from = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], Shared row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], Shared row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}
#endif

// The product of operands that are stored as T.
__device__ __forceinline__ void multiply(bf16, float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { mma_bf16(d, a, b); }
__device__ __forceinline__ void multiply(float, float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { mma_tf32(d, a, b); }

// Fragments of a 16 × 16 block (of 16 × 8 of tf32) of the left operand that lies as [row][inner]: first element at p, rows `pitch` apart.
__device__ __forceinline__ void left_fragment(unsigned (&r)[4], const bf16* p, unsigned pitch) {
    unsigned lane = lane_id(), matrix = lane / 8;
    ldmatrix_x4(r, p + (lane % 8 + matrix % 2 * 8) * pitch + matrix / 2 * 8);
}
__device__ __forceinline__ void left_fragment(unsigned (&r)[4], const float* p, unsigned pitch) {
    unsigned g = lane_id() / 4, t = lane_id() % 4;
    r[0] = to_tf32(p[g * pitch + t]);
    r[1] = to_tf32(p[(g + 8) * pitch + t]);
    r[2] = to_tf32(p[g * pitch + t + 4]);
    r[3] = to_tf32(p[(g + 8) * pitch + t + 4]);
}
// The same of one that lies as [inner][row].
__device__ __forceinline__ void left_fragment_across(unsigned (&r)[4], const bf16* p, unsigned pitch) {
    unsigned lane = lane_id(), matrix = lane / 8;
    ldmatrix_x4_trans(r, p + (lane % 8 + matrix / 2 * 8) * pitch + matrix % 2 * 8);
}
__device__ __forceinline__ void left_fragment_across(unsigned (&r)[4], const float* p, unsigned pitch) {
    unsigned g = lane_id() / 4, t = lane_id() % 4;
    r[0] = to_tf32(p[t * pitch + g]);
    r[1] = to_tf32(p[t * pitch + g + 8]);
    r[2] = to_tf32(p[(t + 4) * pitch + g]);
    r[3] = to_tf32(p[(t + 4) * pitch + g + 8]);
}
// Fragments of two neighbouring blocks, 8 columns each, of the right operand that lies as [inner][column].
__device__ __forceinline__ void right_fragments(unsigned (&b0)[2], unsigned (&b1)[2], const bf16* p, unsigned pitch) {
    unsigned lane = lane_id(), matrix = lane / 8, r[4];
    ldmatrix_x4_trans(r, p + (lane % 8 + matrix % 2 * 8) * pitch + matrix / 2 * 8);
    b0[0] = r[0], b0[1] = r[1], b1[0] = r[2], b1[1] = r[3];
}
__device__ __forceinline__ void right_fragments(unsigned (&b0)[2], unsigned (&b1)[2], const float* p, unsigned pitch) {
    unsigned g = lane_id() / 4, t = lane_id() % 4;
    b0[0] = to_tf32(p[t * pitch + g]), b0[1] = to_tf32(p[(t + 4) * pitch + g]);
    b1[0] = to_tf32(p[t * pitch + g + 8]), b1[1] = to_tf32(p[(t + 4) * pitch + g + 8]);
}
// The same of one that lies as [column][inner].
__device__ __forceinline__ void right_fragments_across(unsigned (&b0)[2], unsigned (&b1)[2], const bf16* p, unsigned pitch) {
    unsigned lane = lane_id(), matrix = lane / 8, r[4];
    ldmatrix_x4(r, p + (lane % 8 + matrix / 2 * 8) * pitch + matrix % 2 * 8);
    b0[0] = r[0], b0[1] = r[1], b1[0] = r[2], b1[1] = r[3];
}
__device__ __forceinline__ void right_fragments_across(unsigned (&b0)[2], unsigned (&b1)[2], const float* p, unsigned pitch) {
    unsigned g = lane_id() / 4, t = lane_id() % 4;
    b0[0] = to_tf32(p[g * pitch + t]), b0[1] = to_tf32(p[g * pitch + t + 4]);
    b1[0] = to_tf32(p[(g + 8) * pitch + t]), b1[1] = to_tf32(p[(g + 8) * pitch + t + 4]);
}
