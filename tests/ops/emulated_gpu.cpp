// Runs the CUDA kernels on a CPU, for their arithmetic and indexing: every thread of a warp is a
// coroutine, and a shuffle lets all 32 come to the same line before any goes on.
//
// Built by test_cuda.py: g++ -shared, called like the CUDA library.

#include <ucontext.h>

#include <cmath>
#include <cstdlib>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct Index {
  int x;
};
static Index threadIdx, blockIdx, blockDim;

[[noreturn]] static void __trap() { abort(); }

template <typename S>
static void atomicAdd(S* address, S number) {
  *address += number;
}

namespace warp {

constexpr int kThreads = 32, kStack = 1 << 16;
static ucontext_t scheduler, threads[kThreads];
static double slots[2][kThreads];  // written at even and at odd shuffles
static int turn[kThreads], first_thread, running;
static bool is_done[kThreads];
static void (*body)();

static void start() {
  body();
  is_done[running] = true;
  swapcontext(&threads[running], &scheduler);
}

// Runs the body as threads first .. first + 31 of the block.
static void run(int first, void (*function)()) {
  static std::vector<char> stacks(kThreads * kStack);
  body = function;
  first_thread = first;
  for (int i = 0; i < kThreads; ++i) {
    getcontext(&threads[i]);
    threads[i].uc_stack.ss_sp = stacks.data() + i * kStack;
    threads[i].uc_stack.ss_size = kStack;
    threads[i].uc_link = &scheduler;
    makecontext(&threads[i], start, 0);
    turn[i] = 0;
    is_done[i] = false;
  }
  for (int left = kThreads; left > 0;) {
    left = 0;
    for (running = 0; running < kThreads; ++running) {
      if (is_done[running]) continue;
      threadIdx.x = first_thread + running;
      swapcontext(&scheduler, &threads[running]);
      left += is_done[running] ? 0 : 1;
    }
  }
}

}  // namespace warp

template <typename S>
static S __shfl_xor_sync(unsigned, S number, int step) {
  const int me = warp::running, now = warp::turn[me]++ % 2;
  warp::slots[now][me] = number;
  swapcontext(&warp::threads[me], &warp::scheduler);  // until all others have written
  return static_cast<S>(warp::slots[now][me ^ step]);
}

#include "cuda_kernels.cuh"

namespace {

FreesegProblem problem;
int lanes;

template <typename S, int kVector, bool kForward>
void body() {
  if constexpr (kForward) {
    freeseg::forward_kernel<S, S, kVector>(problem, lanes);
  } else {
    freeseg::backward_kernel<S, S, kVector>(problem, lanes);
  }
}

template <typename S, int kVector, bool kForward>
void launch() {
  lanes = freeseg::lanes_for(problem.channels, kVector);
  blockDim.x = 64;
  const int64_t items = problem.batch * problem.queries * problem.heads, per_block = 64 / lanes;
  for (blockIdx.x = 0; blockIdx.x < (items + per_block - 1) / per_block; ++blockIdx.x) {
    for (int first = 0; first < 64; first += 32) warp::run(first, body<S, kVector, kForward>);
  }
}

template <typename S, bool kForward>
void launch() {
  constexpr int kVector = 16 / sizeof(S);
  problem.channels % kVector ? launch<S, 1, kForward>() : launch<S, kVector, kForward>();
}

template <bool kForward>
int launch(const FreesegProblem* wanted) {
  problem = *wanted;
  problem.dtype == kFloat64 ? launch<double, kForward>() : launch<float, kForward>();
  return 0;
}

}  // namespace

extern "C" {
FREESEG_EXPORT int freeseg_cuda_forward(const FreesegProblem* p, void*) { return launch<true>(p); }
FREESEG_EXPORT int freeseg_cuda_backward(const FreesegProblem* p, void*) { return launch<false>(p); }
}
