// SPDX-License-Identifier: Apache-2.0
#include "dist/wire.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ostria {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

std::string WaitKey(std::string_view prefix, int rank) { return StrCat(prefix, "/waits/", rank); }

}  // namespace

std::string AbortKey(std::string_view prefix) { return StrCat(prefix, "/abort"); }

void AbortWires(KeyValues& key_values, std::string_view prefix, const std::string& why) {
  const std::string key = AbortKey(prefix);
  try {
    if (!key_values.Get(key, milliseconds(0))) key_values.Set(key, why);
  } catch (const Error&) {  // the store is gone too; whoever keeps it says why
  }
}

Wire::Wire(int rank, int size, std::shared_ptr<KeyValues> key_values, std::string prefix,
           const GroupOptions& options)
    : timeout_(options.timeout),
      rank_(rank),
      size_(size),
      key_values_(std::move(key_values)),
      prefix_(std::move(prefix)),
      labels_(LabelsOf(options, size)),
      what_(prefix_.substr(prefix_.rfind('/') + 1)) {
  OSTRIA_CHECK(rank >= 0 && rank < size);
}

void Wire::set_timeout(milliseconds timeout) {
  std::lock_guard lock(mutex_);
  timeout_ = timeout;
}

milliseconds Wire::timeout() {
  std::lock_guard lock(mutex_);
  return timeout_;
}

void Wire::Begin(std::string_view what) {
  what_ = what;
  CheckPause();
  ThrowIfAborted();
}

void Wire::CheckPause() {
  const auto now = steady_clock::now();
  const bool paused = now - std::exchange(awake_, now) > timeout() / 2;
  if (!paused || aborted_) return;
  if (const std::string why = ReasonOfOthers(); !why.empty()) Abort(why);
}

std::string Wire::ReasonOfOthers() {
  try {
    return key_values_->Get(AbortKey(prefix_), milliseconds(0)).value_or("");
  } catch (const Error&) {
    return "";  // the store is gone too; whoever keeps it says why
  }
}

void Wire::Abort(const std::string& why) {
  const std::string earlier = ReasonOfOthers();
  if (earlier.empty()) {
    try {
      key_values_->Set(AbortKey(prefix_), why);
    } catch (const Error&) {
    }
  }
  std::lock_guard lock(mutex_);
  if (why_.empty()) why_ = earlier.empty() ? why : earlier;
  aborted_ = true;
  Wake();
}

void Wire::End(const std::string& why) {
  Abort(why);
  ThrowIfAborted();
  throw Error(ErrorCode::kDistributed, what_, why);
}

void Wire::NoteLongWait(int rank) { SayWait(std::to_string(rank)); }
void Wire::ForgetLongWait() { SayWait(""); }

void Wire::SayWait(const std::string& rank) {
  try {
    key_values_->Set(WaitKey(prefix_, rank_), rank);
  } catch (const Error&) {  // the store is gone too; whoever keeps it says why
  }
}

int Wire::CauseOf(int rank) {
  int cause = rank;
  try {
    for (int i = 0; i < size_; ++i) {
      const auto next = key_values_->Get(WaitKey(prefix_, cause), milliseconds(0));
      if (!next || next->empty()) return cause;
      cause = std::stoi(*next);
    }
  } catch (const Error&) {  // the store is gone too; whoever keeps it says why
  }
  return rank;  // they wait for each other
}

void Wire::EndLate(int rank) {
  End(StrCat(label(CauseOf(rank)), " did not come within ", timeout().count() / 1000.0, " s"));
}

void Wire::ThrowIfAborted() {
  if (!aborted_) return;
  std::lock_guard lock(mutex_);
  throw Error(ErrorCode::kDistributed, what_, why_);
}

// Before a library connects: it would say of whom it waits for an address, and not of all.
void Wire::WaitForAll(milliseconds join_timeout) {
  const auto key = [&](int r) { return StrCat(prefix_, "/here/", r); };
  const auto deadline = steady_clock::now() + join_timeout;
  key_values_->Set(key(rank_), "");
  for (int r = 0; r < size_; ++r) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
    if (key_values_->Get(key(r), std::max(left, milliseconds(0)))) continue;
    std::string missing;
    for (int m = r; m < size_; ++m) {
      if (key_values_->Get(key(m), milliseconds(0))) continue;
      missing += StrCat(missing.empty() ? "" : ", ", label(m));
    }
    End(StrCat(missing, " did not come within ", join_timeout.count() / 1000.0,
               " s; see the log of each"));
  }
}

}  // namespace ostria
