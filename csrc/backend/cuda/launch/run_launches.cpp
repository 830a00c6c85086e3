// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/launch/run_launches.h"

#include <algorithm>
#include <bit>

#include "backend/cuda/launch/sort_launches.h"
#include "backend/cuda/ops/kernels.h"

namespace ostria::cuda {
namespace {

using kernels::KeysParams;
using kernels::RunsParams;
using kernels::ScatterCopyParams;

LaunchShape ShapeFor(int64_t threads, const DeviceProps& device) {
  LaunchShape shape;
  shape.grid[0] = GridFor(threads, 1, shape.block, device, 16);
  return shape;
}

}  // namespace

std::string RuleSuffix(std::string_view rule, DType dtype) {
  if (rule == "update") return StrCat(SizeOf(dtype));
  if (IsFloat(dtype)) return std::string(Suffix(dtype));
  const bool is_signed = KindOf(dtype) == DTypeKind::kSigned && rule != "sum";
  return StrCat(is_signed ? "i" : "u", 8 * SizeOf(dtype));
}

Support SupportsRuns(const ManyToOne& what) {
  if (what.runs.size > UINT32_MAX) return Support::No("counts slices with 32 bits");
  if (what.keys.elements > INT32_MAX) return Support::No("counts indices with 31 bits");
  return Support::Yes();
}

void AddRuns(Launches* to, const NodeDesc& node, const ManyToOne& what, int indices, int updates) {
  const int output = static_cast<int>(node.inputs.size());
  RunsParams p = what.runs;
  const int64_t work = p.outer * p.count * p.inner;
  if (work == 0 || p.size == 0) return;
  const Place keys{output + 1}, sorting = keys + (what.keys.elements * 4 + 255) / 256 * 256;
  to->Add("data/keys", "scatter_keys", ShapeFor(what.keys.elements, *node.device), what.keys)
      .Point(&KeysParams::indices, {indices})
      .Point(&KeysParams::keys, keys);
  const int bits = std::bit_width(static_cast<uint64_t>(p.size - 1));
  const KeyRows rows{1, what.keys.elements, 4, std::max<int>(1, bits)};
  const Sorted sorted = AddSort(to, rows, keys, sorting, *node.device);
  to->workspace_bytes = sorting.offset + SortWorkspace(rows);
  p.wide = work >= int64_t{1} << 31 ? 1 : 0;
  if (p.wide == 0) {
    p.by_inner = kernels::Divisor::Of(p.inner);
    p.by_count = kernels::Divisor::Of(p.count);
  }
  const bool extremum = what.rule == "max" || what.rule == "min";
  to->Add(extremum ? "data/extrema" : "data/runs",
          StrCat("runs_", what.rule, "_", RuleSuffix(what.rule, what.dtype)),
          ShapeFor(work, *node.device), p)
      .Point(&RunsParams::keys, sorted.keys)
      .Point(&RunsParams::positions, sorted.positions)
      .Point(&RunsParams::updates, {updates})
      .Point(&RunsParams::dst, {output});
}

void AddScatterCopy(Launches* to, const NodeDesc& node) {
  ScatterCopyParams p;
  p.bytes = node.outputs[0].bytes();
  to->Add("data/keys", "scatter_copy", ShapeFor((p.bytes + 15) / 16, *node.device), p)
      .Point(&ScatterCopyParams::x, {0})
      .Point(&ScatterCopyParams::dst, {static_cast<int>(node.inputs.size())});
}

}  // namespace ostria::cuda
