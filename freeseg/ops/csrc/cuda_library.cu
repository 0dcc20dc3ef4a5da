// The C functions of the CUDA library: choose number types and vector width, launch.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "cuda_kernels.cuh"

namespace freeseg {

template <>
__device__ __forceinline__ float widen<float, __half>(__half number) {
  return __half2float(number);
}
template <>
__device__ __forceinline__ float widen<float, __nv_bfloat16>(__nv_bfloat16 number) {
  return __bfloat162float(number);
}
template <>
__device__ __forceinline__ __half narrow<__half, float>(float number) {
  return __float2half_rn(number);
}
template <>
__device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16, float>(float number) {
  return __float2bfloat16_rn(number);
}

namespace {

constexpr int kThreads = 256, kVectorBytes = 16;

bool is_aligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % kVectorBytes == 0;
}

template <typename T, typename S, int kVector>
cudaError_t launch(const FreesegProblem& p, bool is_forward, cudaStream_t stream) {
  const int lanes = lanes_for(p.channels, kVector);
  const int64_t items = p.batch * p.queries * p.heads, per_block = kThreads / lanes;
  const int64_t blocks = (items + per_block - 1) / per_block;
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  const unsigned grid = static_cast<unsigned>(blocks);
  if (is_forward) {
    forward_kernel<T, S, kVector><<<grid, kThreads, 0, stream>>>(p, lanes);
  } else {
    backward_kernel<T, S, kVector><<<grid, kThreads, 0, stream>>>(p, lanes);
  }
  return cudaGetLastError();
}

template <typename T, typename S>
cudaError_t launch(const FreesegProblem& p, bool is_forward, cudaStream_t stream) {
  constexpr int kVector = kVectorBytes / sizeof(T);
  const bool is_wide = p.channels % kVector == 0 && is_aligned(p.value) && is_aligned(p.output) &&
                       is_aligned(p.grad_output) && is_aligned(p.grad_value);
  return is_wide ? launch<T, S, kVector>(p, is_forward, stream)
                 : launch<T, S, 1>(p, is_forward, stream);
}

int launch(const FreesegProblem& p, bool is_forward, cudaStream_t stream) {
  switch (p.dtype) {
    case kFloat32: return launch<float, float>(p, is_forward, stream);
    case kFloat64: return launch<double, double>(p, is_forward, stream);
    case kFloat16: return launch<__half, float>(p, is_forward, stream);
    case kBFloat16: return launch<__nv_bfloat16, float>(p, is_forward, stream);
    default: return cudaErrorInvalidValue;
  }
}

}  // namespace
}  // namespace freeseg

extern "C" {

// Both return a cudaError_t, 0 when the kernel was launched.
FREESEG_EXPORT int freeseg_cuda_forward(const FreesegProblem* problem, void* stream) {
  return freeseg::launch(*problem, true, static_cast<cudaStream_t>(stream));
}

FREESEG_EXPORT int freeseg_cuda_backward(const FreesegProblem* problem, void* stream) {
  return freeseg::launch(*problem, false, static_cast<cudaStream_t>(stream));
}

}  // extern "C"
