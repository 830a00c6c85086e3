// SPDX-License-Identifier: Apache-2.0
// What the files of the fake driver share. One lock guards all of it, work runs under it, so that
// any thread may call anything.
#pragma once

#include <cuda.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "fake_cuda/enqueue.h"
#include "fake_cuda/fake_cuda.h"
#include "fake_cuda/interpreted.h"

namespace fake_cuda {

/// One piece of work. It is ready when all that it comes after is done.
struct Op {
  std::function<void()> run;  // empty: a point in a stream
  Gate gate;                  // empty: it may run once it is ready
  int64_t ticket = -1;        // what the gate remembers of it
  int device = 0;
  bool done = false;
  std::chrono::steady_clock::time_point at;  // when it was done
  int waiting = 0;                           // for so many
  std::vector<std::shared_ptr<Op>> before, next;
};
using OpPtr = std::shared_ptr<Op>;

struct Node {
  std::function<void()> run;
  Gate gate;
  std::vector<size_t> after;
};

/// A capture in progress; streams and events of it share it.
struct Capture {
  std::vector<Node> nodes;
  std::shared_ptr<CUgraph_st> graph;  // what the graph is called meanwhile
  CUgraph target = nullptr;           // the body of a loop, where it is captured
  CUstream origin = nullptr;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::thread::id thread;
  bool invalid = false;
  std::vector<CUstream> streams;  // that take part
};

struct Range {
  size_t bytes = 0;
  int device = -1;  // -1: pinned memory of the host
  int reservation = 0;
  bool managed = false;  // takes nothing of the device
};

}  // namespace fake_cuda

// The types that the driver's interface only declares.
struct CUctx_st {
  int device = 0;
};
struct CUmod_st {
  void* library = nullptr;  // of generated code, opened by the fake compiler; nullptr: our own
  std::shared_ptr<const fake_cuda::InterpretedLoops>
      loops;  // of generated code that is interpreted
  int device = 0;
};
struct CUfunc_st {
  std::string name;
  ostria::kernels::host::Body body = nullptr;
  std::shared_ptr<const fake_cuda::InterpretedLoops> loops;  // it is loops->at(name)
  int device = 0;
  int max_dynamic_shared = 48 << 10;
};
struct CUgraph_st {
  std::vector<fake_cuda::Node> nodes;
  fake_cuda::Capture* capture = nullptr;  // nodes are added to this one
};
struct CUgraphExec_st {
  std::vector<fake_cuda::Node> nodes;
  fake_cuda::OpPtr last;  // launches of one graph follow each other
};
struct CUstream_st {
  int device = 0;
  fake_cuda::OpPtr last;
  std::shared_ptr<fake_cuda::Capture> capture;
  std::vector<size_t> tail;  // the nodes that the next one of a capture comes after
};
struct CUevent_st {
  int device = 0;
  fake_cuda::OpPtr op;
  std::shared_ptr<fake_cuda::Capture> capture;
  std::vector<size_t> tail;
};

namespace fake_cuda {

constexpr int kMaxDevices = 32;

struct State {
  std::recursive_mutex mutex;
  std::map<std::string, int64_t> counts, since;  // since: the failure was set
  std::string fail_function;
  int64_t fail_at = 0;
  CUresult fail_code = CUDA_SUCCESS;
  std::mt19937_64 random{0};
  int num_devices = 2;
  int version = 13000;
  int capability = 90;
  bool vmm = true;
  int pid = 0;  // of the process that called cuInit
  uint64_t memory = uint64_t{8} << 30;
  int64_t used[kMaxDevices] = {};  // since `memory` was set, less what was freed
  CUctx_st contexts[kMaxDevices];
  CUstream_st null_streams[kMaxDevices];
  CUresult sticky = CUDA_SUCCESS;
  std::string fault;
  std::map<uint64_t, unsigned> conditions;  // of graphs, by handle
  std::string log, last_log;  // of work that ran: since it was asked for, and what was answered
  std::vector<OpPtr> ready;
  std::vector<std::shared_ptr<Capture>> captures;
  std::map<uintptr_t, Range> live, dead;  // by first address

  State();
};

State& TheState();

/// The head of every function of the driver: takes the lock, counts, and says whether to go on.
class Call {
 public:
  enum Kind {
    kAny,
    kNeedsContext,
    kUnsafe  // needs a context, and is refused in a thread that captures
  };
  explicit Call(const char* function, Kind kind = kAny);
  CUresult result() const { return result_; }
  State* operator->() const { return &TheState(); }

 private:
  std::unique_lock<std::recursive_mutex> lock_;
  CUresult result_ = CUDA_SUCCESS;
};

/// Opens a function of the driver; `call` is then the state, locked.
#define FAKE_CALL(kind)                               \
  const ::fake_cuda::Call call(__func__, Call::kind); \
  if (call.result() != CUDA_SUCCESS) return call.result()

/// The stream, where null and the names of default streams are that of the current context.
CUstream StreamOf(CUstream stream);
void* P(CUdeviceptr p);

/// Work of `device` after `before`; what is done already is left out.
OpPtr Submit(int device, std::function<void()> run, const std::vector<OpPtr>& before,
             Gate gate = nullptr);
/// Runs ready work in an order drawn anew, until `op` is done. Where gates hold all that is ready
/// back, other threads get the lock meanwhile.
void RunUntil(const OpPtr& op);
/// Runs all work of a device (-1: of all).
void RunAll(int device);
/// Begins a capture; with `target` what is captured becomes the body of a loop.
CUresult BeginCapture(CUstream stream, CUstreamCaptureMode mode, CUgraph target);
/// Captures end without a graph when something that they forbid was called.
void Invalidate(Capture* capture);
/// Whether no 8-byte word of a kernel's parameters points into memory that was freed, or of another
/// device.
bool CheckParams(const std::string& kernel, const void* params, size_t bytes, int device);

}  // namespace fake_cuda
