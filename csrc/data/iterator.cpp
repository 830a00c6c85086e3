// SPDX-License-Identifier: Apache-2.0
#include <chrono>

#include "data/stage.h"

namespace ostria::data {
namespace {

constexpr std::string_view kMagic = "ostria-data 1";

void DescribeTree(const Dataset& dataset, std::vector<std::string>* out) {
  for (const auto& input : dataset.inputs()) DescribeTree(*input, out);
  out->push_back(dataset.Describe());
}

std::vector<std::string> DescribeTree(const Dataset& dataset) {
  std::vector<std::string> lines;
  DescribeTree(dataset, &lines);
  return lines;
}

/// The lines before the position proper; `text` is left at it.
std::vector<std::string> TakeHeader(std::string_view* text) {
  const auto line = [text] {
    const size_t end = text->find('\n');
    if (end == std::string_view::npos) {
      Fail(ErrorCode::kDataCorruption,
           "the saved position of the input pipeline is damaged: "
           "its text ends too early; use another checkpoint");
    }
    std::string_view found = text->substr(0, end);
    text->remove_prefix(end + 1);
    return found;
  };
  if (const std::string_view magic = line(); magic != kMagic) {
    Fail(ErrorCode::kDataCorruption,
         "this is not the saved position of an input pipeline: it begins with '",
         magic.substr(0, 40), "'; '", kMagic, "' was expected");
  }
  std::vector<std::string> stages;
  for (std::string_view found = line(); !found.empty(); found = line()) stages.emplace_back(found);
  return stages;
}

void CheckSame(const std::vector<std::string>& saved, const std::vector<std::string>& here) {
  const size_t n = std::max(saved.size(), here.size());
  for (size_t i = 0; i < n; ++i) {
    const std::string a = i < saved.size() ? saved[i] : "missing";
    const std::string b = i < here.size() ? here[i] : "missing";
    if (a == b) continue;
    Fail(ErrorCode::kInvalidArgument,
         "restore: the position was saved by another input pipeline: stage ", i + 1, " of it is ",
         a, ", here it is ", b,
         "; build the pipeline as it was, or start the input from its beginning");
  }
}

}  // namespace

Iterator::Iterator(DatasetPtr dataset)
    : dataset_(std::move(dataset)), stage_(dataset_->MakeStage()) {}
Iterator::~Iterator() = default;

bool Iterator::Next(Element* out) {
  std::lock_guard lock(mutex_);
  const auto start = std::chrono::steady_clock::now();
  const auto count_wait = [&] {
    wait_ns_.fetch_add(std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count(),
                       std::memory_order_relaxed);
  };
  if (!failure_.empty()) {
    Fail(ErrorCode::kInvalidArgument, "the input failed before (", failure_,
         "); restore a position, or make a new iterator");
  }
  try {
    const bool more = stage_->Next(out);
    count_wait();
    if (more) elements_.fetch_add(1, std::memory_order_relaxed);
    return more;
  } catch (const std::exception& e) {
    count_wait();
    if (!stage_->exact_after_error()) failure_ = StrCat("", e.what());
    throw;
  }
}

int64_t Iterator::ahead_nanoseconds() const { return stage_->ahead_nanoseconds(); }

std::string Iterator::SaveState() const {
  std::lock_guard lock(mutex_);
  if (!failure_.empty()) {
    Fail(ErrorCode::kInvalidArgument, "the position of an input that failed cannot be saved (",
         failure_, "); save before the failure, or end the pipeline with prefetch, which keeps it");
  }
  std::string text = StrCat(kMagic, "\n");
  for (const std::string& stage : DescribeTree(*dataset_)) text += stage + "\n";
  text += "\n";
  StateWriter writer;
  stage_->Save(writer);
  return text + writer.Take();
}

void Iterator::RestoreState(const std::string& text) {
  std::lock_guard lock(mutex_);
  std::string_view rest = text;
  CheckSame(TakeHeader(&rest), DescribeTree(*dataset_));
  StateReader reader(rest);
  failure_ = "restoring a position did not succeed";
  stage_->Restore(reader);
  if (!reader.AtEnd()) {
    Fail(ErrorCode::kDataCorruption,
         "the saved position of the input pipeline is damaged: "
         "there is more text than a position has; use another checkpoint");
  }
  failure_.clear();
}

}  // namespace ostria::data
