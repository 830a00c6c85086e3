// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/onednn.h"

#include "backend/cpu/simd/cpu_isa.h"
#include "base/check.h"
#include "base/parallel.h"
#include "base/thread_share.h"

namespace ostria::cpu::onednn {
namespace {

dnnl::memory::data_type TypeOf(DType dtype) {
  using Type = dnnl::memory::data_type;
  OSTRIA_CHECK(dtype == DType::kFloat32 || dtype == DType::kBFloat16);
  return dtype == DType::kBFloat16 ? Type::bf16 : Type::f32;
}

// CPU streams hold no state, so all threads share one.
const dnnl::stream& Stream() {
  static const dnnl::stream stream(Engine());
  return stream;
}

dnnl::algorithm AlgorithmOf(ops::Activation activation) {
  switch (activation) {
    case ops::Activation::kRelu: return dnnl::algorithm::eltwise_relu;
    case ops::Activation::kTanh: return dnnl::algorithm::eltwise_tanh;
    case ops::Activation::kSigmoid: return dnnl::algorithm::eltwise_logistic;
    case ops::Activation::kGelu: return dnnl::algorithm::eltwise_gelu_erf;
    case ops::Activation::kGeluTanh: return dnnl::algorithm::eltwise_gelu_tanh;
    case ops::Activation::kSilu: return dnnl::algorithm::eltwise_swish;
    case ops::Activation::kNone: break;
  }
  return dnnl::algorithm::undef;
}

}  // namespace

std::string Version() {
  const dnnl::version_t* v = dnnl::version();
  return StrCat(v->major, ".", v->minor, ".", v->patch);
}

const dnnl::engine& Engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::memory::desc Strided(const Dims& sizes, const Dims& strides, DType dtype) {
  return dnnl::memory::desc(sizes, TypeOf(dtype), strides);
}

dnnl::memory::desc Dense(const Dims& sizes, DType dtype) {
  Dims strides(sizes.size());
  int64_t stride = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= sizes[i];
  }
  return Strided(sizes, strides, dtype);
}

dnnl::memory::desc Any(const Dims& sizes, DType dtype) {
  return dnnl::memory::desc(sizes, TypeOf(dtype), dnnl::memory::format_tag::any);
}

Support Takes(DType dtype) {
  if (dtype == DType::kFloat32 || (dtype == DType::kBFloat16 && HasBf16Products())) {
    return Support::Yes();
  }
  if (dtype != DType::kBFloat16) return Support::No("is for float32 and bfloat16, not ", dtype);
  return Support::No(
      "bfloat16 needs instructions of AVX512_BF16, which this CPU does not have or OSTRIA_ISA "
      "forbids");
}

dnnl::primitive_attr Attributes(ops::Activation activation, bool sum) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops post;
  if (sum) post.append_sum();
  if (activation != ops::Activation::kNone) {
    post.append_eltwise(AlgorithmOf(activation), activation == ops::Activation::kSilu ? 1.f : 0.f,
                        0.f);
  }
  attr.set_post_ops(post);
  return attr;
}

int ThreadsFor(const NodeDesc& node, double flops) {
  // A second core pays from about 5 us of one core at 200 GF/s; below, the barrier costs more.
  constexpr double kFlopsPerThread = 5e5;
  const int have = node.device == nullptr ? NumThreads() : node.device->threads;
  return flops < 2 * kFlopsPerThread ? 1 : have;
}

Support Judge(const dnnl::primitive_desc_base& pd) {
  const std::string_view impl = pd.impl_info_str();
  if (impl.find("ref") != std::string_view::npos) {
    return Support::No("oneDNN has only its reference implementation (", impl, ")");
  }
  return Support::Yes();
}

Primitive::Primitive(const dnnl::primitive_desc_base& pd, const dnnl::primitive& primitive,
                     std::span<const Arg> args, int threads)
    : primitive_(primitive), threads_(threads), impl_(pd.impl_info_str()) {
  OSTRIA_CHECK(args.size() < kMaxArgs);
  for (const Arg& arg : args) {
    ids_[num_args_] = arg.id;
    descs_[num_args_++] = arg.desc;
  }
  const dnnl::memory::desc scratchpad = pd.scratchpad_desc();
  scratchpad_bytes_ = static_cast<int64_t>(scratchpad.get_size());
  if (scratchpad_bytes_ > 0) {
    ids_[num_args_] = DNNL_ARG_SCRATCHPAD;
    descs_[num_args_++] = scratchpad;
  }
  idle_[0] = NewSet();  // so that the first run allocates nothing either
}

Primitive::ArgSet::~ArgSet() {
  for (dnnl_exec_arg_t& arg : args) {
    if (arg.memory != nullptr) dnnl_memory_destroy(arg.memory);
  }
}

Primitive::~Primitive() {
  for (auto& slot : idle_) delete slot.load(std::memory_order_acquire);
}

Primitive::ArgSet* Primitive::NewSet() const {
  auto* set = new ArgSet{};
  for (int i = 0; i < num_args_; ++i) {
    set->args[i].arg = ids_[i];
    const dnnl_status_t status =
        dnnl_memory_create(&set->args[i].memory, descs_[i].get(), Engine().get(), DNNL_MEMORY_NONE);
    if (status != dnnl_success) {
      delete set;
      Fail(ErrorCode::kOutOfMemory, "oneDNN could not create a memory object (status ",
           static_cast<int>(status), ")");
    }
  }
  return set;
}

void Primitive::Run(void* const* handles) const {
  const ThreadShare share(threads_);
  const LoopTimer timer(threads_, &shortest_ns_);
  ArgSet* set = nullptr;
  for (auto& slot : idle_) {
    set = slot.exchange(nullptr, std::memory_order_acquire);
    if (set != nullptr) break;
  }
  if (set == nullptr) set = NewSet();  // more concurrent runs than ever before
  for (int i = 0; i < num_args_; ++i) {
    dnnl_memory_set_data_handle(set->args[i].memory, handles[i]);
  }
  const dnnl_status_t status =
      dnnl_primitive_execute(primitive_.get(), Stream().get(), num_args_, set->args.data());
  for (auto& slot : idle_) {
    ArgSet* expected = nullptr;
    if (slot.compare_exchange_strong(expected, set, std::memory_order_release)) {
      set = nullptr;
      break;
    }
  }
  delete set;
  OSTRIA_CHECK(status == dnnl_success, impl_, ": status ", static_cast<int>(status));
}

}  // namespace ostria::cpu::onednn
