// The bookkeeping of a training step. The device itself stops where a loss is not finite, since the host looks only later.
#include "prelude.cuh"

// halted ← 1 where the loss is not finite.
extern "C" __global__ void __launch_bounds__(32) judge(const double* loss, u64* state) {
    wait_for_predecessor();
    // Not a number less itself is not 0, and neither is infinity.
    if (threadIdx.x == 0 && loss[0] - loss[0] != 0.0) state[3] = 1;
}

// The end of a step. journal[step mod rows] ← (loss, correct); where the step is not the last of its run, the next one, or, where it has halted,
// running ← before. One block: there is hardly ever anything to put back.
extern "C" __global__ void __launch_bounds__(256)
settle(const double* loss, const double* correct, double* journal, const float* before_or_null, float* running_or_null, u64* state, unsigned rows,
       unsigned len, unsigned last) {
    wait_for_predecessor();
    bool halted = state_halted(state);
    if (halted && !last)
        for (unsigned i = threadIdx.x; i < len; i += blockDim.x) running_or_null[i] = before_or_null[i];
    if (threadIdx.x != 0) return;
    u64 step = state_step(state), at = 2 * (step % rows);
    journal[at] = loss[0];
    journal[at + 1] = correct[0];
    if (!halted && !last) state[1] = step + 1;
}
