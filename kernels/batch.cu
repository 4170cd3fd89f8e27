// Gathers a batch of images from the bytes of the whole set: src/ops/gather. Lanes take adjacent samples, which are adjacent in x.
#include "random.cuh"

constexpr unsigned SIDE = 32, PLANE = 1024, IMAGE = 3 * PLANE, PADDING = 4;

// x[pixel, n, channel] = table[channel, byte] of the image at the n-th place of the epoch's order, moved and mirrored where asked; and its label.
// A block takes 32 samples (blockIdx.x) and 128 of their pixels (blockIdx.y); each warp 16 of those.
KERNEL_OF_T(256)
gather(const unsigned char* pixels, const unsigned char* classes, const float* table, const u64* state, T* x, unsigned* labels,
       unsigned images, unsigned batch, unsigned augment) {
    wait_for_predecessor();
    SHARED(unsigned, chosen, [32]);
    SHARED(unsigned, moved, [32]);
    unsigned lane = lane_id(), n = blockIdx.x * 32 + lane;
    // Which image each sample is, and how it is moved, is worked out once a block.
    if (warp_id() == 0 && n < batch) {
        u64 position = state_step(state) * batch + n;
        unsigned epoch = (unsigned)(position / images);
        unsigned image = shuffled(state_seed(state), epoch, (unsigned)(position % images), images);
        unsigned top = PADDING, left = PADDING, flip = 0;
        if (augment) {
            Words words = draw(state_seed(state), AUGMENT, 0, epoch, image, 0);
            top = (unsigned)(((u64)words.w[0] * (2 * PADDING + 1)) >> 32);
            left = (unsigned)(((u64)words.w[1] * (2 * PADDING + 1)) >> 32);
            flip = words.w[2] >> 31;
        }
        chosen[lane] = image;
        moved[lane] = top | left << 8 | flip << 16;
        if (blockIdx.y == 0) labels[n] = classes[image];
    }
    __syncthreads();
    if (n >= batch) return;
    const unsigned char* bytes = pixels + (u64)chosen[lane] * IMAGE;
    unsigned top = moved[lane] & 255u, left = moved[lane] >> 8 & 255u, flip = moved[lane] >> 16;
    for (unsigned i = 0; i < 16; ++i) {
        unsigned place = blockIdx.y * 128 + warp_id() * 16 + i, h = place / SIDE, w = place % SIDE;
        // Unsigned: what lies above or left of the image is far below it.
        unsigned row = h + top - PADDING, column = (flip ? SIDE - 1 - w : w) + left - PADDING;
        bool inside = row < SIDE && column < SIDE;
#pragma unroll
        for (unsigned c = 0; c < 3; ++c) {
            unsigned byte = inside ? bytes[c * PLANE + row * SIDE + column] : 0;
            x[((u64)place * batch + n) * 3 + c] = from_f32<T>(table[c * 256 + byte]);
        }
    }
}
