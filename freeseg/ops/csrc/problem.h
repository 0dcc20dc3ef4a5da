// What both native libraries take from Python: plain C, no framework's headers, so that one build
// serves every version of PyTorch and of Python. `freeseg/ops/native.py` mirrors it.
//
// Shapes: B images, S summed pixels of all levels, M heads, D channels per head, Q queries,
// L levels, P points. All arrays are contiguous.

#pragma once

#include <stdint.h>

#define FREESEG_EXPORT __attribute__((visibility("default")))

enum FreesegDtype { kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kBFloat16 = 3 };

// Locations, weights, their gradients and the value's gradient are double for a double value, else
// float; the value, the output and the output's gradient are of `dtype`.
struct FreesegProblem {
  int64_t dtype;  // FreesegDtype
  int64_t batch, pixels, heads, channels, queries, levels, points;
  const int64_t* sizes;   // [L, 2], (height, width)
  const int64_t* starts;  // [L], first pixel of every level
  const void* value;      // CPU: [B, M, S, D]; CUDA: [B, S, M, D]
  const void* locations;  // [B, Q, M, L, P, 2], (x, y)
  const void* weights;    // [B, Q, M, L, P]
  void* output;           // [B, Q, M, D]; forward
  const void* grad_output;  // [B, Q, M, D]; this and all below: backward
  void* grad_value;         // as the value; zero before the call on CUDA
  void* grad_locations;     // [B, Q, M, L, P, 2]
  void* grad_weights;       // [B, Q, M, L, P]
};
