// Random numbers: Philox4x32-10 and distributions drawn from it, with the same bits as src/runtime/rng.rs.
#pragma once
#include "prelude.cuh"

enum Purpose : unsigned {
    INIT = 1, NOISE_UNIT = 2, NOISE_SAMPLE = 3, ORDER = 4, AUGMENT = 5, DATA = 6, DIRECTION = 7, CASE = 8
};

struct Words {
    unsigned w[4];
};

// Both halves of a product of two words, by one instruction. Where the factors are 64 bits long, the compiler adds the products of their upper halves
// too, which are 0.
#ifdef NORMSCAPE_HOST
__device__ __forceinline__ u64 wide_product(unsigned a, unsigned b) { return (u64)a * b; }
#else
__device__ __forceinline__ u64 wide_product(unsigned a, unsigned b) {
    u64 product;
    asm("mul.wide.u32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
    return product;
}
#endif

__device__ __forceinline__ Words philox(Words c, unsigned key0, unsigned key1) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        u64 p0 = wide_product(0xD2511F53u, c.w[0]), p1 = wide_product(0xCD9E8D57u, c.w[2]);
        Words next = {{(unsigned)(p1 >> 32) ^ c.w[1] ^ key0, (unsigned)p1, (unsigned)(p0 >> 32) ^ c.w[3] ^ key1, (unsigned)p0}};
        c = next;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return c;
}

// The four words at (seed, purpose, layer, step, i, j).
__device__ __forceinline__ Words draw(u64 seed, Purpose purpose, unsigned layer, unsigned step, unsigned i, unsigned j) {
    Words counter = {{i, j, step, ((unsigned)purpose << 24) | (layer & 0x00FFFFFFu)}};
    return philox(counter, (unsigned)seed, (unsigned)(seed >> 32));
}

// Uniform in [0, 1): the upper 24 bits, exact.
__device__ __forceinline__ float uniform(unsigned word) { return (float)(word >> 8) * (1.0f / 16777216.0f); }
// Uniform in [lo, lo + width), one rounding.
__device__ __forceinline__ float uniform_in(unsigned word, float lo, float width) { return fmaf(uniform(word), width, lo); }

__device__ __forceinline__ float polynomial_ln(float t) {
    unsigned shifted = __float_as_uint(t) - 0x3F3504F3u;
    int exponent = (int)shifted >> 23;
    float f = __uint_as_float((shifted & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
    float p = 0.087222435f;
    p = fmaf(p, f, -0.14366788f);
    p = fmaf(p, f, 0.14952283f);
    p = fmaf(p, f, -0.16562402f);
    p = fmaf(p, f, 0.19956833f);
    p = fmaf(p, f, -0.25002074f);
    p = fmaf(p, f, 0.33334187f);
    p = fmaf(p, f, -0.49999988f);
    p = fmaf(p, f, 1.0f);
    return fmaf((float)exponent, 0.693147182f, p * f);
}

// A standard normal number by the inverse distribution function; see rng.rs for the polynomials.
__device__ __forceinline__ float normal(unsigned word) {
    float a = (float)((word << 1) | 1u) * (1.0f / 4294967296.0f);
    float w = -polynomial_ln(a * (2.0f - a));
    float x = w - 2.5f;
    float centre = 4.0354287e-8f;
    centre = fmaf(centre, x, 4.861035e-7f);
    centre = fmaf(centre, x, -4.990561e-6f);
    centre = fmaf(centre, x, -6.217988e-6f);
    centre = fmaf(centre, x, 3.091502e-4f);
    centre = fmaf(centre, x, -1.7730101e-3f);
    centre = fmaf(centre, x, -5.908171e-3f);
    centre = fmaf(centre, x, 0.34880266f);
    centre = fmaf(centre, x, 2.1233137f);
    float z = centre;
    // One number in 300: a warp's lanes seldom come here.
    if (w >= 5.0f) {
        float y = sqrtf(w) - 3.473878f;
        float tail = -2.3952972e-4f;
        tail = fmaf(tail, y, 8.4230845e-4f);
        tail = fmaf(tail, y, -1.2252075e-3f);
        tail = fmaf(tail, y, 1.5633003e-3f);
        tail = fmaf(tail, y, -3.0051582e-3f);
        tail = fmaf(tail, y, 4.8986636e-3f);
        tail = fmaf(tail, y, 1.4243764f);
        tail = fmaf(tail, y, 4.6798763f);
        z = tail;
    }
    z *= 1.0f - a;
    return __uint_as_float(__float_as_uint(z) ^ (word & 0x80000000u));
}

// The image at `position` of epoch `epoch`'s order of n images: a Feistel network, walked until it lands inside.
__device__ inline unsigned shuffled(u64 seed, unsigned epoch, unsigned position, unsigned n) {
    unsigned bits = 32u - (n > 1u ? (unsigned)__clz((int)(n - 1u)) : 32u);
    unsigned half_bits = (bits + 1u) / 2u > 1u ? (bits + 1u) / 2u : 1u;
    unsigned mask = (1u << half_bits) - 1u;
    u64 v = position;
    do {
        unsigned left = (unsigned)(v >> half_bits) & mask, right = (unsigned)v & mask;
        for (unsigned round = 0; round < 7; ++round) {
            unsigned f = draw(seed, ORDER, round, epoch, right, 0).w[0];
            unsigned next = left ^ (f & mask);
            left = right;
            right = next;
        }
        v = ((u64)left << half_bits) | right;
    } while (v >= n);
    return (unsigned)v;
}
