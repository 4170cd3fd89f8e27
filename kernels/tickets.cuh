// How the blocks of one launch hand partial results to one another without a launch in between: each stores its own and takes a ticket, and who takes
// the last one merges all of them, in their order. So no bit depends on which block that is.
//
// A ticket is a number that is 0 before a launch, and 0 after it: it counts the blocks that have come, and wraps at the last one. Launches that may
// touch memory at the same time must not share tickets; those of one stream never do, as each waits for the one before it.
#pragma once
#include "prelude.cuh"

// Whether this is the last of `blocks` blocks to come here with this ticket. If it is, what all of them stored before is there for its threads to
// read. All threads must call it.
__device__ __forceinline__ bool is_last(unsigned* ticket, unsigned blocks) {
    SHARED(unsigned, last, [1]);
    __syncthreads();
    if (threadIdx.x == 0) {
        // The barriers have the fences of this thread stand for the whole block.
        __threadfence();
        last[0] = atomicInc(ticket, blocks - 1) == blocks - 1;
        __threadfence();
    }
    __syncthreads();
    return last[0];
}
