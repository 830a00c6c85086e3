// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/launch/segments.h"

#include <algorithm>

#include "backend/cuda/ops/kernels.h"

namespace ostria::cuda {

Support SupportsWideFloats(const NodeDesc& node) {
  const DType dtype = node.inputs[0].dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::No("is for float32 and float64, not ", dtype);
  }
  return NeedsDense(node);
}

Support SupportsUpdate(const NodeDesc& node) {
  const ops::UpdateForm form = ops::FormOf(*node.op);
  const ops::Segments segments(form, node.attrs);
  for (int i = 0; i < form.count(node.inputs.size()); ++i) {
    if (segments.outer_rows(i) > 0) return Support::No("takes no gradients as outer products");
  }
  return SupportsWideFloats(node);
}

bool AliasUpdate(const NodeDesc& node, int out, int in) {
  const int n = static_cast<int>(node.outputs.size()) / ops::FormOf(*node.op).outputs();
  const int group = out / n;
  return in == (group == 0 ? 0 : group + 1) * n + out % n;
}

void UpdatePlan::Read(const NodeDesc& node) {
  form = ops::FormOf(*node.op);
  n = form.count(node.inputs.size());
  element = SizeOf(node.inputs[0].dtype);
  for (int i = 0; i < form.own_attrs; ++i) {
    const Attr& attr = node.attrs[i];
    attrs[i] = TypeOf(attr) == AttrType::kBool ? std::get<bool>(attr) : std::get<double>(attr);
  }
  const ops::Segments segments(form, node.attrs);
  weight_decay = segments.weight_decay();
  has_rows = static_cast<int>(node.inputs.size()) > form.groups * n + form.scalars();
  float_step = form.has_step && node.inputs[form.groups * n + 1].dtype == DType::kFloat32;
  for (int i = 0; i < n; ++i) {
    numel.push_back(node.inputs[i].numel());
    const int64_t rate = segments.rate(i);
    const bool decays = segments.decays(i);
    const auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const Alike& k) {
      return k.rate == rate && k.decays == decays;
    });
    if (kind != kinds.end()) {
      kind->members.push_back(i);
    } else {
      kinds.push_back({rate, decays, {i}});
    }
  }
  for (const MemDesc& out : node.outputs) output_bytes.push_back(out.numel() * element);
}

kernels::UpdateScalars UpdatePlan::Scalars(const Alike& kind, void* const* ptrs) const {
  void* const* p = ptrs + form.groups * n;
  kernels::UpdateScalars scalars;
  scalars.lr = static_cast<const float*>(*p++) + kind.rate;
  if (form.has_step) scalars.step = *p++;
  scalars.grad_scale = static_cast<const float*>(*p++);
  scalars.commit = static_cast<const bool*>(*p);
  std::copy_n(attrs, kernels::kUpdateAttrs, scalars.attrs);
  scalars.weight_decay = kind.decays ? weight_decay : 0;
  scalars.float_step = float_step ? 1 : 0;
  return scalars;
}

bool UpdatePlan::CopyForward(CudaStream& stream, void* const* ptrs, int i) const {
  void* const* outputs = Outputs(ptrs);
  bool in_place = true;
  for (int k = 0; k < form.outputs(); ++k) {
    const void* from = ptrs[(k == 0 ? 0 : k + 1) * n + i];
    void* to = outputs[k * n + i];
    if (from == to) continue;
    in_place = false;
    const int64_t bytes = output_bytes[k * n + i];
    if (bytes > 0) stream.CopyOnDevice(to, from, static_cast<size_t>(bytes));
  }
  return in_place;
}

kernels::UpdateSegment UpdatePlan::Segment(void* const* ptrs, int i) const {
  void* const* outputs = Outputs(ptrs);
  kernels::UpdateSegment segment;
  segment.w = outputs[i];
  segment.g = ptrs[n + i];
  for (int k = 1; k < form.outputs(); ++k) segment.slots[k - 1] = outputs[k * n + i];
  segment.n = numel[i];
  return segment;
}

}  // namespace ostria::cuda
