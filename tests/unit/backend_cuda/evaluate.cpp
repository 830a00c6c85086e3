// SPDX-License-Identifier: Apache-2.0
#include "backend_cuda/evaluate.h"

#include <dlfcn.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>

#include "fake_cuda/fake_cuda.h"
#include "ir/graph.h"
#include "runtime/eager.h"

namespace ostria {

Backend* CudaBackend();

namespace {

// What is compiled in a test stays in it: the fake compiler's libraries go with the process.
struct PrivateCache {
  std::string path;
  PrivateCache() : path(std::filesystem::temp_directory_path() / "ostria_cache.XXXXXX") {
    if (mkdtemp(path.data()) != nullptr) setenv("OSTRIA_CACHE_DIR", path.c_str(), 1);
  }
  ~PrivateCache() {
    std::error_code error;
    std::filesystem::remove_all(path, error);
  }
};
const PrivateCache private_cache;

// Device memory of one test: poisoned at first, between bytes that nobody may write, and freed at
// the end.
class DeviceBlocks {
 public:
  ~DeviceBlocks() {
    for (const Block& b : blocks_) {
      std::vector<unsigned char> bytes(b.bytes);
      try {
        CudaBackend()->CopyToHost(0, bytes.data(), b.data, b.bytes);
      } catch (const Error& e) {
        ADD_FAILURE() << e.what();
      }
      for (size_t i = 0; i < b.bytes; ++i) {
        if ((i >= b.begin && i < b.end) || bytes[i] == kPoison) continue;
        ADD_FAILURE() << "byte " << i << " was written, outside of " << b.begin << ".." << b.end;
        break;
      }
      CudaBackend()->Free(0, b.data, b.bytes);
    }
  }
  explicit DeviceBlocks(const Placement& placement) : placement_(placement) {}
  void* New(size_t bytes, int64_t element) {
    const size_t skew = static_cast<size_t>(placement_.skew * element);
    if (!placement_.joined) return Allocate(skew, bytes) + skew;
    if (region_ == nullptr) region_ = Allocate(0, kRegionBytes);
    std::byte* p = region_ + skew;
    region_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return p;
  }

 private:
  struct Block {
    std::byte* data;
    size_t bytes, begin, end;
  };
  static constexpr size_t kRegionBytes = 4 << 20;
  static constexpr unsigned char kPoison = 0xff;  // NaN, whatever the type

  // Gaps of several widths, so that blocks in order are no region of variables.
  std::byte* Allocate(size_t begin, size_t bytes) {
    const size_t all = begin + bytes + 256 * (1 + blocks_.size() % 3);
    const std::vector<unsigned char> poison(all, kPoison);
    auto* p = static_cast<std::byte*>(CudaBackend()->Allocate(0, all));
    CudaBackend()->CopyToDevice(0, p, poison.data(), all);
    blocks_.push_back({p, all, begin, begin + bytes});
    return p;
  }
  const Placement& placement_;
  std::byte* region_ = nullptr;
  std::vector<Block> blocks_;
};

double At(const Tensor& t, int64_t i) {
  return DispatchDType(t.dtype(), [&]<class T>(T*) {
    if constexpr (std::is_arithmetic_v<T>) {
      return static_cast<double>(t.data<T>()[i]);
    } else {
      return static_cast<double>(static_cast<float>(t.data<T>()[i]));
    }
  });
}

}  // namespace

DeviceProps Sm90() {
  return {.kind = DeviceKind::kCuda,
          .name = "cuda:sm_90",
          .compute_capability = 90,
          .multiprocessors = 132,
          .shared_bytes = 232448,
          .l2_bytes = 52428800};
}

std::vector<Tensor> EvaluateOnCuda(const OpDef& op, const std::vector<Attr>& attrs,
                                   const std::vector<Tensor>& inputs, std::string_view impl) {
  return EvaluateOnCuda(op, attrs, inputs, Placement{.impl = impl});
}

std::vector<Tensor> EvaluateOnCuda(const OpDef& op, const std::vector<Attr>& attrs,
                                   const std::vector<Tensor>& inputs, const Placement& placement) {
  const std::string_view impl = placement.impl;
  Graph g;
  std::vector<Value> operands;
  std::vector<MemDesc> in, out;
  for (const Tensor& t : inputs) {
    operands.push_back(g.AddInput(StrCat("x", operands.size()), {t.dtype(), t.shape()}, 0));
    in.push_back(MemDesc::Dense(t.dtype(), t.shape()));
  }
  const NodeId n = g.AddNode(op, operands, attrs, 0);
  for (int i = 0; i < g.num_results(n); ++i) {
    const ValueType& t = g.type(g.result(n, i));
    out.push_back(MemDesc::Dense(t.dtype, t.shape));
  }
  const NodeDesc desc{&op, g.attrs(n), in, out, &placement.device};
  std::string reasons;
  for (const KernelDef& k : CudaBackend()->Kernels()) {
    if (k.op != &op || (!impl.empty() && k.impl != impl)) continue;
    const Support support = k.supports(desc);
    if (!support.ok) {
      reasons += StrCat("\n", k.impl, ": ", support.reason);
      continue;
    }
    const auto stream = CudaBackend()->MakeStream(0);
    const std::shared_ptr<const KernelState> plan = k.prepare(desc);
    std::unique_ptr<KernelState> bound;
    if (k.bind != nullptr) bound = k.bind(plan, {*stream, 7});
    const Placement aligned;
    DeviceBlocks blocks(placement);
    std::vector<void*> ptrs;
    for (const Tensor& t : inputs) {
      ptrs.push_back(blocks.New(static_cast<size_t>(t.bytes()), SizeOf(t.dtype())));
      CudaBackend()->CopyToDevice(0, ptrs.back(), t.raw(), static_cast<size_t>(t.bytes()));
    }
    std::vector<Tensor> results;
    std::vector<bool> taken(inputs.size());
    for (const MemDesc& m : out) {
      const auto number = static_cast<int>(results.size());
      void* shared = nullptr;
      for (size_t i = 0; placement.in_place && k.alias_ok != nullptr && i < in.size(); ++i) {
        if (shared != nullptr || taken[i] || in[i].bytes() != m.bytes()) continue;
        if (!k.alias_ok(desc, number, static_cast<int>(i))) continue;
        shared = ptrs[i];
        taken[i] = true;
      }
      ptrs.push_back(
          shared != nullptr ? shared : blocks.New(static_cast<size_t>(m.bytes()), SizeOf(m.dtype)));
      results.push_back(Tensor::Empty(m.dtype, m.shape()));
    }
    DeviceBlocks workspace(aligned);
    ptrs.push_back(workspace.New(static_cast<size_t>(plan->workspace_bytes), 1));
    k.launch(bound != nullptr ? *bound : *plan, ptrs.data());
    bound.reset();  // an executable may be gone when its work runs, and others have its memory
    std::vector<Tensor> others(64);
    for (Tensor& t : others) t = Tensor::Scalar(DType::kFloat32, 1e30);
    stream->Synchronize();
    for (size_t i = 0; i < results.size(); ++i) {
      CudaBackend()->CopyToHost(0, results[i].raw(), ptrs[inputs.size() + i],
                                static_cast<size_t>(results[i].bytes()));
    }
    return results;
  }
  ADD_FAILURE() << op.name << ": no implementation" << reasons;
  return {};
}

DataError TakeDataError() { return CudaBackend()->MakeStream(0)->TakeDataError(); }

namespace {

decltype(&fake_cuda_count) CounterOfFake() {
  const char* folder = std::getenv("OSTRIA_CUDA_LIBRARIES");
  const std::string path = StrCat(folder == nullptr ? "" : folder, "/libcuda.so.1");
  void* library = dlopen(path.c_str(), RTLD_NOW);
  if (library == nullptr) return nullptr;
  return reinterpret_cast<decltype(&fake_cuda_count)>(dlsym(library, "fake_cuda_count"));
}

}  // namespace

bool OnFakeDriver() { return CounterOfFake() != nullptr; }

int64_t DriverCalls(const char* function) {
  const auto count = CounterOfFake();
  return count == nullptr ? 0 : count(function);
}

std::vector<Tensor> EvaluateOnCpu(const OpDef& op, const std::vector<Attr>& attrs,
                                  const std::vector<Tensor>& inputs) {
  std::vector<Tensor> outputs;
  RunEager(op, inputs, attrs, &outputs);
  return outputs;
}

void ExpectPlacesDoNotMatter(const OpDef& op, const std::vector<Attr>& attrs,
                             const std::vector<Tensor>& inputs, double skewed) {
  const auto want = EvaluateOnCuda(op, attrs, inputs);
  for (const Placement& p : {Placement{}, Placement{.in_place = true}, Placement{.skew = 1},
                             Placement{.skew = 3, .in_place = true}}) {
    const auto got = EvaluateOnCuda(op, attrs, inputs, p);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) ExpectClose(got[i], want[i], p.skew == 0 ? 0 : skewed);
  }
}

Tensor RandomTensor(DType dtype, const Shape& shape, double low, double high, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> draw(low, high);
  Tensor t = Tensor::Empty(dtype, shape);
  for (int64_t i = 0; i < t.numel(); ++i) {
    const double x = IsFloat(dtype) ? draw(random) : std::floor(draw(random));
    DispatchDType(dtype, [&]<class T>(T*) {
      if constexpr (std::is_arithmetic_v<T>) {
        t.data<T>()[i] = static_cast<T>(x);
      } else {
        t.data<T>()[i] = T(static_cast<float>(x));
      }
    });
  }
  return t;
}

void ExpectClose(const Tensor& got, const Tensor& want, double tolerance) {
  ASSERT_EQ(got.dtype(), want.dtype());
  ASSERT_TRUE(got.shape() == want.shape());
  if (tolerance == 0) {
    EXPECT_EQ(std::memcmp(got.raw(), want.raw(), static_cast<size_t>(want.bytes())), 0);
  }
  for (int64_t i = 0; i < want.numel(); ++i) {
    const double a = At(got, i), b = At(want, i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    ASSERT_LE(std::abs(a - b), tolerance * (1 + std::abs(b)))
        << "element " << i << ": " << a << " for " << b;
  }
}

}  // namespace ostria
