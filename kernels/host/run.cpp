// SPDX-License-Identifier: Apache-2.0
// Runs blocks on the host. Each thread of a block is a fiber; one that waits gives way to the next
// in an order drawn anew after every barrier. Fibers are made with ucontext and switched with
// _setjmp and _longjmp, which make no system call.
#include <ucontext.h>

#include <algorithm>
#include <csetjmp>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/host/shim.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace ostria::kernels::host {
namespace {

constexpr size_t kStackBytes = 128 << 10;

struct Kernel {
  size_t params_bytes;
  int max_threads;
  Body body;
};
std::unordered_map<std::string, Kernel>& Kernels() {
  static auto* kernels = new std::unordered_map<std::string, Kernel>;
  return *kernels;
}

enum class State : uint8_t { kReady, kAtBlock, kAtWarp, kDone };

struct Fiber {
  ucontext_t context;
  jmp_buf at;
  bool started = false;
  State state = State::kReady;
  unsigned mask = 0;  // kAtWarp: the lanes that it waits for
  uint3 thread{};
  std::unique_ptr<std::byte[]> stack;
  void* fake_stack = nullptr;  // the address sanitizer's
};

// The block that runs in this thread of the host.
struct Block {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<uint64_t> slots;  // what lanes exchange
  std::vector<std::byte> shared;
  size_t count = 0;
  Fiber* running = nullptr;
  jmp_buf scheduler;
  Body body = nullptr;
  const void* params = nullptr;
  std::mt19937_64 random{0};
#if defined(__SANITIZE_ADDRESS__)
  void* scheduler_fake_stack = nullptr;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_bytes = 0;
#endif
};

Block& TheBlock() {
  thread_local Block block;
  return block;
}

void Enter(Fiber* f) {
  Block& b = TheBlock();
  b.running = f;
  threadIdx = f->thread;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&b.scheduler_fake_stack, f->stack.get(), kStackBytes);
#endif
  if (_setjmp(b.scheduler) == 0) {
    if (f->started) _longjmp(f->at, 1);
    f->started = true;
    setcontext(&f->context);
  }
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(b.scheduler_fake_stack, nullptr, nullptr);
#endif
}

void Leave(Fiber* f, bool for_good) {
  Block& b = TheBlock();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &f->fake_stack, b.scheduler_stack,
                                 b.scheduler_stack_bytes);
#endif
  if (for_good || _setjmp(f->at) == 0) _longjmp(b.scheduler, 1);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(f->fake_stack, &b.scheduler_stack, &b.scheduler_stack_bytes);
#endif
}

void FiberMain() {
  Block& b = TheBlock();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &b.scheduler_stack, &b.scheduler_stack_bytes);
#endif
  Fiber* const self = b.running;
  b.body(b.params);
  self->state = State::kDone;
  Leave(self, true);
}

void Prepare(Fiber* f, size_t index, dim3 block) {
  if (f->stack == nullptr) f->stack = std::make_unique<std::byte[]>(kStackBytes);
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = f->stack.get();
  f->context.uc_stack.ss_size = kStackBytes;
  f->context.uc_link = nullptr;
  makecontext(&f->context, FiberMain, 0);
  f->started = false;
  f->state = State::kReady;
  f->thread = {static_cast<unsigned>(index % block.x),
               static_cast<unsigned>(index / block.x % block.y),
               static_cast<unsigned>(index / block.x / block.y)};
}

// Lets through the warps whose lanes have all come, and the block when nobody is left elsewhere.
// Whether somebody may run now.
bool Release(Block& b) {
  bool ready = false, all_at_block = true;
  for (size_t first = 0; first < b.count; first += 32) {
    unsigned here = 0;
    for (size_t i = first; i < std::min(first + 32, b.count); ++i) {
      if (b.fibers[i]->state == State::kAtWarp) here |= 1u << (i - first);
    }
    for (size_t i = first; i < std::min(first + 32, b.count); ++i) {
      Fiber& f = *b.fibers[i];
      if (f.state == State::kAtWarp && (here & f.mask) == f.mask) {
        for (size_t k = first; k < std::min(first + 32, b.count); ++k) {
          if ((f.mask >> (k - first) & 1) != 0) b.fibers[k]->state = State::kReady;
        }
        here &= ~f.mask;
      }
    }
  }
  for (size_t i = 0; i < b.count; ++i) {
    const State s = b.fibers[i]->state;
    ready |= s == State::kReady;
    all_at_block &= s == State::kAtBlock || s == State::kDone;
  }
  if (ready || !all_at_block) return ready;
  for (size_t i = 0; i < b.count; ++i) {
    if (b.fibers[i]->state == State::kAtBlock) {
      b.fibers[i]->state = State::kReady;
      ready = true;
    }
  }
  return ready;
}

void RunBlock(Block& b, dim3 block) {
  for (size_t i = 0; i < b.count; ++i) Prepare(b.fibers[i].get(), i, block);
  std::vector<Fiber*> order;
  do {
    order.clear();
    for (size_t i = 0; i < b.count; ++i) {
      if (b.fibers[i]->state == State::kReady) order.push_back(b.fibers[i].get());
    }
    // A turn of the list and a direction: cheap, and no order is relied upon.
    const uint64_t draw = b.random();
    const size_t turn = draw % order.size();
    for (size_t i = 0; i < order.size(); ++i) {
      const size_t at = (i + turn) % order.size();
      Enter(order[(draw >> 63) != 0 ? at : order.size() - 1 - at]);
    }
  } while (Release(b));
  for (size_t i = 0; i < b.count; ++i) {
    if (b.fibers[i]->state != State::kDone) {
      throw std::logic_error("kernel: some threads wait at a barrier that others never reach");
    }
  }
}

void Wait(State state, unsigned mask) {
  Fiber* const f = TheBlock().running;
  f->state = state;
  f->mask = mask;
  Leave(f, false);
}

size_t Index() {
  return threadIdx.x + blockDim.x * (threadIdx.y + size_t{blockDim.y} * threadIdx.z);
}

unsigned LiveLanes(unsigned mask) {  // lanes that do not exist are not waited for
  const size_t first = Index() & ~size_t{31}, left = TheBlock().count - first;
  return left >= 32 ? mask : mask & ((1u << left) - 1);
}

}  // namespace

Registered::Registered(const char* name, size_t params_bytes, int max_threads, Body body) {
  Kernels()[name] = {params_bytes, max_threads, body};
}

bool Knows(const char* name) { return Kernels().contains(name); }

void SetSeed(uint64_t seed) { TheBlock().random.seed(seed); }

void LaunchBody(Body body, dim3 grid, dim3 block, size_t shared_bytes, const void* params) {
  Block& b = TheBlock();
  b.body = body;
  b.params = params;
  b.count = size_t{block.x} * block.y * block.z;
  while (b.fibers.size() < b.count) b.fibers.push_back(std::make_unique<Fiber>());
  b.slots.resize(b.count);
  gridDim = grid;
  blockDim = block;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z, turn = b.random() % blocks;
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t at = (i + turn) % blocks;
    blockIdx = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
                static_cast<unsigned>(at / grid.x / grid.y)};
    b.shared.assign(shared_bytes, std::byte{0xff});  // NaN, whatever the type
    RunBlock(b, block);
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

void* DynamicShared() { return TheBlock().shared.data(); }
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
