// Maps of segment ids: from the inflated bytes of a PNG, and how many pixels two maps share.

#include <cstdlib>
#include <unordered_map>
#include <utility>
#include <vector>

#include "problem.h"

namespace {

inline uint8_t paeth(int left, int up, int corner) {
  const int to_left = std::abs(up - corner), to_up = std::abs(left - corner);
  const int to_corner = std::abs(left + up - 2 * corner);
  if (to_left <= to_up && to_left <= to_corner) return static_cast<uint8_t>(left);
  return static_cast<uint8_t>(to_up <= to_corner ? up : corner);
}

// Undoes one row's filter in place; `up` is the row above, of zeros for the first.
bool unfilter(int type, uint8_t* row, const uint8_t* up, int64_t size, int64_t step) {
  switch (type) {
    case 0:
      return true;
    case 1:
      for (int64_t i = step; i < size; ++i) row[i] += row[i - step];
      return true;
    case 2:
      for (int64_t i = 0; i < size; ++i) row[i] += up[i];
      return true;
    case 3:
      for (int64_t i = 0; i < step; ++i) row[i] += up[i] / 2;
      for (int64_t i = step; i < size; ++i) row[i] += (row[i - step] + up[i]) / 2;
      return true;
    case 4:
      for (int64_t i = 0; i < step; ++i) row[i] += up[i];
      for (int64_t i = step; i < size; ++i) row[i] += paeth(row[i - step], up[i], up[i - step]);
      return true;
    default:
      return false;
  }
}

}  // namespace

extern "C" {

// Ids R + 256 G + 65536 B [H, W] of a PNG's rows [H, 1 + W * channels], each behind its filter's
// number. Works in `rows`. Returns 0, or 1 on an unknown filter.
FREESEG_EXPORT int freeseg_png_ids(uint8_t* rows, int64_t height, int64_t width, int64_t channels,
                                   int32_t* ids) {
  const int64_t size = width * channels;
  const std::vector<uint8_t> nothing(size, 0);
  const uint8_t* up = nothing.data();
  for (int64_t y = 0; y < height; ++y) {
    uint8_t* row = rows + y * (size + 1) + 1;
    if (!unfilter(row[-1], row, up, size, channels)) return 1;
    for (int64_t x = 0; x < width; ++x) {
      const uint8_t* pixel = row + x * channels;
      ids[y * width + x] = pixel[0] | pixel[1] << 8 | pixel[2] << 16;
    }
    up = row;
  }
  return 0;
}

// Counts every pair of values at the same place of two arrays; returns how many pairs there are.
// Writes the first `capacity` of them: [first, second, count] each, in no order.
FREESEG_EXPORT int64_t freeseg_count_pairs(const int32_t* first, const int32_t* second,
                                           int64_t size, int64_t capacity, int64_t* rows) {
  std::unordered_map<uint64_t, int64_t> counts;
  for (int64_t i = 0; i < size;) {  // maps are made of long runs
    const int64_t start = i;
    const int32_t a = first[i], b = second[i];
    while (i < size && first[i] == a && second[i] == b) ++i;
    counts[static_cast<uint64_t>(static_cast<uint32_t>(a)) << 32 | static_cast<uint32_t>(b)] +=
        i - start;
  }
  int64_t number = 0;
  for (const auto& [pair, count] : counts) {
    if (number == capacity) break;
    int64_t* row = rows + 3 * number++;
    row[0] = static_cast<int32_t>(pair >> 32);
    row[1] = static_cast<int32_t>(pair & 0xffffffffu);
    row[2] = count;
  }
  return static_cast<int64_t>(counts.size());
}

}  // extern "C"
