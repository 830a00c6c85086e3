// SPDX-License-Identifier: Apache-2.0
// cumsum, cumprod and linear_scan. Columns are walked in the order of their elements, as on the
// CPU.
#include "kernels/scan/scan.h"
#include "backend/cuda/launch/launches.h"
#include "backend/cuda/ops/kernels.h"
#include "ops/common/scan.h"

namespace ostria::cuda {
namespace {

using kernels::ScanChunksParams;
using kernels::ScanParams;

std::string_view NameOf(const OpDef* op) {
  return op == &ops::kCumsum ? "sum" : op == &ops::kCumprod ? "prod" : "linear";
}

// Integers of 64 bits are one, as both wrap around.
std::string_view NameOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return "f16";
    case DType::kBFloat16: return "bf16";
    case DType::kFloat32: return "f32";
    case DType::kFloat64: return "f64";
    default: return "u64";
  }
}

Support Supports(const NodeDesc& d) {
  const DType from = d.inputs[0].dtype, to = d.outputs[0].dtype;
  if (from != to) return Support::No("runs in ", from, ", not as ", to);
  return NeedsDense(d);
}

// Sets the sizes and the direction.
template <class Params>
void Describe(const NodeDesc& d, Params* p) {
  const MemDesc& x = d.inputs[0];
  const int axis = ops::Axis(d.attr<int64_t>(ops::kScanAxis), x.rank);
  p->size = x.sizes[axis];
  for (int i = 0; i < axis; ++i) p->outer *= x.sizes[i];
  for (int i = axis + 1; i < x.rank; ++i) p->inner *= x.sizes[i];
  p->exclusive = d.attr<bool>(ops::kScanExclusive) ? 1 : 0;
  p->reverse = d.attr<bool>(ops::kScanReverse) ? 1 : 0;
}

Support SupportsChunks(const NodeDesc& d) {
  ScanChunksParams p;
  Describe(d, &p);
  if (d.op == &ops::kCumprod && IsFloat(d.inputs[0].dtype)) {
    return Support::No("groups of factors may overflow");
  }
  // A column per thread: so many let each multiprocessor wait for memory with two warps.
  const int64_t enough = int64_t{64} * d.device->multiprocessors;
  if (p.size < 2 * kernels::kScanChunk || p.outer * p.inner >= enough) {
    return Support::No("has columns enough to walk each of them");
  }
  return Supports(d);
}

std::unique_ptr<KernelState> PrepareChunks(const NodeDesc& d) {
  const MemDesc& x = d.inputs[0];
  auto state = std::make_unique<Launches>();
  ScanChunksParams p;
  Describe(d, &p);
  p.chunks = (p.size + kernels::kScanChunk - 1) / kernels::kScanChunk;
  const int64_t columns = p.outer * p.inner, tasks = columns * p.chunks;
  state->workspace_bytes = tasks * int64_t{sizeof(double)};
  const std::string suffix = StrCat(NameOf(d.op), "_", NameOf(x.dtype));
  const Place src{0}, dst{1}, carries{2};
  const auto add = [&](std::string_view name, int64_t blocks) {
    LaunchShape shape;
    shape.block = kernels::kScanChunkThreads;
    shape.grid[0] = GridFor(blocks, 1, 1, *d.device);
    state->Add("scan/chunks", StrCat(name, suffix), shape, p)
        .Point(&ScanChunksParams::src, src)
        .Point(&ScanChunksParams::dst, dst)
        .Point(&ScanChunksParams::carries, carries);
  };
  add("scan_chunk_sums_", tasks);
  add("scan_carries_", (columns + kernels::kScanChunkThreads - 1) / kernels::kScanChunkThreads);
  add("scan_chunks_", tasks);
  return state;
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  const MemDesc& x = d.inputs[0];
  auto state = std::make_unique<OneLaunch<ScanParams>>();
  ScanParams& p = state->params;
  Describe(d, &p);
  const bool lines = p.inner == 1;
  state->file = lines ? "scan/lines" : "scan/columns";
  state->function =
      StrCat("scan_", lines ? "lines" : "columns", "_", NameOf(d.op), "_", NameOf(x.dtype));
  state->shape.block = lines ? kernels::kScanLineThreads : kernels::kScanColumnThreads;
  state->shape.grid[0] = GridFor(p.outer * p.inner, 1, state->shape.block, *d.device);
  if (d.inputs.size() == 2) {
    state->point = [](ScanParams* q, void* const* ptrs) {
      q->a = ptrs[0];
      q->b = ptrs[1];
      q->dst = ptrs[2];
    };
  } else {
    state->point = [](ScanParams* q, void* const* ptrs) {
      q->a = ptrs[0];
      q->dst = ptrs[1];
    };
  }
  return state;
}

constexpr KernelDef Of(const OpDef& op) {
  return {.op = &op,
          .impl = "columns",
          .supports = Supports,
          .prepare = Prepare,
          .launch = RunOne<ScanParams>,
          .alias_ok = [](const NodeDesc&, int, int) { return true; },
          .bind = BindOne<ScanParams>};
}

constexpr KernelDef InChunks(const OpDef& op) {
  return {.op = &op,
          .impl = "chunks",
          .supports = SupportsChunks,
          .prepare = PrepareChunks,
          .launch = RunMany,
          .alias_ok = [](const NodeDesc&, int, int) { return true; },
          .bind = BindMany};
}

constexpr KernelDef kKernels[] = {InChunks(ops::kCumsum), InChunks(ops::kCumprod), Of(ops::kCumsum),
                                  Of(ops::kCumprod), Of(ops::kLinearScan)};

}  // namespace

std::span<const KernelDef> ScanKernels() { return kKernels; }

}  // namespace ostria::cuda
