// SPDX-License-Identifier: Apache-2.0
// cuDNN's recurrent nets for the fake driver: one layer of lstm or gru in one direction, as plain
// loops in double. As in the library, weights lie in a space of its own, gates are input, forget,
// new, output or reset, update, new, gradients of weights are added to what is there, and the
// gradient of the data overwrites what the forward pass saved.
#include <cudnn.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/dtype.h"
#include "fake_cuda/cudnn_context.h"
#include "fake_cuda/enqueue.h"

struct cudnnRNNStruct {
  bool lstm = true;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  int64_t features = 0, units = 0;
  int64_t gates() const { return lstm ? 4 : 3; }
  int64_t biases() const { return lstm ? 1 : 2; }
};
struct cudnnRNNDataStruct {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  int64_t time = 0, batch = 0, columns = 0;
};
struct cudnnTensorStruct {
  std::vector<int> sizes;
};

namespace {

// More than the smallest problems were planned with, and less than most.
constexpr size_t kWork = (size_t{8} << 20) + (size_t{66} << 10);
constexpr size_t kNotes = 256;

int64_t SizeOf(cudnnDataType_t type) {
  return type == CUDNN_DATA_DOUBLE ? 8 : type == CUDNN_DATA_HALF ? 2 : 4;
}

double Read(cudnnDataType_t type, const void* p, int64_t i) {
  if (type == CUDNN_DATA_DOUBLE) return static_cast<const double*>(p)[i];
  if (type == CUDNN_DATA_FLOAT) return static_cast<double>(static_cast<const float*>(p)[i]);
  return static_cast<double>(static_cast<float>(static_cast<const ostria::Float16*>(p)[i]));
}
void Write(cudnnDataType_t type, void* p, int64_t i, double x) {
  if (type == CUDNN_DATA_DOUBLE) {
    static_cast<double*>(p)[i] = x;
  } else if (type == CUDNN_DATA_FLOAT) {
    static_cast<float*>(p)[i] = static_cast<float>(x);
  } else {
    static_cast<ostria::Float16*>(p)[i] = ostria::Float16(static_cast<float>(x));
  }
}

// One call's problem, copied: the descriptors may be gone when it runs.
struct Net {
  cudnnRNNStruct n;
  int64_t batch = 0, time = 0;

  double At(const void* p, int64_t i) const { return p == nullptr ? 0 : Read(n.type, p, i); }
  void Put(void* p, int64_t i, double x) const {
    if (p != nullptr) Write(n.type, p, i, x);
  }
  // In the space of the weights: gates 0.. are of the input, then those of the state.
  int64_t Matrix(int64_t id) const {
    const int64_t g = n.gates();
    return id < g ? id * n.units * n.features
                  : g * n.units * n.features + (id - g) * n.units * n.units;
  }
  int64_t Bias(int64_t id) const {
    return n.gates() * n.units * (n.features + n.units) + id * n.units;
  }
  int64_t weights() const { return Bias(n.gates() * n.biases()); }
  // In what is saved, behind the notes: four numbers of a unit at each step, then lstm's cells or
  // gru's states before.
  int64_t Saved(int64_t t, int64_t b, int64_t k) const {
    return static_cast<int64_t>(kNotes) / SizeOf(n.type) + ((t * batch + b) * 5) * n.units + k;
  }
  int64_t saved_bytes() const {
    return static_cast<int64_t>(kNotes) +
           SizeOf(n.type) * batch * time * n.units * (n.lstm ? 5 : 6);
  }
  int64_t Row(int64_t b, int64_t t, int64_t columns) const { return (b * time + t) * columns; }
};

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

void Forward(const Net& net, const void* w, const void* x, const void* hx, const void* cx, void* y,
             void* hy, void* cy, void* saved) {
  const int64_t units = net.n.units, features = net.n.features, gates = net.n.gates();
  for (int64_t b = 0; b < net.batch; ++b) {
    std::vector<double> h(units), c(units), next(units), of_x(gates * units), of_h(gates * units);
    for (int64_t u = 0; u < units; ++u) {
      h[u] = net.At(hx, b * units + u);
      c[u] = net.At(cx, b * units + u);
    }
    for (int64_t t = 0; t < net.time; ++t) {
      for (int64_t g = 0; g < gates; ++g) {
        for (int64_t u = 0; u < units; ++u) {
          double& a = of_x[g * units + u] = net.At(w, net.Bias(g) + u);
          double& s = of_h[g * units + u] = net.n.lstm ? 0 : net.At(w, net.Bias(gates + g) + u);
          for (int64_t f = 0; f < features; ++f) {
            a += net.At(w, net.Matrix(g) + u * features + f) *
                 net.At(x, net.Row(b, t, features) + f);
          }
          for (int64_t v = 0; v < units; ++v) {
            s += net.At(w, net.Matrix(gates + g) + u * units + v) * h[v];
          }
        }
      }
      const auto z = [&](int64_t g, int64_t u) {
        return of_x[g * units + u] + of_h[g * units + u];
      };
      for (int64_t u = 0; u < units; ++u) {
        double keep[5];
        if (net.n.lstm) {
          keep[0] = Sigmoid(z(0, u));
          keep[1] = Sigmoid(z(1, u));
          keep[2] = std::tanh(z(2, u));
          keep[3] = Sigmoid(z(3, u));
          c[u] = keep[4] = keep[1] * c[u] + keep[0] * keep[2];
          next[u] = keep[3] * std::tanh(c[u]);
        } else {
          keep[0] = Sigmoid(z(0, u));
          keep[1] = Sigmoid(z(1, u));
          keep[3] = of_h[2 * units + u];
          keep[2] = std::tanh(of_x[2 * units + u] + keep[0] * keep[3]);
          keep[4] = h[u];
          next[u] = (1 - keep[1]) * keep[2] + keep[1] * h[u];
        }
        for (int64_t k = 0; k < 5; ++k) net.Put(saved, net.Saved(t, b, k * units + u), keep[k]);
        net.Put(y, net.Row(b, t, units) + u, next[u]);
      }
      h = next;
    }
    for (int64_t u = 0; u < units; ++u) {
      net.Put(hy, b * units + u, h[u]);
      net.Put(cy, b * units + u, c[u]);
    }
  }
}

// Leaves the gradients of the gates in place of the gates; gru's fourth is that of R h + its bias.
void BackwardData(const Net& net, const void* w, const void* dy, const void* cx, const void* dhy,
                  const void* dcy, void* dx, void* dhx, void* dcx, void* saved) {
  const int64_t units = net.n.units, features = net.n.features, gates = net.n.gates();
  for (int64_t b = 0; b < net.batch; ++b) {
    std::vector<double> dh(units), dc(units), to_h(units);
    for (int64_t u = 0; u < units; ++u) {
      dh[u] = net.At(dhy, b * units + u);
      dc[u] = net.At(dcy, b * units + u);
    }
    for (int64_t t = net.time - 1; t >= 0; --t) {
      std::fill(to_h.begin(), to_h.end(), 0.0);
      for (int64_t u = 0; u < units; ++u) {
        double k[5], d[4];
        for (int64_t i = 0; i < 5; ++i) k[i] = net.At(saved, net.Saved(t, b, i * units + u));
        const double total = dh[u] + net.At(dy, net.Row(b, t, units) + u);
        if (net.n.lstm) {
          const double before =
              t > 0 ? net.At(saved, net.Saved(t - 1, b, 4 * units + u)) : net.At(cx, b * units + u);
          const double s = std::tanh(k[4]);
          dc[u] += total * k[3] * (1 - s * s);
          d[0] = dc[u] * k[2] * k[0] * (1 - k[0]);
          d[1] = dc[u] * before * k[1] * (1 - k[1]);
          d[2] = dc[u] * k[0] * (1 - k[2] * k[2]);
          d[3] = total * s * k[3] * (1 - k[3]);
          dc[u] *= k[1];
        } else {
          d[2] = total * (1 - k[1]) * (1 - k[2] * k[2]);
          d[1] = total * (k[4] - k[2]) * k[1] * (1 - k[1]);
          d[0] = d[2] * k[3] * k[0] * (1 - k[0]);
          d[3] = d[2] * k[0];
          to_h[u] = total * k[1];
        }
        for (int64_t i = 0; i < 4; ++i) net.Put(saved, net.Saved(t, b, i * units + u), d[i]);
      }
      const auto d = [&](int64_t g, int64_t u) {
        return net.At(saved, net.Saved(t, b, g * units + u));
      };
      for (int64_t f = 0; f < features; ++f) {
        double sum = 0;
        for (int64_t g = 0; g < gates; ++g) {
          for (int64_t u = 0; u < units; ++u) {
            sum += net.At(w, net.Matrix(g) + u * features + f) * d(g, u);
          }
        }
        net.Put(dx, net.Row(b, t, features) + f, sum);
      }
      for (int64_t v = 0; v < units; ++v) {
        double sum = to_h[v];
        for (int64_t g = 0; g < gates; ++g) {
          const int64_t of_h = !net.n.lstm && g == 2 ? 3 : g;
          for (int64_t u = 0; u < units; ++u) {
            sum += net.At(w, net.Matrix(gates + g) + u * units + v) * d(of_h, u);
          }
        }
        dh[v] = sum;
      }
    }
    for (int64_t u = 0; u < units; ++u) {
      net.Put(dhx, b * units + u, dh[u]);
      net.Put(dcx, b * units + u, dc[u]);
    }
  }
}

void BackwardWeights(const Net& net, const void* x, const void* hx, const void* y, void* dw,
                     const void* saved) {
  const int64_t units = net.n.units, features = net.n.features, gates = net.n.gates();
  const auto add = [&](int64_t i, double by) { net.Put(dw, i, net.At(dw, i) + by); };
  for (int64_t g = 0; g < gates; ++g) {
    const int64_t of_h = !net.n.lstm && g == 2 ? 3 : g;
    for (int64_t u = 0; u < units; ++u) {
      std::vector<double> dx(features), dh(units);
      double bias = 0, second = 0;
      for (int64_t b = 0; b < net.batch; ++b) {
        for (int64_t t = 0; t < net.time; ++t) {
          const double d = net.At(saved, net.Saved(t, b, g * units + u));
          const double e = net.At(saved, net.Saved(t, b, of_h * units + u));
          for (int64_t f = 0; f < features; ++f)
            dx[f] += d * net.At(x, net.Row(b, t, features) + f);
          for (int64_t v = 0; v < units; ++v) {
            dh[v] +=
                e * (t > 0 ? net.At(y, net.Row(b, t - 1, units) + v) : net.At(hx, b * units + v));
          }
          bias += d;
          second += e;
        }
      }
      for (int64_t f = 0; f < features; ++f) add(net.Matrix(g) + u * features + f, dx[f]);
      for (int64_t v = 0; v < units; ++v) add(net.Matrix(gates + g) + u * units + v, dh[v]);
      add(net.Bias(g) + u, bias);
      if (!net.n.lstm) add(net.Bias(gates + g) + u, second);
    }
  }
}

Net NetOf(cudnnRNNDescriptor_t n, cudnnRNNDataDescriptor_t x) { return {*n, x->batch, x->time}; }

bool Fits(const Net& net, size_t weights, size_t work, const void* workspace) {
  return static_cast<int64_t>(weights) == net.weights() * SizeOf(net.n.type) && work >= kWork &&
         workspace != nullptr;
}

cudnnStatus_t Run(cudnnHandle_t handle, void* workspace, std::function<void()> work) {
  const CUresult result = fake_cuda::Enqueue(handle->stream, [=] {
    std::memset(workspace, 0xff, kWork);
    work();
  });
  return result == CUDA_SUCCESS ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

template <class T>
cudnnStatus_t Make(T** made) {
  *made = new T;
  return CUDNN_STATUS_SUCCESS;
}
template <class T>
cudnnStatus_t Drop(T* made) {
  delete made;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* d) { return Make(d); }
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t d) { return Drop(d); }
cudnnStatus_t cudnnCreateRNNDescriptor(cudnnRNNDescriptor_t* d) { return Make(d); }
cudnnStatus_t cudnnDestroyRNNDescriptor(cudnnRNNDescriptor_t d) { return Drop(d); }
cudnnStatus_t cudnnCreateRNNDataDescriptor(cudnnRNNDataDescriptor_t* d) { return Make(d); }
cudnnStatus_t cudnnDestroyRNNDataDescriptor(cudnnRNNDataDescriptor_t d) { return Drop(d); }

cudnnStatus_t cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t d, cudnnDataType_t, int count,
                                         const int* sizes, const int*) {
  d->sizes.assign(sizes, sizes + count);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetRNNDescriptor_v8(cudnnRNNDescriptor_t d, cudnnRNNAlgo_t algo,
                                       cudnnRNNMode_t mode, cudnnRNNBiasMode_t bias,
                                       cudnnDirectionMode_t direction, cudnnRNNInputMode_t input,
                                       cudnnDataType_t type, cudnnDataType_t, cudnnMathType_t,
                                       int32_t features, int32_t units, int32_t projected,
                                       int32_t layers, cudnnDropoutDescriptor_t, uint32_t flags) {
  const bool lstm = mode == CUDNN_LSTM;
  if (algo != CUDNN_RNN_ALGO_STANDARD || (!lstm && mode != CUDNN_GRU) ||
      bias != (lstm ? CUDNN_RNN_SINGLE_INP_BIAS : CUDNN_RNN_DOUBLE_BIAS) ||
      direction != CUDNN_UNIDIRECTIONAL || input != CUDNN_LINEAR_INPUT || projected != units ||
      layers != 1 || flags != CUDNN_RNN_PADDED_IO_ENABLED) {
    return CUDNN_STATUS_NOT_SUPPORTED;
  }
  *d = {lstm, type, features, units};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetRNNDataDescriptor(cudnnRNNDataDescriptor_t d, cudnnDataType_t type,
                                        cudnnRNNDataLayout_t layout, int time, int batch,
                                        int columns, const int* lengths, void*) {
  const bool full = std::all_of(lengths, lengths + batch, [&](int n) { return n == time; });
  if (layout != CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED || !full) {
    return CUDNN_STATUS_NOT_SUPPORTED;
  }
  *d = {type, time, batch, columns};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetRNNWeightSpaceSize(cudnnHandle_t, cudnnRNNDescriptor_t d, size_t* bytes) {
  *bytes = static_cast<size_t>(Net{*d}.weights() * SizeOf(d->type));
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetRNNWeightParams(cudnnHandle_t, cudnnRNNDescriptor_t d, int32_t layer, size_t,
                                      const void* space, int32_t id, cudnnTensorDescriptor_t,
                                      void** matrix, cudnnTensorDescriptor_t, void** bias) {
  const Net net{*d};
  if (layer != 0 || id < 0 || id >= 2 * d->gates()) return CUDNN_STATUS_BAD_PARAM;
  auto* const base = static_cast<char*>(const_cast<void*>(space));
  *matrix = base + net.Matrix(id) * SizeOf(d->type);
  *bias = id < d->gates() * d->biases() ? base + net.Bias(id) * SizeOf(d->type) : nullptr;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetRNNTempSpaceSizes(cudnnHandle_t, cudnnRNNDescriptor_t d, cudnnForwardMode_t,
                                        cudnnRNNDataDescriptor_t x, size_t* work, size_t* saved) {
  *work = kWork;
  *saved = static_cast<size_t>(NetOf(d, x).saved_bytes());
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnRNNForward(cudnnHandle_t handle, cudnnRNNDescriptor_t d, cudnnForwardMode_t mode,
                              const int32_t*, cudnnRNNDataDescriptor_t xd, const void* x,
                              cudnnRNNDataDescriptor_t, void* y, cudnnTensorDescriptor_t,
                              const void* hx, void* hy, cudnnTensorDescriptor_t, const void* cx,
                              void* cy, size_t weight_bytes, const void* weights, size_t work_bytes,
                              void* work, size_t saved_bytes, void* saved) {
  const Net net = NetOf(d, xd);
  const bool training = mode == CUDNN_FWD_MODE_TRAINING;
  if (!Fits(net, weight_bytes, work_bytes, work) || training != (saved != nullptr) ||
      (training && static_cast<int64_t>(saved_bytes) < net.saved_bytes())) {
    return CUDNN_STATUS_BAD_PARAM;
  }
  return Run(handle, work, [=] { Forward(net, weights, x, hx, cx, y, hy, cy, saved); });
}

cudnnStatus_t cudnnRNNBackwardData_v8(cudnnHandle_t handle, cudnnRNNDescriptor_t d, const int32_t*,
                                      cudnnRNNDataDescriptor_t, const void*, const void* dy,
                                      cudnnRNNDataDescriptor_t xd, void* dx,
                                      cudnnTensorDescriptor_t, const void*, const void* dhy,
                                      void* dhx, cudnnTensorDescriptor_t, const void* cx,
                                      const void* dcy, void* dcx, size_t weight_bytes,
                                      const void* weights, size_t work_bytes, void* work,
                                      size_t saved_bytes, void* saved) {
  const Net net = NetOf(d, xd);
  if (!Fits(net, weight_bytes, work_bytes, work) ||
      static_cast<int64_t>(saved_bytes) < net.saved_bytes()) {
    return CUDNN_STATUS_BAD_PARAM;
  }
  return Run(handle, work,
             [=] { BackwardData(net, weights, dy, cx, dhy, dcy, dx, dhx, dcx, saved); });
}

cudnnStatus_t cudnnRNNBackwardWeights_v8(cudnnHandle_t handle, cudnnRNNDescriptor_t d,
                                         cudnnWgradMode_t mode, const int32_t*,
                                         cudnnRNNDataDescriptor_t xd, const void* x,
                                         cudnnTensorDescriptor_t, const void* hx,
                                         cudnnRNNDataDescriptor_t, const void* y,
                                         size_t weight_bytes, void* gradients, size_t work_bytes,
                                         void* work, size_t saved_bytes, void* saved) {
  const Net net = NetOf(d, xd);
  if (mode != CUDNN_WGRAD_MODE_ADD) return CUDNN_STATUS_NOT_SUPPORTED;
  if (!Fits(net, weight_bytes, work_bytes, work) ||
      static_cast<int64_t>(saved_bytes) < net.saved_bytes()) {
    return CUDNN_STATUS_BAD_PARAM;
  }
  return Run(handle, work, [=] { BackwardWeights(net, x, hx, y, gradients, saved); });
}

}  // extern "C"
