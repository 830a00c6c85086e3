// SPDX-License-Identifier: Apache-2.0
// Pools of the fake cuDNN. An index is the position in the window, counted along its last axis
// first, padding included; of equal maxima it is the first.
#include "fake_cuda/cudnn_array.h"

namespace fake_cudnn {
namespace {

struct Pool {
  bool max;
  Ints size, low, high, stride;

  explicit Pool(const Descriptor& d)
      : max(d.One<cudnnResampleMode_t>(CUDNN_ATTR_RESAMPLE_MODE) == CUDNN_RESAMPLE_MAXPOOL),
        size(Whole(d, CUDNN_ATTR_RESAMPLE_WINDOW_DIMS)),
        low(Whole(d, CUDNN_ATTR_RESAMPLE_PRE_PADDINGS)),
        high(Whole(d, CUDNN_ATTR_RESAMPLE_POST_PADDINGS)),
        stride(Whole(d, CUDNN_ATTR_RESAMPLE_STRIDES)) {}

  static Ints Whole(const Descriptor& d, int name) {
    Ints out;
    for (const cudnnFraction_t f : d.List<cudnnFraction_t>(name)) {
      out.push_back(f.numerator / f.denominator);
    }
    return out;
  }

  // Calls f(position in the window, in the image) for what element `at` of the result sees.
  template <class F>
  void EachSeen(const Ints& at, const Ints& image, F f) const {
    Ints place = at;
    Each(size, [&](const Ints& tap, size_t position) {
      for (size_t i = 0; i < size.size(); ++i) {
        place[i + 2] = at[i + 2] * stride[i] - low[i] + tap[i];
        if (place[i + 2] < 0 || place[i + 2] >= image[i + 2]) return;
      }
      f(position, Broadcast(place, image));
    });
  }
};

// Whether the sizes of an image and its result go with the windows.
bool Fits(const Descriptor& settings, const Ints& image, const Ints& result) {
  const Pool pool(settings);
  if (image.size() != result.size() || image.size() != pool.size.size() + 2) return false;
  for (size_t i = 0; i < pool.size.size(); ++i) {
    const int64_t room = image[i + 2] + pool.low[i] + pool.high[i] - pool.size[i];
    if (room < 0 || room / pool.stride[i] + 1 != result[i + 2]) return false;
  }
  return image[0] == result[0] && image[1] == result[1];
}

}  // namespace

bool PoolForwardFits(const Descriptor& op) {
  return Fits(op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_DESC),
              SizesOf(op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_XDESC)),
              SizesOf(op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_YDESC)));
}

bool PoolGradFits(const Descriptor& op) {
  return Fits(op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DESC),
              SizesOf(op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DXDESC)),
              SizesOf(op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DYDESC)));
}

void PoolForward(const Descriptor& op, Memory& memory) {
  const Pool pool(op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_DESC));
  const Array x = memory.Load(op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_XDESC));
  const Descriptor& to = op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_YDESC);
  Array y{SizesOf(to), {}}, index = y;
  Each(y.sizes, [&](const Ints& at, size_t) {
    double best = -HUGE_VAL, sum = 0;
    size_t where = 0;
    int64_t seen = 0;
    pool.EachSeen(at, x.sizes, [&](size_t position, size_t from) {
      const double value = x.values[from];
      if (seen++ == 0 || value > best || (std::isnan(value) && !std::isnan(best))) {
        best = value;
        where = position;
      }
      sum += value;
    });
    y.values.push_back(pool.max ? best : sum / static_cast<double>(seen));
    index.values.push_back(static_cast<double>(where));
  });
  memory.Store(to, std::move(y));
  if (op.Has(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_IDXDESC)) {
    memory.Store(op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_IDXDESC), std::move(index));
  }
}

void PoolGrad(const Descriptor& op, Memory& memory) {
  const Pool pool(op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DESC));
  const Array dy = memory.Load(op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DYDESC));
  const Array index =
      pool.max ? memory.Load(op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_BWD_IDXDESC)) : dy;
  const Descriptor& to = op.Part(CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DXDESC);
  Array dx{SizesOf(to), {}};
  Each(dx.sizes, [&](const Ints&, size_t) { dx.values.push_back(0); });
  Each(dy.sizes, [&](const Ints& at, size_t i) {
    int64_t seen = 0;
    pool.EachSeen(at, dx.sizes, [&](size_t, size_t) { ++seen; });
    pool.EachSeen(at, dx.sizes, [&](size_t position, size_t into) {
      if (!pool.max) {
        dx.values[into] += dy.values[i] / static_cast<double>(seen);
      } else if (static_cast<double>(position) == index.values[i]) {
        dx.values[into] += dy.values[i];
      }
    });
  });
  memory.Store(to, std::move(dx));
}

}  // namespace fake_cudnn
