// SPDX-License-Identifier: Apache-2.0
// An engine of cuDNN's that was built without a fault and fails when it runs: the next one takes
// its place before a step is captured, and nobody tries the failing one again.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "backend/cuda/cudnn/plan.h"
#include "backend_cuda/evaluate.h"
#include "backend_cuda/fake.h"
#include "ops/ops.h"

namespace ostria {

Backend* CudaBackend();

namespace {

namespace fs = std::filesystem;

// An empty cache, and engines that fail while it lives.
class Failing {
 public:
  Failing() : path_(fs::temp_directory_path() / "ostria_failing_XXXXXX") {
    ::mkdtemp(path_.data());
    before_ = std::getenv("OSTRIA_CACHE_DIR");
    ::setenv("OSTRIA_CACHE_DIR", path_.c_str(), 1);
  }
  ~Failing() {
    ::unsetenv("OSTRIA_FAKE_CUDNN_FAILS");
    ::setenv("OSTRIA_CACHE_DIR", before_.c_str(), 1);
    fs::remove_all(path_);
  }
  Failing(const Failing&) = delete;
  Failing& operator=(const Failing&) = delete;
  void Engines(const char* engines) { ::setenv("OSTRIA_FAKE_CUDNN_FAILS", engines, 1); }
  std::string Record() const {
    std::ifstream in(path_ + "/cudnn.choices");
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  std::string path_, before_;
};

int64_t Failures() { return fake::Function<int64_t()>("fake_cudnn_failures")(); }

// A convolution of its own shape: what ran before in this process is not tried again.
struct Conv {
  Tensor x, w;
  std::vector<Attr> attrs = {std::vector<int64_t>{1}, std::vector<int64_t>{1, 1},
                             std::vector<int64_t>{1}, int64_t{1}};
  explicit Conv(int64_t size)
      : x(RandomTensor(DType::kFloat32, {2, size, 4}, -1, 1, 1)),
        w(RandomTensor(DType::kFloat32, {4, 3, 4}, -1, 1, 2)) {}
  std::string Detail() const {
    const DeviceProps device = Sm90();
    const MemDesc in[] = {MemDesc::Dense(x.dtype(), x.shape()),
                          MemDesc::Dense(w.dtype(), w.shape())};
    const NodeDesc node{&ops::kConv1d, attrs, in, {in, 1}, &device};  // as long as its input
    for (const KernelDef& k : CudaBackend()->Kernels()) {
      if (k.op == node.op && k.impl == "cudnn") return k.prepare(node)->detail;
    }
    return {};
  }
  void ExpectRight(std::string_view impl) const {
    ExpectClose(EvaluateOnCuda(ops::kConv1d, attrs, {x, w}, impl)[0],
                EvaluateOnCpu(ops::kConv1d, attrs, {x, w})[0], 1e-5);
  }
};

TEST(CudnnFailure, LeavesTheNodeToTheNextEngine) {
  if (!OnFakeDriver()) GTEST_SKIP() << "only the fake cuDNN fails when it is told to";
  Failing failing;
  failing.Engines("0");
  const Conv conv(20);
  const int64_t before = Failures();
  conv.ExpectRight("cudnn");
  EXPECT_EQ(Failures(), before + 1);
  EXPECT_NE(failing.Record().find("0 0 cuDNN: running a plan failed"), std::string::npos)
      << failing.Record();
  EXPECT_NE(failing.Record().find("this engine is to fail"), std::string::npos);
  // From the record, as another process does it.
  cuda::ForgetPlans();
  conv.ExpectRight("cudnn");
  EXPECT_EQ(Failures(), before + 1);
  EXPECT_NE(conv.Detail().find("engine 1, 1 offered (failed before: engine 0: "), std::string::npos)
      << conv.Detail();
}

TEST(CudnnFailure, OfAllEnginesLeavesTheNodeToOthers) {
  if (!OnFakeDriver()) GTEST_SKIP() << "only the fake cuDNN fails when it is told to";
  Failing failing;
  failing.Engines("0 1");
  const Conv conv(21);
  try {
    conv.ExpectRight("cudnn");
    ADD_FAILURE() << "no engine is left";
  } catch (const Error& e) {
    for (const char* part :
         {"engine 0: it failed when it ran: ", "engine 1: it failed when it ran: "})
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
  const int64_t before = Failures();
  conv.ExpectRight("");  // planned again: an implementation of our own
  EXPECT_EQ(Failures(), before);
  failing.Engines("");
  Conv(22).ExpectRight("cudnn");  // the process stays usable
}

TEST(CudnnFailure, InOnePlaceIsNoneInAnother) {
  if (!OnFakeDriver()) GTEST_SKIP() << "only the fake cuDNN fails when it is told to";
  Failing failing;
  failing.Engines("0");
  Conv(23).ExpectRight("cudnn");
  failing.Engines("");
  EXPECT_NE(Conv(24).Detail().find("engine 0, 2 offered"), std::string::npos);
}

}  // namespace
}  // namespace ostria
