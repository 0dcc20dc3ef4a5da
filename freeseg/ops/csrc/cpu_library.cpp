// The C functions of the CPU library: choose the instruction set, spread the tasks over threads.

#include "cpu_kernels.h"

#ifndef _OPENMP
#include <atomic>
#include <thread>
#include <vector>
#endif

namespace {

const char* instruction_set() {
#ifdef FREESEG_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return "avx512";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi2")) {
    return "avx2";
  }
#endif
  return "baseline";
}

const freeseg::Kernels* choose(int64_t dtype) {
  if (dtype != kFloat32 && dtype != kFloat64) return nullptr;
#ifdef FREESEG_X86
  static const char first = instruction_set()[3];  // avx5.., avx2, bas..
  if (first == '5') return dtype == kFloat32 ? &freeseg::avx512::kFloat : &freeseg::avx512::kDouble;
  if (first == '2') return dtype == kFloat32 ? &freeseg::avx2::kFloat : &freeseg::avx2::kDouble;
#endif
  return dtype == kFloat32 ? &freeseg::baseline::kFloat : &freeseg::baseline::kDouble;
}

// With OpenMP the threads are PyTorch's own, which has the same runtime loaded.
void run(void (*task)(const FreesegProblem&, int64_t), const FreesegProblem& problem, int64_t count,
         int threads) {
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t i = 0; i < count; ++i) task(problem, i);
#else
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    for (int64_t i = next++; i < count; i = next++) task(problem, i);
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads && i < count; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
#endif
}

}  // namespace

extern "C" {

FREESEG_EXPORT const char* freeseg_cpu_instruction_set() { return instruction_set(); }

// Both return 0, or 1 on a number type that these kernels lack.
FREESEG_EXPORT int freeseg_cpu_forward(const FreesegProblem* problem, int threads) {
  const freeseg::Kernels* kernels = choose(problem->dtype);
  if (kernels) run(kernels->forward, *problem, freeseg::forward_tasks(*problem), threads);
  return kernels ? 0 : 1;
}

FREESEG_EXPORT int freeseg_cpu_backward(const FreesegProblem* problem, int threads) {
  const freeseg::Kernels* kernels = choose(problem->dtype);
  if (kernels) run(kernels->backward, *problem, freeseg::backward_tasks(*problem), threads);
  return kernels ? 0 : 1;
}

}  // extern "C"
