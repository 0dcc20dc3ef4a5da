// The CPU kernels as tables of functions, one table per instruction set and number type.

#pragma once

#include "problem.h"

namespace freeseg {

// Both kernels are cut into tasks that write disjoint memory, each in a fixed order: the result has
// the same bits on any number of threads, and needs no atomics.
struct Kernels {
  void (*forward)(const FreesegProblem&, int64_t task);   // (image, head, block of queries)
  void (*backward)(const FreesegProblem&, int64_t task);  // (image, head, level)
};

constexpr int64_t kQueryBlock = 128;

inline int64_t query_blocks(const FreesegProblem& p) {
  return (p.queries + kQueryBlock - 1) / kQueryBlock;
}
inline int64_t forward_tasks(const FreesegProblem& p) { return p.batch * p.heads * query_blocks(p); }
inline int64_t backward_tasks(const FreesegProblem& p) { return p.batch * p.heads * p.levels; }

namespace baseline {
extern const Kernels kFloat, kDouble;
}
#ifdef FREESEG_X86
namespace avx2 {
extern const Kernels kFloat, kDouble;
}
namespace avx512 {
extern const Kernels kFloat, kDouble;
}
#endif

}  // namespace freeseg
