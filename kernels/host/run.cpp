// SPDX-License-Identifier: Apache-2.0
// Runs blocks on the host. A fiber runs one thread of the block after the other until one of them
// waits; then the next fiber goes on, so a kernel without barriers needs one, and switches cost
// only where threads wait. The order is drawn anew after every barrier. Blocks of a cluster run
// together, their threads numbered through, each block with shared memory of its own.
#include <algorithm>
#include <exception>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/host/cluster.h"
#include "kernels/host/switch.h"

namespace ostria::kernels::host {
namespace {

struct Kernel {
  size_t params_bytes;
  int max_threads;
  Body body;
};
std::unordered_map<std::string, Kernel>& Kernels() {
  static auto* kernels = new std::unordered_map<std::string, Kernel>;
  return *kernels;
}

// Those of more than one block; others are not there.
std::unordered_map<Body, unsigned>& Clusters() {
  static auto* clusters = new std::unordered_map<Body, unsigned>;
  return *clusters;
}

enum class State : uint8_t { kReady, kAtBlock, kAtWarp, kAtCluster, kDone };

struct Thread {
  State state = State::kReady;
  unsigned mask = 0;       // kAtWarp: the lanes that it waits for
  Fiber* fiber = nullptr;  // where it waits
};

// The block that runs in this thread of the host, or several of a cluster.
struct Block {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> idle;
  std::vector<Thread> threads;
  std::vector<uint64_t> slots;    // what lanes exchange
  std::vector<std::byte> shared;  // of one block after the other
  size_t shared_bytes = 0;        // from one to the next
  dim3 size;
  size_t each = 0;     // threads of a block
  size_t count = 0;    // of all blocks that run
  uint3 first{};       // of those blocks
  size_t current = 0;  // the thread that runs now
  size_t started = 0, turn = 0;
  bool backwards = false;
  Fiber* running = nullptr;
  Scheduler scheduler;
  Body body = nullptr;
  const void* params = nullptr;
  std::exception_ptr thrown;
  std::mt19937_64 random{0};
};

Block& TheBlock() {
  thread_local Block block;
  return block;
}

// Makes thread `index` the one whose numbers device code reads.
void Become(Block& b, size_t index) {
  b.current = index;
  const size_t thread = index % b.each;
  threadIdx = {static_cast<unsigned>(thread % b.size.x),
               static_cast<unsigned>(thread / b.size.x % b.size.y),
               static_cast<unsigned>(thread / b.size.x / b.size.y)};
  blockIdx = {b.first.x + static_cast<unsigned>(index / b.each), b.first.y, b.first.z};
}

// The life of a fiber: in every block, threads that nobody has begun.
void FiberMain() {
  for (;;) {
    Block& b = TheBlock();
    while (b.started < b.count && b.thrown == nullptr) {
      const size_t at = (b.started++ + b.turn) % b.count;
      Become(b, b.backwards ? b.count - 1 - at : at);
      try {
        b.body(b.params);
      } catch (...) {
        b.thrown = std::current_exception();
      }
      b.threads[b.current].state = State::kDone;
    }
    Fiber* const self = b.running;
    b.idle.push_back(self);
    self->SwitchTo(b.scheduler);
  }
}

void Enter(Block& b, Fiber* f) {
  b.running = f;
  b.scheduler.SwitchTo(*f);
  if (b.thrown == nullptr) return;
  // The other threads of the block wait for ever: so do their stacks, which nobody uses again.
  b.fibers.clear();
  b.idle.clear();
  std::rethrow_exception(std::exchange(b.thrown, nullptr));
}

// Lets threads [begin, end) through that wait in `state`, when none of them is elsewhere.
void ReleaseAll(Block& b, size_t begin, size_t end, State state) {
  for (size_t i = begin; i < end; ++i) {
    const State s = b.threads[i].state;
    if (s != state && s != State::kDone) return;
  }
  for (size_t i = begin; i < end; ++i) {
    if (b.threads[i].state == state) b.threads[i].state = State::kReady;
  }
}

// Lets through the warps whose lanes have all come, and blocks and the cluster when nobody of them
// is left elsewhere. Whether somebody may run now.
bool Release(Block& b) {
  for (size_t first = 0; first < b.count; first += 32) {
    const size_t lanes = std::min<size_t>(32, b.count - first);
    unsigned here = 0;
    for (size_t i = 0; i < lanes; ++i) {
      if (b.threads[first + i].state == State::kAtWarp) here |= 1u << i;
    }
    for (size_t i = 0; i < lanes && here != 0; ++i) {
      const Thread& t = b.threads[first + i];
      if (t.state != State::kAtWarp || (here & t.mask) != t.mask) continue;
      const unsigned mask = t.mask;
      for (size_t k = 0; k < lanes; ++k) {
        if ((mask >> k & 1) != 0) b.threads[first + k].state = State::kReady;
      }
      here &= ~mask;
    }
  }
  for (size_t i = 0; i < b.count; i += b.each) ReleaseAll(b, i, i + b.each, State::kAtBlock);
  ReleaseAll(b, 0, b.count, State::kAtCluster);
  return std::any_of(b.threads.begin(), b.threads.end(),
                     [](const Thread& t) { return t.state == State::kReady; });
}

// A turn of the list and a direction: cheap, and no order is relied upon.
void DrawOrder(Block& b, size_t n) {
  const uint64_t draw = b.random();
  b.turn = draw % n;
  b.backwards = (draw >> 63) != 0;
}

void RunBlock(Block& b) {
  b.threads.assign(b.count, Thread{});
  b.started = 0;
  DrawOrder(b, b.count);
  while (b.started < b.count) {
    if (b.idle.empty()) {
      b.fibers.push_back(std::make_unique<Fiber>(FiberMain));
      b.idle.push_back(b.fibers.back().get());
    }
    Fiber* const next = b.idle.back();
    b.idle.pop_back();
    Enter(b, next);
  }
  std::vector<size_t> order;
  while (Release(b)) {
    order.clear();
    for (size_t i = 0; i < b.count; ++i) {
      if (b.threads[i].state == State::kReady) order.push_back(i);
    }
    DrawOrder(b, order.size());
    for (size_t i = 0; i < order.size(); ++i) {
      const size_t at = (i + b.turn) % order.size();
      const size_t thread = order[b.backwards ? order.size() - 1 - at : at];
      Become(b, thread);
      Enter(b, b.threads[thread].fiber);
    }
  }
  for (const Thread& t : b.threads) {
    if (t.state == State::kDone) continue;
    b.fibers.clear();
    b.idle.clear();
    throw std::logic_error("kernel: some threads wait at a barrier that others never reach");
  }
}

void Wait(State state, unsigned mask) {
  Block& b = TheBlock();
  b.threads[b.current] = {state, mask, b.running};
  b.running->SwitchTo(b.scheduler);
}

size_t Index() { return TheBlock().current; }

unsigned LiveLanes(unsigned mask) {  // lanes that do not exist are not waited for
  const size_t first = Index() & ~size_t{31}, left = TheBlock().count - first;
  return left >= 32 ? mask : mask & ((1u << left) - 1);
}

}  // namespace

Registered::Registered(const char* name, size_t params_bytes, int max_threads, Body body) {
  Kernels()[name] = {params_bytes, max_threads, body};
}

bool Knows(const char* name) { return Kernels().contains(name); }

int MaxThreads(const char* name) {
  const auto it = Kernels().find(name);
  return it == Kernels().end() ? 0 : it->second.max_threads;
}

void SetSeed(uint64_t seed) { TheBlock().random.seed(seed); }

Cluster::Cluster(Body body, unsigned blocks) { Clusters()[body] = blocks; }

void LaunchBody(Body body, dim3 grid, dim3 block, size_t shared_bytes, const void* params) {
  const auto known = Clusters().find(body);
  const unsigned cluster = known == Clusters().end() ? 1 : known->second;
  Block& b = TheBlock();
  b.body = body;
  b.params = params;
  b.size = block;
  b.each = size_t{block.x} * block.y * block.z;
  b.count = b.each * cluster;
  if (cluster > 1 && (b.each % 32 != 0 || grid.x % cluster != 0)) {
    throw std::logic_error(
        "kernel: blocks of a cluster are whole warps, and clusters fill the grid");
  }
  b.slots.resize(b.count);
  b.shared_bytes = (shared_bytes + 15) / 16 * 16;
  gridDim = grid;
  blockDim = block;
  const uint64_t width = grid.x / cluster;
  const uint64_t clusters = width * grid.y * grid.z, turn = b.random() % clusters;
  for (uint64_t i = 0; i < clusters; ++i) {
    const uint64_t at = (i + turn) % clusters;
    b.first = {static_cast<unsigned>(at % width) * cluster,
               static_cast<unsigned>(at / width % grid.y),
               static_cast<unsigned>(at / width / grid.y)};
    b.shared.assign(b.shared_bytes * cluster, std::byte{0xff});  // NaN, whatever the type
    RunBlock(b);
  }
}

void Launch(const char* name, dim3 grid, dim3 block, size_t shared_bytes, const void* params,
            size_t params_bytes) {
  const auto it = Kernels().find(name);
  if (it == Kernels().end()) throw std::logic_error(std::string("kernel: no ") + name);
  const Kernel& k = it->second;
  if (k.params_bytes != params_bytes) {
    throw std::logic_error(std::string("kernel: parameters of another size for ") + name);
  }
  if (size_t{block.x} * block.y * block.z > static_cast<size_t>(k.max_threads)) {
    throw std::logic_error(std::string("kernel: too many threads for ") + name);
  }
  LaunchBody(k.body, grid, block, shared_bytes, params);
}

namespace {
ConditionSetter condition_setter = nullptr;
}  // namespace

void OnSetCondition(ConditionSetter setter) { condition_setter = setter; }
void SetCondition(uint64_t handle, unsigned value) {
  if (condition_setter == nullptr) throw std::runtime_error("there is no graph with conditions");
  condition_setter(handle, value);
}

void* DynamicShared() {
  Block& b = TheBlock();
  return b.shared.data() + b.current / b.each * b.shared_bytes;
}
const void* SharedOf(unsigned rank, const void* at) {
  const Block& b = TheBlock();
  const auto* const own = static_cast<const std::byte*>(DynamicShared());
  const auto offset = static_cast<size_t>(static_cast<const std::byte*>(at) - own);
  const size_t first = rank * b.each;
  if (offset >= b.shared_bytes || first >= b.count) {
    throw std::logic_error("kernel: no shared memory of this cluster");
  }
  const auto done = [](const Thread& t) { return t.state == State::kDone; };
  const auto begin = b.threads.begin() + static_cast<std::ptrdiff_t>(first);
  if (std::all_of(begin, begin + static_cast<std::ptrdiff_t>(b.each), done)) {
    throw std::logic_error("kernel: the block whose shared memory is read has ended");
  }
  return b.shared.data() + rank * b.shared_bytes + offset;
}
void SyncCluster() { Wait(State::kAtCluster, 0); }
void SyncThreads() { Wait(State::kAtBlock, 0); }
void SyncWarp(unsigned mask) { Wait(State::kAtWarp, LiveLanes(mask)); }
int Lane() { return static_cast<int>(Index() % 32); }

uint64_t Exchange(unsigned mask, uint64_t value, int from) {
  Block& b = TheBlock();
  const size_t self = Index(), other = (self & ~size_t{31}) + static_cast<size_t>(from & 31);
  b.slots[self] = value;
  SyncWarp(mask);
  const uint64_t got = other < b.count ? b.slots[other] : value;
  SyncWarp(mask);
  return got;
}

unsigned Ballot(unsigned mask, bool predicate) {
  Block& b = TheBlock();
  const size_t self = Index(), first = self & ~size_t{31};
  b.slots[self] = predicate ? 1 : 0;
  SyncWarp(mask);
  unsigned bits = 0;
  for (size_t i = first; i < std::min(first + 32, b.count); ++i) {
    if ((mask >> (i - first) & 1) != 0 && b.slots[i] != 0) bits |= 1u << (i - first);
  }
  SyncWarp(mask);
  return bits;
}

}  // namespace ostria::kernels::host
