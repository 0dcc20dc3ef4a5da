// Multi-scale deformable attention on a GPU: the kernels, free of any framework.
//
// A group of `lanes` neighbouring threads, a power of two within one warp, serves one item: one
// query of one head of one image. Every thread holds kVector channels at a time, read and written
// at once. Sums over channels are warp shuffles. Sums and coordinates are of type S: double for
// double, float for everything else.
//
// Shapes: B images, S summed pixels of all levels, M heads, D channels per head, Q queries,
// L levels, P points.

#pragma once

#include "problem.h"

namespace freeseg {

template <typename S, typename T>
__device__ __forceinline__ S widen(T number) {
  return static_cast<S>(number);
}
template <typename T, typename S>
__device__ __forceinline__ T narrow(S number) {
  return static_cast<T>(number);
}

template <typename T, int kSize>
struct alignas(sizeof(T) * kSize) Vector {
  T numbers[kSize];
};

template <typename T, int kSize>
__device__ __forceinline__ Vector<T, kSize> read(const T* address) {
  return *reinterpret_cast<const Vector<T, kSize>*>(address);
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
constexpr bool kAddsFour = true;  // four floats in one atomic addition
__device__ __forceinline__ void add_four(float* address, const float* numbers) {
  atomicAdd(reinterpret_cast<float4*>(address),
            make_float4(numbers[0], numbers[1], numbers[2], numbers[3]));
}
#else
constexpr bool kAddsFour = false;
__device__ void add_four(float* address, const float* numbers);
#endif

template <typename S, int kSize>
__device__ __forceinline__ void add(S* address, const S (&numbers)[kSize]) {
  if constexpr (kAddsFour && sizeof(S) == 4 && kSize % 4 == 0) {
#pragma unroll
    for (int i = 0; i < kSize; i += 4) add_four(address + i, numbers + i);
  } else {
#pragma unroll
    for (int i = 0; i < kSize; ++i) atomicAdd(address + i, numbers[i]);
  }
}

// What a thread works on.
struct Item {
  __device__ Item(const FreesegProblem& p, int lanes)
      : lane(threadIdx.x % lanes),
        index(static_cast<int64_t>(blockIdx.x) * (blockDim.x / lanes) + threadIdx.x / lanes),
        exists(index < p.batch * p.queries * p.heads),
        head(index % p.heads),
        image(index / p.heads / p.queries) {}

  __device__ int64_t value(const FreesegProblem& p) const {  // of the head's first channel
    return (image * p.pixels * p.heads + head) * p.channels;
  }

  int lane;
  int64_t index;  // [B, Q, M]
  bool exists;
  int64_t head, image;
};

struct Level {
  __device__ Level(const FreesegProblem& p, int64_t level)
      : height(p.sizes[2 * level]), width(p.sizes[2 * level + 1]), start(p.starts[level]) {
    if (height < 1 || width < 1 || start < 0 || start + height * width > p.pixels) __trap();
  }
  int64_t height, width, start;
};

// The 2 x 2 pixels around a sample. A pixel outside the map has share 0 and the address of its
// neighbour inside.
template <typename S>
struct Corners {
  __device__ Corners(const Level& level, S x_share, S y_share) {
    S x = x_share * level.width - S(0.5), y = y_share * level.height - S(0.5);
    is_hit = x > -1 && x < level.width && y > -1 && y < level.height;  // false for NaN
    x = is_hit ? x : S(0);
    y = is_hit ? y : S(0);
    const S column = floor(x), row = floor(y);
    const int64_t left_column = static_cast<int64_t>(column), up_row = static_cast<int64_t>(row);
    has_left = left_column >= 0;
    has_right = left_column + 1 < level.width;
    has_up = up_row >= 0;
    has_down = up_row + 1 < level.height;
    left = has_left ? 1 - (x - column) : S(0);
    right = has_right ? x - column : S(0);
    up = has_up ? 1 - (y - row) : S(0);
    down = has_down ? y - row : S(0);
    pixel = level.start + (has_up ? up_row : 0) * level.width + (has_left ? left_column : 0);
    to_right = has_left && has_right ? 1 : 0;
    to_down = has_up && has_down ? level.width : 0;
  }

  bool is_hit, has_left, has_right, has_up, has_down;
  S left, right, up, down;
  int64_t pixel, to_right, to_down;
};

template <typename T, typename S, int kVector>
__global__ void __launch_bounds__(256) forward_kernel(const FreesegProblem p, const int lanes) {
  const Item item(p, lanes);
  if (!item.exists) return;
  const T* value = static_cast<const T*>(p.value) + item.value(p);
  const int64_t stride = p.heads * p.channels;  // between pixels
  const int64_t first_sample = item.index * p.levels * p.points;
  const S* locations = static_cast<const S*>(p.locations) + 2 * first_sample;
  const S* weights = static_cast<const S*>(p.weights) + first_sample;
  T* output = static_cast<T*>(p.output) + item.index * p.channels;

  for (int64_t c = item.lane * kVector; c < p.channels; c += lanes * kVector) {
    S sum[kVector] = {};
    for (int64_t l = 0; l < p.levels; ++l) {
      const Level level(p, l);
      for (int64_t i = l * p.points; i < (l + 1) * p.points; ++i) {
        const Vector<S, 2> xy = read<S, 2>(locations + 2 * i);
        const Corners<S> at(level, xy.numbers[0], xy.numbers[1]);
        if (!at.is_hit) continue;
        const T* v = value + at.pixel * stride + c;
        const Vector<T, kVector> v0 = read<T, kVector>(v);
        const Vector<T, kVector> v1 = read<T, kVector>(v + at.to_right * stride);
        const Vector<T, kVector> v2 = read<T, kVector>(v + at.to_down * stride);
        const Vector<T, kVector> v3 = read<T, kVector>(v + (at.to_down + at.to_right) * stride);
        const S up = at.up * weights[i], down = at.down * weights[i];
#pragma unroll
        for (int k = 0; k < kVector; ++k) {
          sum[k] += up * at.left * widen<S>(v0.numbers[k]) + up * at.right * widen<S>(v1.numbers[k]) +
                    down * at.left * widen<S>(v2.numbers[k]) +
                    down * at.right * widen<S>(v3.numbers[k]);
        }
      }
    }
    Vector<T, kVector> result;
#pragma unroll
    for (int k = 0; k < kVector; ++k) result.numbers[k] = narrow<T>(sum[k]);
    *reinterpret_cast<Vector<T, kVector>*>(output + c) = result;
  }
}

// Adds a share of the output's gradient to one pixel's; returns this thread's part of how the loss
// changes with that pixel.
template <typename T, typename S, int kVector>
__device__ __forceinline__ S spread(const T* value, S* grad_value, const S (&grad)[kVector],
                                    S share, bool is_inside) {
  if (!is_inside) return S(0);
  const Vector<T, kVector> v = read<T, kVector>(value);
  S change = 0, part[kVector];
#pragma unroll
  for (int k = 0; k < kVector; ++k) {
    change += grad[k] * widen<S>(v.numbers[k]);
    part[k] = grad[k] * share;
  }
  add<S, kVector>(grad_value, part);
  return change;
}

template <typename T, typename S, int kVector>
__global__ void __launch_bounds__(256, 3) backward_kernel(const FreesegProblem p, const int lanes) {
  const Item item(p, lanes);  // all threads go on to the end: the shuffles need whole warps
  const int64_t index = item.exists ? item.index : 0, first_value = item.exists ? item.value(p) : 0;
  const T* value = static_cast<const T*>(p.value) + first_value;
  S* grad_value = static_cast<S*>(p.grad_value) + first_value;
  const T* grad_output = static_cast<const T*>(p.grad_output) + index * p.channels;
  const int64_t stride = p.heads * p.channels, first_sample = index * p.levels * p.points;
  const S* locations = static_cast<const S*>(p.locations) + 2 * first_sample;
  const S* weights = static_cast<const S*>(p.weights) + first_sample;
  S* grad_locations = static_cast<S*>(p.grad_locations) + 2 * first_sample;
  S* grad_weights = static_cast<S*>(p.grad_weights) + first_sample;

  for (int64_t l = 0; l < p.levels; ++l) {
    const Level level(p, l);
    for (int64_t i = l * p.points; i < (l + 1) * p.points; ++i) {
      const Vector<S, 2> xy = read<S, 2>(locations + 2 * i);
      const Corners<S> at(level, xy.numbers[0], xy.numbers[1]);
      const S weight = weights[i], up = at.up * weight, down = at.down * weight;
      S change[4] = {};
      for (int64_t c = item.lane * kVector; c < p.channels; c += lanes * kVector) {
        if (!item.exists || !at.is_hit) break;
        const Vector<T, kVector> row = read<T, kVector>(grad_output + c);
        S grad[kVector];
#pragma unroll
        for (int k = 0; k < kVector; ++k) grad[k] = widen<S>(row.numbers[k]);
        const int64_t o0 = at.pixel * stride + c, o1 = o0 + at.to_right * stride;
        const int64_t o2 = o0 + at.to_down * stride, o3 = o2 + at.to_right * stride;
        change[0] += spread<T, S, kVector>(value + o0, grad_value + o0, grad, up * at.left,
                                           at.has_up && at.has_left);
        change[1] += spread<T, S, kVector>(value + o1, grad_value + o1, grad, up * at.right,
                                           at.has_up && at.has_right);
        change[2] += spread<T, S, kVector>(value + o2, grad_value + o2, grad, down * at.left,
                                           at.has_down && at.has_left);
        change[3] += spread<T, S, kVector>(value + o3, grad_value + o3, grad, down * at.right,
                                           at.has_down && at.has_right);
      }
      S along_x = weight * level.width *
                  (at.up * (change[1] - change[0]) + at.down * (change[3] - change[2]));
      S along_y = weight * level.height *
                  (at.left * (change[2] - change[0]) + at.right * (change[3] - change[1]));
      S along_weight = at.up * (at.left * change[0] + at.right * change[1]) +
                       at.down * (at.left * change[2] + at.right * change[3]);
      for (int step = lanes / 2; step > 0; step /= 2) {
        along_x += __shfl_xor_sync(0xffffffffu, along_x, step);
        along_y += __shfl_xor_sync(0xffffffffu, along_y, step);
        along_weight += __shfl_xor_sync(0xffffffffu, along_weight, step);
      }
      if (item.exists && item.lane == 0) {
        grad_locations[2 * i] = along_x;
        grad_locations[2 * i + 1] = along_y;
        grad_weights[i] = along_weight;
      }
    }
  }
}

// Threads per item: enough to hold all channels, at most a warp.
inline int lanes_for(int64_t channels, int vector) {
  int lanes = 1;
  while (lanes < 32 && lanes * vector < channels) lanes *= 2;
  return lanes;
}

}  // namespace freeseg
