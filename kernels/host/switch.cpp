// SPDX-License-Identifier: Apache-2.0
#include "kernels/host/switch.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

#if !defined(__x86_64__)
#error "kernels/host: switching stacks is written for x86-64"
#endif

// Pushes the registers that a call preserves, swaps stacks, pops those of the other one.
extern "C" void ostria_switch_stack(void** save, void* to);
asm(R"(
.pushsection .text
.globl ostria_switch_stack
.hidden ostria_switch_stack
.type ostria_switch_stack, @function
ostria_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size ostria_switch_stack, .-ostria_switch_stack
.popsection
)");

namespace ostria::kernels::host {
namespace {

constexpr size_t kGuardBytes = 4096, kStackBytes = 128 << 10;

// The fiber that is entered for the first time, and from where.
thread_local Fiber* beginning = nullptr;
thread_local Scheduler* beginner = nullptr;

}  // namespace

Fiber::Fiber(void (*main)()) : main_(main) {
  void* pages = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  mprotect(pages, kGuardBytes, PROT_NONE);  // a stack that is too small shows
  pages_ = static_cast<std::byte*>(pages);
  // As if Begin had been called and then switched away: six registers and where to return.
  // Stacks begin at different lines of a page, or they would share a few lines of the cache.
  static std::atomic<size_t> number = 0;
  auto* top = reinterpret_cast<uint64_t*>(pages_ + kGuardBytes + kStackBytes - number++ % 61 * 64);
  top[-2] = reinterpret_cast<uint64_t>(&Begin);
  at_ = top - 8;
#if defined(__SANITIZE_THREAD__)
  tsan_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(tsan_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(pages_, kGuardBytes + kStackBytes);  // frames that were left
#endif
  munmap(pages_, kGuardBytes + kStackBytes);
}

void Fiber::Begin() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &beginner->stack_, &beginner->stack_bytes_);
#endif
  beginning->main_();
}

void Scheduler::SwitchTo(Fiber& fiber) {
  beginning = &fiber;
  beginner = this;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fake_stack_, fiber.pages_ + kGuardBytes, kStackBytes);
#endif
#if defined(__SANITIZE_THREAD__)
  tsan_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(fiber.tsan_, 0);
#endif
  ostria_switch_stack(&at_, fiber.at_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
}

void Fiber::SwitchTo(Scheduler& scheduler) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fake_stack_, scheduler.stack_, scheduler.stack_bytes_);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(scheduler.tsan_, 0);
#endif
  ostria_switch_stack(&at_, scheduler.at_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, &scheduler.stack_, &scheduler.stack_bytes_);
#endif
}

}  // namespace ostria::kernels::host
