// Stochastic gradient descent on the flat parameter vector. The learning rate comes from the step state.
#include "descent.cuh"

// θ ← θ − lr (g + λ θ), or with a velocity v ← μ v + g + λ θ and θ ← θ − lr v; and θ rounded to bf16 where there is a place for it.
extern "C" __global__ void __launch_bounds__(256)
sgd_plain(float* theta, const float* grad, bf16* operands_or_null, const u64* state, float decay, unsigned len) {
    wait_for_predecessor();
    Descent by(state, {0.0f, decay});
    Parameters of = {theta, nullptr, operands_or_null};
    for_elements(len, of.fours() && in_fours(grad), [&](u64 i) { by.update<false>(of, i, load4(grad + i)); }, [&](u64 i) { by.update(of, i, grad[i]); });
}
extern "C" __global__ void __launch_bounds__(256)
sgd_momentum(float* theta, const float* grad, float* velocity, bf16* operands_or_null, const u64* state, float momentum, float decay, unsigned len) {
    wait_for_predecessor();
    Descent by(state, {momentum, decay});
    Parameters of = {theta, velocity, operands_or_null};
    for_elements(len, of.fours() && in_fours(grad), [&](u64 i) { by.update<true>(of, i, load4(grad + i)); }, [&](u64 i) { by.update(of, i, grad[i]); });
}

// The same of the parameters in some pieces of the vectors alone, one block each: `pieces` has the first element of each, and how many there are.
extern "C" __global__ void __launch_bounds__(256)
sgd_pieces(float* theta, const float* grad, float* velocity_or_null, bf16* operands_or_null, const u64* state, const unsigned* pieces, Descending descending) {
    wait_for_predecessor();
    Descent by(state, descending);
    Parameters of = {theta, velocity_or_null, operands_or_null};
    unsigned first = pieces[2 * blockIdx.x], len = pieces[2 * blockIdx.x + 1];
    unsigned fours = first % 4 == 0 && of.fours() && in_fours(grad) ? len / 4 : 0;
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < fours; i += blockDim.x) {
        u64 at = first + 4 * i;
        if (velocity_or_null) by.update<true>(of, at, load4(grad + at));
        else by.update<false>(of, at, load4(grad + at));
    }
#pragma unroll 1
    for (unsigned i = first + 4 * fours + threadIdx.x; i < first + len; i += blockDim.x) by.update(of, i, grad[i]);
}

// The next step, unless this one has halted.
extern "C" __global__ void __launch_bounds__(32) advance(u64* state) {
    wait_for_predecessor();
    if (threadIdx.x == 0 && !state_halted(state)) state[1] += 1;
}
