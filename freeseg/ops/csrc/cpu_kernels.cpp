// Multi-scale deformable attention on a CPU: the kernels.
//
// Compiled once per instruction set; FREESEG_ISA is its namespace. All but the two tables at the
// end has internal linkage, and nothing of the standard library is instantiated: a linker must not
// merge code of different instruction sets.
//
// Per run of samples: where they fall, vectorised over samples; then the reading, vectorised over
// channels; then what is left of the gradients, over samples again.

#include "cpu_kernels.h"

#include <utility>

namespace freeseg {
namespace FREESEG_ISA {
namespace {

constexpr int kAhead = 8;  // queries; their numbers lie far apart, which hardware does not foresee
constexpr int kRun = 256;  // samples located at once; their numbers stay in the first-level cache

// The pointers of a problem with their type.
template <typename T>
struct Typed {
  explicit Typed(const FreesegProblem& p)
      : shape(p),
        value(static_cast<const T*>(p.value)),
        locations(static_cast<const T*>(p.locations)),
        weights(static_cast<const T*>(p.weights)),
        output(static_cast<T*>(p.output)),
        grad_output(static_cast<const T*>(p.grad_output)),
        grad_value(static_cast<T*>(p.grad_value)),
        grad_locations(static_cast<T*>(p.grad_locations)),
        grad_weights(static_cast<T*>(p.grad_weights)) {}

  const FreesegProblem& shape;
  const T* value;
  const T* locations;
  const T* weights;
  T* output;
  const T* grad_output;
  T* grad_value;
  T* grad_locations;
  T* grad_weights;
};

// One level of one head of one image: where its parts of the arrays begin.
struct Part {
  const FreesegProblem& shape;
  int64_t image, head, level;

  int64_t height() const { return shape.sizes[2 * level]; }
  int64_t width() const { return shape.sizes[2 * level + 1]; }
  int64_t row(int64_t query) const {
    return ((image * shape.queries + query) * shape.heads + head) * shape.channels;
  }
  int64_t samples(int64_t query) const {
    return (((image * shape.queries + query) * shape.heads + head) * shape.levels + level) *
           shape.points;
  }
  int64_t map() const {
    return ((image * shape.heads + head) * shape.pixels + shape.starts[level]) * shape.channels;
  }
};

// Vectors as long as the machine's, since a compiler keeps longer ones in memory.
#if defined(FREESEG_VECTOR_BYTES)
constexpr int kVectorBytes = FREESEG_VECTOR_BYTES;
#elif defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
template <typename T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <typename T>
struct Vector {
  typedef T Type __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
  typedef int32_t Ints __attribute__((vector_size(4 * kLanes<T>), aligned(4), may_alias));
};
template <typename T>
using Vec = typename Vector<T>::Type;
template <typename T>
using VecOfInts = typename Vector<T>::Ints;  // as many

template <typename T>
inline Vec<T>& vec(T* address) {
  return *reinterpret_cast<Vec<T>*>(address);
}
template <typename T>
inline const Vec<T>& vec(const T* address) {
  return *reinterpret_cast<const Vec<T>*>(address);
}
template <typename T>
inline VecOfInts<T>& ints(int32_t* address) {
  return *reinterpret_cast<VecOfInts<T>*>(address);
}

template <int... kLane>
using Lanes = std::integer_sequence<int, kLane...>;
template <typename T>
using AllLanes = std::make_integer_sequence<int, kLanes<T>>;

// Every second number of two vectors in a row, from number kFirst on.
template <int kFirst, typename T, int... kLane>
inline Vec<T> every_second(const Vec<T>& low, const Vec<T>& high, Lanes<kLane...>) {
  return __builtin_shufflevector(low, high, (2 * kLane + kFirst)...);
}

// Which number of two vectors in a row, made of segments, is number `lane` of the first halves of
// all their segments.
constexpr int in_first_half(int lane, int segment) {
  return lane / (segment / 2) * segment + lane % (segment / 2);
}

// The first halves of all segments of two vectors plus the second halves.
template <int kSegment, typename T, int... kLane>
inline Vec<T> fold(const Vec<T>& a, const Vec<T>& b, Lanes<kLane...>) {
  return __builtin_shufflevector(a, b, in_first_half(kLane, kSegment)...) +
         __builtin_shufflevector(a, b, (in_first_half(kLane, kSegment) + kSegment / 2)...);
}

// The sums of four vectors, together in fewer steps than one by one.
template <typename T>
inline void sum_four(const Vec<T>& a, const Vec<T>& b, const Vec<T>& c, const Vec<T>& d, T* sums) {
  constexpr int kNumbers = kLanes<T>;
  const AllLanes<T> lanes;
  const Vec<T> ab = fold<kNumbers, T>(a, b, lanes), cd = fold<kNumbers, T>(c, d, lanes);
  if constexpr (kNumbers == 2) {
    sums[0] = ab[0], sums[1] = ab[1], sums[2] = cd[0], sums[3] = cd[1];
  } else {
    Vec<T> all = fold<kNumbers / 2, T>(ab, cd, lanes);  // a quarter of the numbers for each
    if constexpr (kNumbers == 16) all = fold<4, T>(all, all, lanes);
    if constexpr (kNumbers >= 8) all = fold<2, T>(all, all, lanes);
    for (int k = 0; k < 4; ++k) sums[k] = all[k];
  }
}

template <typename T>
inline Vec<T> round_down(const Vec<T>& numbers) {
  const Vec<T> zero = {}, one = zero + 1;
  const Vec<T> towards_0 =
      __builtin_convertvector(__builtin_convertvector(numbers, VecOfInts<T>), Vec<T>);
  return towards_0 - (numbers < towards_0 ? one : zero);
}

// Samples that follow each other, over points first, then queries; the first is `point` of `query`.
//
// Of the 2 x 2 pixels around a sample, one outside the map has share 0, has 0, and the address of
// its neighbour inside.
template <typename T>
struct Run {
  int64_t query, point;
  int count;
  T xy[2 * kRun], weight[kRun];
  int32_t pixel[kRun];  // of the upper left; -1: the sample sees nothing of the map
  int32_t right[kRun];  // pixels to the right column, 0 or 1
  int32_t down[kRun];   // pixels to the lower row, 0 or the width
  T share[4][kRun];     // of the weight: upper left, upper right, lower left, lower right
  // For gradients only.
  T left_share[kRun], right_share[kRun], up_share[kRun], down_share[kRun];
  T has_left[kRun], has_right[kRun], has_up[kRun], has_down[kRun];
};

// Where the samples fall, on a map of height x width pixels.
template <typename T, bool kGradients>
void locate(Run<T>& run, int64_t height, int64_t width) {
  typedef VecOfInts<T> Ints;
  constexpr AllLanes<T> kAll;
  const Vec<T> zero = {}, one = zero + 1;
  const T rows = static_cast<T>(height), columns = static_cast<T>(width);
  for (int i = 0; i < run.count; i += kLanes<T>) {  // numbers after the last are not used
    const Vec<T> low = vec(run.xy + 2 * i), high = vec(run.xy + 2 * i + kLanes<T>);
    const Vec<T> x = every_second<0, T>(low, high, kAll) * columns - T(0.5);
    const Vec<T> y = every_second<1, T>(low, high, kAll) * rows - T(0.5);
    const auto is_hit = (x > -one) & (x < columns) & (y > -one) & (y < rows);  // false for NaN
    const Vec<T> column = is_hit ? x : zero, row = is_hit ? y : zero;
    const Vec<T> left = round_down<T>(column), up = round_down<T>(row);
    const Vec<T> has_left = left >= zero ? one : zero, has_right = left + 1 < columns ? one : zero;
    const Vec<T> has_up = up >= zero ? one : zero, has_down = up + 1 < rows ? one : zero;
    const Vec<T> left_share = (1 - (column - left)) * has_left, right_share = (column - left) * has_right;
    const Vec<T> up_share = (1 - (row - up)) * has_up, down_share = (row - up) * has_down;
    const Vec<T> weight = vec(run.weight + i);
    vec(run.share[0] + i) = weight * up_share * left_share;
    vec(run.share[1] + i) = weight * up_share * right_share;
    vec(run.share[2] + i) = weight * down_share * left_share;
    vec(run.share[3] + i) = weight * down_share * right_share;
    const Ints first_column = __builtin_convertvector(left * has_left, Ints);
    const Ints first_row = __builtin_convertvector(up * has_up, Ints);
    const Ints pixel = first_row * static_cast<int32_t>(width) + first_column;
    ints<T>(run.pixel + i) = pixel | ~__builtin_convertvector(is_hit, Ints);  // -1 where there is no hit
    ints<T>(run.right + i) = __builtin_convertvector(has_left * has_right, Ints);
    ints<T>(run.down + i) = __builtin_convertvector(has_up * has_down, Ints) * static_cast<int32_t>(width);
    if (kGradients) {
      vec(run.left_share + i) = left_share, vec(run.right_share + i) = right_share;
      vec(run.up_share + i) = up_share, vec(run.down_share + i) = down_share;
      vec(run.has_left + i) = has_left, vec(run.has_right + i) = has_right;
      vec(run.has_up + i) = has_up, vec(run.has_down + i) = has_down;
    }
  }
}

// Copies what the caller stores scattered; the usual number of points in one go.
template <typename T>
inline void gather(const Typed<T>& arrays, int64_t from, int taken, int64_t ahead, Run<T>& run) {
  const T* xy = arrays.locations + 2 * from;
  const T* weight = arrays.weights + from;
  __builtin_prefetch(xy + 2 * ahead);
  __builtin_prefetch(weight + ahead);
  if (taken == 4) {
    __builtin_memcpy(run.xy + 2 * run.count, xy, 8 * sizeof(T));
    __builtin_memcpy(run.weight + run.count, weight, 4 * sizeof(T));
  } else {
    __builtin_memcpy(run.xy + 2 * run.count, xy, 2 * taken * sizeof(T));
    __builtin_memcpy(run.weight + run.count, weight, taken * sizeof(T));
  }
  run.count += taken;
}

// Calls visit(run) for the samples of queries [first, last), in order.
template <bool kGradients, typename T, typename Visit>
inline void for_each_run(const Typed<T>& arrays, const Part& part, int64_t first, int64_t last,
                         const Visit& visit) {
  const int64_t points = part.shape.points;
  const int64_t ahead = part.samples(kAhead) - part.samples(0);
  Run<T> run;
  int64_t query = first, point = 0;
  while (query < last) {
    run.query = query;
    run.point = point;
    run.count = 0;
    while (run.count < kRun && query < last) {
      const int64_t room = kRun - run.count, left = points - point;
      const int64_t taken = room < left ? room : left;
      gather(arrays, part.samples(query) + point, static_cast<int>(taken), ahead, run);
      point += taken;
      if (point == points) {
        point = 0;
        ++query;
      }
    }
    locate<T, kGradients>(run, part.height(), part.width());
    visit(run);
  }
}

template <int kToWrite, typename T>
inline void prefetch(const T* row, int64_t channels) {
  for (int64_t c = 0; c < channels; c += 64 / sizeof(T)) __builtin_prefetch(row + c, kToWrite);
}

// kVectors is the number of a pixel's vectors where it is known to the compiler, else 0.
template <typename T, int kVectors>
void forward_part(const Typed<T>& arrays, const Part& part, int64_t first, int64_t last) {
  const int64_t channels = kVectors ? kLanes<T> * kVectors : part.shape.channels;
  const int64_t points = part.shape.points;
  const T* map = arrays.value + part.map();
  for_each_run<false>(arrays, part, first, last, [&](const Run<T>& run) {
    int64_t query = run.query, left = points - run.point;  // samples left of this query
    for (int i = 0; i < run.count; left = points, ++query) {
      const int end = static_cast<int>(left < run.count - i ? i + left : run.count);
      T* __restrict out = arrays.output + part.row(query);
      prefetch<1>(arrays.output + part.row(query + kAhead), channels);
      Vec<T> sum[kVectors ? kVectors : 1];
      for (int k = 0; k < kVectors; ++k) sum[k] = vec(out + kLanes<T> * k);
      for (; i < end; ++i) {
        if (run.pixel[i] < 0) continue;
        const T* v0 = map + run.pixel[i] * channels;
        const T* v1 = v0 + run.right[i] * channels;
        const T* v2 = v0 + run.down[i] * channels;
        const T* v3 = v2 + run.right[i] * channels;
        const T s0 = run.share[0][i], s1 = run.share[1][i];
        const T s2 = run.share[2][i], s3 = run.share[3][i];
        for (int k = 0; k < kVectors; ++k) {
          sum[k] += (s0 * vec(v0 + kLanes<T> * k) + s1 * vec(v1 + kLanes<T> * k)) +
                    (s2 * vec(v2 + kLanes<T> * k) + s3 * vec(v3 + kLanes<T> * k));
        }
        if (kVectors) continue;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
          out[c] += (s0 * v0[c] + s1 * v1[c]) + (s2 * v2[c] + s3 * v3[c]);
        }
      }
      for (int k = 0; k < kVectors; ++k) vec(out + kLanes<T> * k) = sum[k];
    }
  });
}

template <typename T>
void forward(const FreesegProblem& shape, int64_t task) {
  const Typed<T> arrays(shape);
  const int64_t blocks = query_blocks(shape), first = task % blocks * kQueryBlock;
  const int64_t last = first + kQueryBlock < shape.queries ? first + kQueryBlock : shape.queries;
  Part part{shape, task / blocks / shape.heads, task / blocks % shape.heads, 0};
  for (int64_t query = first; query < last; ++query) {
    T* out = arrays.output + part.row(query);
    for (int64_t c = 0; c < shape.channels; ++c) out[c] = 0;
  }
  for (; part.level < shape.levels; ++part.level) {
    switch (shape.channels) {
      case 16: forward_part<T, 16 / kLanes<T>>(arrays, part, first, last); break;
      case 32: forward_part<T, 32 / kLanes<T>>(arrays, part, first, last); break;
      case 64: forward_part<T, 64 / kLanes<T>>(arrays, part, first, last); break;
      default: forward_part<T, 0>(arrays, part, first, last);
    }
  }
}

// Writes the gradients of a run's locations and weights; changes[i][k] is how the loss changes with
// pixel k of sample i.
template <typename T>
void write_gradients(const Typed<T>& arrays, const Part& part, const Run<T>& run,
                     const T (*changes)[4]) {
  const T height = static_cast<T>(part.height()), width = static_cast<T>(part.width());
  T grad_xy[2 * kRun], grad_weight[kRun];
#pragma omp simd
  for (int i = 0; i < run.count; ++i) {
    const T c0 = changes[i][0], c1 = changes[i][1], c2 = changes[i][2], c3 = changes[i][3];
    const T along_x = run.up_share[i] * (run.has_right[i] * c1 - run.has_left[i] * c0) +
                      run.down_share[i] * (run.has_right[i] * c3 - run.has_left[i] * c2);
    const T along_y = run.left_share[i] * (run.has_down[i] * c2 - run.has_up[i] * c0) +
                      run.right_share[i] * (run.has_down[i] * c3 - run.has_up[i] * c1);
    grad_weight[i] = run.up_share[i] * (run.left_share[i] * c0 + run.right_share[i] * c1) +
                     run.down_share[i] * (run.left_share[i] * c2 + run.right_share[i] * c3);
    grad_xy[2 * i] = run.weight[i] * width * along_x;
    grad_xy[2 * i + 1] = run.weight[i] * height * along_y;
  }
  int64_t query = run.query, point = run.point;
  for (int i = 0; i < run.count;) {
    const int64_t left = part.shape.points - point, room = run.count - i;
    const int taken = static_cast<int>(room < left ? room : left);
    const int64_t to = part.samples(query) + point;
    __builtin_memcpy(arrays.grad_locations + 2 * to, grad_xy + 2 * i, 2 * taken * sizeof(T));
    __builtin_memcpy(arrays.grad_weights + to, grad_weight + i, taken * sizeof(T));
    i += taken;
    point = 0;
    ++query;
  }
}

template <typename T, int kVectors>
void backward_part(const Typed<T>& arrays, const Part& part) {
  const int64_t channels = kVectors ? kLanes<T> * kVectors : part.shape.channels;
  const T* map = arrays.value + part.map();
  T* grad_map = arrays.grad_value + part.map();
  for (int64_t i = 0; i < part.height() * part.width() * channels; ++i) grad_map[i] = 0;
  for_each_run<true>(arrays, part, 0, part.shape.queries, [&](const Run<T>& run) {
    T changes[kRun][4];
    int64_t query = run.query, point = run.point;
    for (int i = 0; i < run.count; ++i) {
      const T* __restrict grad = arrays.grad_output + part.row(query);
      if (++point == part.shape.points) {
        prefetch<0>(arrays.grad_output + part.row(query + kAhead), channels);
        point = 0;
        ++query;
      }
      if (run.pixel[i] < 0) {
        for (int k = 0; k < 4; ++k) changes[i][k] = 0;
        continue;
      }
      const int64_t o0 = run.pixel[i] * channels, o1 = o0 + run.right[i] * channels;
      const int64_t o2 = o0 + run.down[i] * channels, o3 = o2 + run.right[i] * channels;
      const int64_t at[4] = {o0, o1, o2, o3};
      if (kVectors) {
        Vec<T> c0 = {}, c1 = {}, c2 = {}, c3 = {};
        for (int k = 0; k < kVectors; ++k) {
          const Vec<T> g = vec(grad + kLanes<T> * k);
          c0 += g * vec(map + o0 + kLanes<T> * k);
          c1 += g * vec(map + o1 + kLanes<T> * k);
          c2 += g * vec(map + o2 + kLanes<T> * k);
          c3 += g * vec(map + o3 + kLanes<T> * k);
        }
        sum_four<T>(c0, c1, c2, c3, changes[i]);
        for (int corner = 0; corner < 4; ++corner) {  // in turn: at a border two are one pixel
          for (int k = 0; k < kVectors; ++k) {
            vec(grad_map + at[corner] + kLanes<T> * k) += run.share[corner][i] * vec(grad + kLanes<T> * k);
          }
        }
        continue;
      }
      for (int corner = 0; corner < 4; ++corner) {
        const T* v = map + at[corner];
        T* __restrict target = grad_map + at[corner];
        const T share = run.share[corner][i];
        T change = 0;
#pragma omp simd reduction(+ : change)
        for (int64_t c = 0; c < channels; ++c) {
          change += grad[c] * v[c];
          target[c] += share * grad[c];
        }
        changes[i][corner] = change;
      }
    }
    write_gradients<T>(arrays, part, run, changes);
  });
}

template <typename T>
void backward(const FreesegProblem& shape, int64_t task) {
  const Typed<T> arrays(shape);
  const int64_t map = task / shape.levels;
  const Part part{shape, map / shape.heads, map % shape.heads, task % shape.levels};
  switch (shape.channels) {
    case 16: backward_part<T, 16 / kLanes<T>>(arrays, part); break;
    case 32: backward_part<T, 32 / kLanes<T>>(arrays, part); break;
    case 64: backward_part<T, 64 / kLanes<T>>(arrays, part); break;
    default: backward_part<T, 0>(arrays, part);
  }
}

}  // namespace

extern const Kernels kFloat{&forward<float>, &backward<float>};
extern const Kernels kDouble{&forward<double>, &backward<double>};

}  // namespace FREESEG_ISA
}  // namespace freeseg
