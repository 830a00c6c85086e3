// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cache/nvrtc_cache.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "backend/cuda/cache/disk_cache.h"
#include "backend/cuda/codegen/codegen.h"
#include "backend/cuda/libraries/nvrtc.h"
#include "base/error.h"

namespace ostria::cuda {
namespace {

constexpr int64_t kMostPending = 4096;  // plans that are never bound must not pile up
constexpr size_t kPerSource = 16;       // kernels; what is read before them is paid for once
constexpr size_t kMostThreads = 16;

struct Compiled {
  std::string image, log;
  bool ok = false;
};

Compiled Compile(const std::string& source, int capability) {
  const NvrtcTable& nvrtc = Nvrtc();
  Compiled out;
  nvrtcProgram program = nullptr;
  CheckNvrtc(nvrtc.nvrtcCreateProgram(&program, source.c_str(), "loops.cu", 0, nullptr, nullptr),
             "making a program");
  const std::vector<std::string> options = NvrtcOptions(capability);
  std::vector<const char*> given;
  for (const std::string& o : options) given.push_back(o.c_str());
  const nvrtcResult result =
      nvrtc.nvrtcCompileProgram(program, static_cast<int>(given.size()), given.data());
  size_t bytes = 0;
  if (nvrtc.nvrtcGetProgramLogSize(program, &bytes) == NVRTC_SUCCESS && bytes > 1) {
    out.log.resize(bytes);
    nvrtc.nvrtcGetProgramLog(program, out.log.data());
  }
  if (result == NVRTC_SUCCESS && nvrtc.nvrtcGetCUBINSize(program, &bytes) == NVRTC_SUCCESS) {
    out.image.resize(bytes);
    out.ok = nvrtc.nvrtcGetCUBIN(program, out.image.data()) == NVRTC_SUCCESS;
  }
  nvrtc.nvrtcDestroyProgram(&program);
  return out;
}

// Everything but the text that a compiled kernel depends on.
std::string Circumstances(int capability) {
  int major = 0, minor = 0;
  CheckNvrtc(Nvrtc().nvrtcVersion(&major, &minor), "asking for the version");
  const ContentHash prelude = HashOf(LoopPrelude());
  return StrCat("nvrtc ", major, ".", minor, " ", Join(NvrtcOptions(capability), " "), " ",
                prelude.Hex(), "\n");
}

// Kernels by the hash of what they are made from name the image that holds them.
constexpr std::string_view kKernels = "kernels", kImages = "cubins";
std::shared_ptr<const KernelImage> FindImage(const ContentHash& kernel) {
  std::optional<std::string> name = ReadCached(kKernels, kernel.Hex());
  if (!name) return nullptr;
  std::optional<std::string> cubin = ReadCached(kImages, *name);
  if (!cubin) return nullptr;
  return std::make_shared<const KernelImage>(std::move(*cubin), std::move(*name));
}

template <class Fn>
void InThreads(size_t n, Fn&& fn) {
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < n; i = next++) fn(i);
  };
  std::vector<std::thread> threads;
  for (size_t t = 1; t < std::min({n, cores, kMostThreads}); ++t) threads.emplace_back(work);
  work();
  for (std::thread& t : threads) t.join();
}

}  // namespace

std::vector<std::string> NvrtcOptions(int capability) {
  return {StrCat("--gpu-architecture=sm_", capability), "--std=c++20",
          "--device-as-default-execution-space"};
}

NvrtcCache& NvrtcCache::Get() {
  static auto* cache = new NvrtcCache;  // plans may outlive static teardown
  return *cache;
}

NvrtcCache::Counts NvrtcCache::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

void NvrtcCache::Expect(const std::string& text, int capability) {
  std::lock_guard lock(mutex_);
  if (pending_ >= kMostPending) return;
  if (images_.try_emplace({text, capability}).second) {
    ++counts_.distinct;
    ++pending_;
  }
}

std::shared_ptr<const KernelImage> NvrtcCache::Image(const std::string& text, int capability) {
  const Key key{text, capability};
  const auto find = [&] {
    std::lock_guard lock(mutex_);
    const auto [it, fresh] = images_.try_emplace(key);
    if (fresh) {
      ++counts_.distinct;
      ++pending_;
    }
    return it->second;
  };
  if (auto image = find()) return image;
  std::lock_guard compile(compile_mutex_);
  if (auto image = find()) return image;
  std::vector<Wanted> wanted;
  {
    std::lock_guard lock(mutex_);  // keys stay where they are
    for (const auto& [k, image] : images_) {
      if (image == nullptr && k.second == capability) wanted.push_back({.text = &k.first});
    }
  }
  CompileAll(&wanted, capability);
  std::lock_guard lock(mutex_);
  std::string error;
  for (Wanted& w : wanted) {
    if (w.image != nullptr) {
      images_[{*w.text, capability}] = w.image;
    } else if (*w.text == text) {
      error = w.error;
    }
  }
  pending_ = std::count_if(images_.begin(), images_.end(),
                           [](const auto& entry) { return entry.second == nullptr; });
  if (!error.empty()) Fail(ErrorCode::kInternal, "a generated kernel does not compile: ", error);
  return images_[key];
}

void NvrtcCache::CompileAll(std::vector<Wanted>* wanted, int capability) {
  const std::string circumstances = Circumstances(capability);
  std::vector<Wanted*> missing;
  int64_t loaded = 0;
  for (Wanted& w : *wanted) {
    w.hash = HashOf(StrCat(circumstances, *w.text));
    w.image = FindImage(w.hash);
    loaded += w.image != nullptr;
    if (w.image == nullptr) missing.push_back(&w);
  }
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  const size_t sources =
      std::min(missing.size(), std::max(cores, (missing.size() + kPerSource - 1) / kPerSource));
  std::atomic<int64_t> given = 0;
  const auto compile = [&](const std::vector<Wanted*>& kernels) {
    std::string source(LoopPrelude());
    source += "namespace ostria::kernels::loop {\n";
    for (const Wanted* w : kernels) source += *w->text;
    source += "}\n";
    ++given;
    Compiled made;
    try {
      made = Compile(source, capability);
    } catch (const Error& error) {
      made.log = error.message();
    }
    if (!made.ok) {
      for (Wanted* w : kernels) w->error = made.log.empty() ? "no reason is given" : made.log;
      return false;
    }
    std::string name = HashOf(made.image).Hex();
    const auto image = std::make_shared<const KernelImage>(std::move(made.image), std::move(name));
    WriteCached(kImages, image->name, image->cubin);
    for (Wanted* w : kernels) {
      w->image = image;
      WriteCached(kKernels, w->hash.Hex(), image->name);
    }
    return true;
  };
  InThreads(sources, [&](size_t s) {
    std::vector<Wanted*> kernels;
    for (size_t i = s; i < missing.size(); i += sources) kernels.push_back(missing[i]);
    if (compile(kernels) || kernels.size() == 1) return;
    for (Wanted* w : kernels) compile({w});  // one that fails must not take others with it
  });
  std::lock_guard lock(mutex_);
  counts_.loaded += loaded;
  counts_.sources += given;
  for (const Wanted* w : missing) counts_.compiled += w->image != nullptr;
}

}  // namespace ostria::cuda
