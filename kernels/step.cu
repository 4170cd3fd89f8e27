// The bookkeeping of a training step. The device itself stops where a loss is not finite, since the host looks only later.
#include "prelude.cuh"

// halted ← 1 where the loss is not finite.
extern "C" __global__ void __launch_bounds__(32) judge(const double* loss, u64* state) {
    // Not a number less itself is not 0, and neither is infinity.
    if (threadIdx.x == 0 && loss[0] - loss[0] != 0.0) state[3] = 1;
}

// running ← before where the step has halted.
extern "C" __global__ void __launch_bounds__(256) put_back(const float* before, float* running, const u64* state, unsigned len) {
    if (!state_halted(state)) return;
    for (u64 i = global_thread(); i < len; i += global_threads()) running[i] = before[i];
}

// journal[step mod rows] ← (loss, correct).
extern "C" __global__ void __launch_bounds__(32)
note(const double* loss, const double* correct, double* journal, const u64* state, unsigned rows) {
    if (threadIdx.x != 0) return;
    u64 at = 2 * (state_step(state) % rows);
    journal[at] = loss[0];
    journal[at + 1] = correct[0];
}
