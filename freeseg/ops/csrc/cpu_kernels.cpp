// Multi-scale deformable attention on a CPU: the kernels.
//
// Compiled once per instruction set; FREESEG_ISA is its namespace. All but the two tables at the
// end has internal linkage, and nothing of the standard library is instantiated: a linker must not
// merge code of different instruction sets.
//
// Two stages per run of samples: where they fall, in arrays that are vectorised over samples; then
// the reading, vectorised over channels.

#include "cpu_kernels.h"

namespace freeseg {
namespace FREESEG_ISA {
namespace {

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

// The 2 x 2 pixels around every sample of a run. A pixel outside the map has share 0, has 0, and
// the address of its neighbour inside.
template <typename T>
struct Corners {
  int32_t pixel[kRun];  // of the upper left; -1: the sample sees nothing of the map
  int32_t right[kRun];  // pixels to the right column, 0 or 1
  int32_t down[kRun];   // pixels to the lower row, 0 or the width
  T share_left[kRun], share_right[kRun], share_up[kRun], share_down[kRun];
  T has_left[kRun], has_right[kRun], has_up[kRun], has_down[kRun];
};

// Where samples at (x, y) = xy[i] fall; xy in [0, 1] of a map of height x width pixels.
template <typename T>
void locate(const T* xy, int count, int64_t height, int64_t width, Corners<T>& corners) {
  const int32_t rows = static_cast<int32_t>(height), columns = static_cast<int32_t>(width);
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    const T x = xy[2 * i] * columns - T(0.5), y = xy[2 * i + 1] * rows - T(0.5);
    const bool is_hit = (x > -1) & (x < columns) & (y > -1) & (y < rows);  // false for NaN
    const T column = is_hit ? x : T(0), row = is_hit ? y : T(0);
    const int32_t towards_0_x = static_cast<int32_t>(column);
    const int32_t towards_0_y = static_cast<int32_t>(row);
    const int32_t left = towards_0_x - (column < towards_0_x ? 1 : 0);
    const int32_t up = towards_0_y - (row < towards_0_y ? 1 : 0);
    const T has_left = left >= 0 ? T(1) : T(0), has_right = left + 1 < columns ? T(1) : T(0);
    const T has_up = up >= 0 ? T(1) : T(0), has_down = up + 1 < rows ? T(1) : T(0);
    corners.has_left[i] = has_left;
    corners.has_right[i] = has_right;
    corners.has_up[i] = has_up;
    corners.has_down[i] = has_down;
    corners.share_left[i] = (1 - (column - left)) * has_left;
    corners.share_right[i] = (column - left) * has_right;
    corners.share_up[i] = (1 - (row - up)) * has_up;
    corners.share_down[i] = (row - up) * has_down;
    corners.right[i] = (left >= 0) & (left + 1 < columns) ? 1 : 0;
    corners.down[i] = (up >= 0) & (up + 1 < rows) ? columns : 0;
    corners.pixel[i] = is_hit ? (up < 0 ? 0 : up) * columns + (left < 0 ? 0 : left) : -1;
  }
}

// Samples that follow each other, over points first, then queries; the first is `point` of `query`.
template <typename T>
struct Run {
  int64_t query, point;
  int count;
  T xy[2 * kRun], weight[kRun];
  Corners<T> corners;
};

// Calls visit(run) for the samples of queries [first, last), in order.
template <typename T, typename Visit>
inline void for_each_run(const Typed<T>& arrays, const Part& part, int64_t first, int64_t last,
                         const Visit& visit) {
  const int64_t points = part.shape.points;
  Run<T> run;
  int64_t query = first, point = 0;
  while (query < last) {
    run.query = query;
    run.point = point;
    run.count = 0;
    while (run.count < kRun && query < last) {
      const int64_t room = kRun - run.count, left = points - point;
      const int taken = static_cast<int>(room < left ? room : left);
      const int64_t from = part.samples(query) + point;
      for (int i = 0; i < taken; ++i) {
        run.xy[2 * (run.count + i)] = arrays.locations[2 * (from + i)];
        run.xy[2 * (run.count + i) + 1] = arrays.locations[2 * (from + i) + 1];
        run.weight[run.count + i] = arrays.weights[from + i];
      }
      run.count += taken;
      point += taken;
      if (point == points) {
        point = 0;
        ++query;
      }
    }
    locate(run.xy, run.count, part.height(), part.width(), run.corners);
    visit(run);
  }
}

// Offsets of the four pixels of a sample, and its weight's share of each.
template <typename T>
struct Sample {
  Sample(const Run<T>& run, int i, int64_t channels) {
    const Corners<T>& corners = run.corners;
    at[0] = corners.pixel[i] * channels;
    at[1] = at[0] + corners.right[i] * channels;
    at[2] = at[0] + corners.down[i] * channels;
    at[3] = at[2] + corners.right[i] * channels;
    const T up = corners.share_up[i] * run.weight[i], down = corners.share_down[i] * run.weight[i];
    share[0] = up * corners.share_left[i];
    share[1] = up * corners.share_right[i];
    share[2] = down * corners.share_left[i];
    share[3] = down * corners.share_right[i];
  }
  int64_t at[4];
  T share[4];
};

// kChannels is the number of channels where it is known to the compiler, else 0.
template <typename T, int kChannels>
void forward_part(const Typed<T>& arrays, const Part& part, int64_t first, int64_t last) {
  const int64_t channels = kChannels ? kChannels : part.shape.channels;
  const int64_t points = part.shape.points;
  const T* map = arrays.value + part.map();
  for_each_run(arrays, part, first, last, [&](const Run<T>& run) {
    int64_t query = run.query, left = points - run.point;  // samples left of this query
    for (int i = 0; i < run.count; left = points, ++query) {
      const int end = static_cast<int>(left < run.count - i ? i + left : run.count);
      T* __restrict out = arrays.output + part.row(query);
      T sum[kChannels ? kChannels : 1];  // stays in registers
      for (int c = 0; c < kChannels; ++c) sum[c] = out[c];
      for (; i < end; ++i) {
        if (run.corners.pixel[i] < 0) continue;
        const Sample<T> sample(run, i, channels);
        const T *v0 = map + sample.at[0], *v1 = map + sample.at[1];
        const T *v2 = map + sample.at[2], *v3 = map + sample.at[3];
        const T s0 = sample.share[0], s1 = sample.share[1];
        const T s2 = sample.share[2], s3 = sample.share[3];
#pragma omp simd
        for (int c = 0; c < kChannels; ++c) {
          sum[c] += s0 * v0[c] + s1 * v1[c] + s2 * v2[c] + s3 * v3[c];
        }
        if (kChannels) continue;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
          out[c] += s0 * v0[c] + s1 * v1[c] + s2 * v2[c] + s3 * v3[c];
        }
      }
      for (int c = 0; c < kChannels; ++c) out[c] = sum[c];
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
      case 16: forward_part<T, 16>(arrays, part, first, last); break;
      case 32: forward_part<T, 32>(arrays, part, first, last); break;
      case 64: forward_part<T, 64>(arrays, part, first, last); break;
      default: forward_part<T, 0>(arrays, part, first, last);
    }
  }
}

// Writes the gradients of sample i; change[k] is how the loss changes with its pixel k.
template <typename T>
inline void write_gradients(const Typed<T>& arrays, const Part& part, const Run<T>& run, int i,
                            int64_t sample, const T (&change)[4]) {
  const Corners<T>& corners = run.corners;
  const T left = corners.share_left[i], right = corners.share_right[i];
  const T up = corners.share_up[i], down = corners.share_down[i];
  const T has_left = corners.has_left[i], has_right = corners.has_right[i];
  const T has_up = corners.has_up[i], has_down = corners.has_down[i];
  const T along_x = up * (has_right * change[1] - has_left * change[0]) +
                    down * (has_right * change[3] - has_left * change[2]);
  const T along_y = left * (has_down * change[2] - has_up * change[0]) +
                    right * (has_down * change[3] - has_up * change[1]);
  arrays.grad_weights[sample] = up * (left * change[0] + right * change[1]) +
                                down * (left * change[2] + right * change[3]);
  arrays.grad_locations[2 * sample] = run.weight[i] * part.width() * along_x;
  arrays.grad_locations[2 * sample + 1] = run.weight[i] * part.height() * along_y;
}

template <typename T, int kChannels>
void backward_part(const Typed<T>& arrays, const Part& part) {
  const int64_t channels = kChannels ? kChannels : part.shape.channels;
  const T* map = arrays.value + part.map();
  T* grad_map = arrays.grad_value + part.map();
  for (int64_t i = 0; i < part.height() * part.width() * channels; ++i) grad_map[i] = 0;
  for_each_run(arrays, part, 0, part.shape.queries, [&](const Run<T>& run) {
    int64_t query = run.query, point = run.point;
    for (int i = 0; i < run.count; ++i) {
      const T* __restrict grad = arrays.grad_output + part.row(query);
      T change[4] = {0, 0, 0, 0};
      if (run.corners.pixel[i] >= 0) {
        const Sample<T> sample(run, i, channels);
        const T *v0 = map + sample.at[0], *v1 = map + sample.at[1];
        const T *v2 = map + sample.at[2], *v3 = map + sample.at[3];
        T c0 = 0, c1 = 0, c2 = 0, c3 = 0;
#pragma omp simd reduction(+ : c0, c1, c2, c3)
        for (int64_t c = 0; c < channels; ++c) {
          c0 += grad[c] * v0[c];
          c1 += grad[c] * v1[c];
          c2 += grad[c] * v2[c];
          c3 += grad[c] * v3[c];
        }
        change[0] = c0, change[1] = c1, change[2] = c2, change[3] = c3;
        for (int k = 0; k < 4; ++k) {  // one after the other: at a border two are the same pixel
          T* __restrict target = grad_map + sample.at[k];
          const T share = sample.share[k];
#pragma omp simd
          for (int64_t c = 0; c < channels; ++c) target[c] += share * grad[c];
        }
      }
      write_gradients(arrays, part, run, i, part.samples(query) + point, change);
      if (++point == part.shape.points) {
        point = 0;
        ++query;
      }
    }
  });
}

template <typename T>
void backward(const FreesegProblem& shape, int64_t task) {
  const Typed<T> arrays(shape);
  const int64_t map = task / shape.levels;
  const Part part{shape, map / shape.heads, map % shape.heads, task % shape.levels};
  switch (shape.channels) {
    case 16: backward_part<T, 16>(arrays, part); break;
    case 32: backward_part<T, 32>(arrays, part); break;
    case 64: backward_part<T, 64>(arrays, part); break;
    default: backward_part<T, 0>(arrays, part);
  }
}

}  // namespace

extern const Kernels kFloat{&forward<float>, &backward<float>};
extern const Kernels kDouble{&forward<double>, &backward<double>};

}  // namespace FREESEG_ISA
}  // namespace freeseg
