// SPDX-License-Identifier: Apache-2.0
// Attention in the form that cuDNN's flash engines recognise: the matrix products, the softmax and
// the mask operation by operation, of which only inputs and results are in memory. Tensors are
// [batch, length, heads, dim] there, and [batch, heads, length, dim] to the library.
#include <limits>

#include "backend/cuda/cudnn/nodes.h"
#include "kernels/attention/attention.h"
#include "kernels/scalar/philox.h"
#include "ops/common/attention.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using ops::AttentionAttr;

constexpr DType kFloat = DType::kFloat32;

// Where the operands begin.
enum Forward { kQ, kK, kV };
enum Grad { kG, kY, kLse, kGradQ, kGradK, kGradV };

struct Maker {
  CudnnGraph& g;
  int64_t batch, heads, kv_heads, length_q, length_kv, dim_qk, dim_v;
  DType dtype;

  Maker(CudnnGraph& graph, const MemDesc& q, const MemDesc& k, const MemDesc& v)
      : g(graph),
        batch(q.sizes[0]),
        heads(q.sizes[2]),
        kv_heads(k.sizes[2]),
        length_q(q.sizes[1]),
        length_kv(k.sizes[1]),
        dim_qk(q.sizes[3]),
        dim_v(v.sizes[3]),
        dtype(q.dtype) {}

  int64_t HeadsSecond(const MemDesc& m) {
    return g.Tensor(m.dtype, {m.sizes[0], m.sizes[2], m.sizes[1], m.sizes[3]},
                    {m.strides[0], m.strides[2], m.strides[1], m.strides[3]});
  }
  // The same with its last two axes exchanged.
  int64_t HeadsSecondTransposed(const MemDesc& m) {
    return g.Tensor(m.dtype, {m.sizes[0], m.sizes[2], m.sizes[3], m.sizes[1]},
                    {m.strides[0], m.strides[2], m.strides[3], m.strides[1]});
  }
  int64_t Dense(DType type, int64_t rows, int64_t columns, bool is_virtual, int64_t of_heads) {
    return g.Tensor(type, {batch, of_heads, rows, columns},
                    {of_heads * rows * columns, rows * columns, columns, 1},
                    {.is_virtual = is_virtual});
  }
  int64_t Rows(bool is_virtual) { return Dense(kFloat, length_q, 1, is_virtual, heads); }
  int64_t Scores() { return Dense(kFloat, length_q, length_kv, true, heads); }

  void Matmul(int64_t a, int64_t b, int64_t c) {
    g.Add(GraphOp::kMatmul, {{"a", a}, {"b", b}, {"c", c}});
  }
  int64_t Reduce(std::string_view mode, int64_t x, int64_t y) {
    g.Add(GraphOp::kReduction, {{"x", x}, {"y", y}}, {.mode = mode});
    return y;
  }
  // scale q k^T
  int64_t ScaledProduct(int64_t q, int64_t k_transposed, double scale) {
    const int64_t s = Scores();
    Matmul(q, k_transposed, s);
    return g.Pointwise("mul", s, g.Scalar(kFloat, scale, 4));
  }
  int64_t Index(int64_t s, int64_t axis) {
    const int64_t y = g.Virtual(DType::kInt32, s);
    g.Add(GraphOp::kPointwise, {{"x", s}, {"y", y}},
          {.mode = "index", .compute = DType::kInt32, .axis = axis});
    return y;
  }
  // Where a key comes after the query, something that no exponential sees.
  int64_t Causal(int64_t s) {
    const int64_t row = Index(s, 2), column = Index(s, 3), keep = g.Virtual(DType::kBool, s);
    g.Add(GraphOp::kPointwise, {{"x", row}, {"b", column}, {"y", keep}},
          {.mode = "greater_equal", .compute = DType::kBool});
    const int64_t y = g.Virtual(kFloat, s);
    const int64_t nothing = g.Scalar(kFloat, -std::numeric_limits<float>::max(), 4);
    g.Add(GraphOp::kPointwise, {{"x", s}, {"b", nothing}, {"t", keep}, {"y", y}},
          {.mode = "select"});
    return y;
  }
  // x as [batch, heads, columns, rows] without moving anything.
  int64_t Transposed(int64_t x, DType type) {
    const GraphTensor t = g.tensor(x);
    const int64_t y =
        g.Tensor(type, {t.sizes[0], t.sizes[1], t.sizes[3], t.sizes[2]},
                 {t.strides[0], t.strides[1], t.strides[3], t.strides[2]}, {.is_virtual = true});
    g.Add(GraphOp::kReshape, {{"x", x}, {"y", y}});
    return y;
  }
  // In the workspace: what dropout multiplies weights by, 1 or 0.
  int64_t DropoutMask() { return Dense(dtype, length_q, length_kv, false, heads); }
  // a b, summed over the heads that share one of k and v.
  void MatmulToKv(int64_t a, int64_t b, int64_t result, int64_t dim) {
    if (heads == kv_heads) return Matmul(a, b, result);
    const int64_t all = Dense(dtype, length_kv, dim, true, heads);
    Matmul(a, b, all);
    Reduce("add", all, result);
  }
};

double DropoutOf(const NodeDesc& node) { return node.attr<double>(AttentionAttr::kDropout); }

// cuDNN draws other random numbers than the CPU, so it gets a mask of what we draw.
std::string DropoutRefusal(const MemDesc& q, const MemDesc& k) {
  if (SizeOf(q.dtype) != 2) return StrCat("a dropout mask has 16 bits, as ", q.dtype, " has not");
  const int64_t keys = k.sizes[1];
  if (keys % kernels::kMaskGroup != 0) {
    return StrCat("rows of a dropout mask must begin on 16-byte boundaries: ", keys,
                  " keys are no multiple of ", kernels::kMaskGroup);
  }
  const int64_t bytes = q.sizes[0] * q.sizes[2] * q.sizes[1] * keys * 2;
  if (bytes <= kDropoutMaskLimit) return {};
  return StrCat("its dropout mask would take ", bytes, " bytes of workspace, more than ",
                kDropoutMaskLimit);
}

std::string Refusal(const NodeDesc& node, int first) {
  const auto has = [&](int attr) { return node.attr<bool>(attr); };
  if (node.outputs[0].dtype == DType::kFloat64) return "keeps scores in float32";
  if (has(AttentionAttr::kMasked)) return "a row that a mask empties would not give zeros";
  // Seen on an H200 with cuDNN 9.19: its results differed from the op's.
  if (has(AttentionAttr::kLengths)) return "is not used for sequences with lengths";
  if (DropoutOf(node) == 0) return {};
  return DropoutRefusal(node.inputs[static_cast<size_t>(first)],
                        node.inputs[static_cast<size_t>(first) + 1]);
}

// `mask` is drawn before the graph runs, from the key and the offset among the operands, which the
// graph does not read itself. `first`: the operand that q is.
void DrawDropout(const NodeDesc& node, int first, const Maker& m, int64_t mask, CudnnNode* d) {
  const bool grad = node.op == &ops::kAttentionGrad;
  const ops::AttentionOperands at = ops::OperandsOf(node.attrs, first + 3, grad);
  d->uids.insert(d->uids.begin() + first + 3, node.inputs.size() - static_cast<size_t>(first) - 3,
                 0);
  kernels::AttentionMaskParams p;
  p.sequence = m.heads * m.length_q * m.length_kv;
  p.groups = m.batch * p.sequence / kernels::kMaskGroup;
  p.stream = kernels::MixStream(static_cast<uint64_t>(node.attr<int64_t>(AttentionAttr::kStream)));
  p.limit = kernels::WordLimit(1 - DropoutOf(node));
  p.one = m.dtype == DType::kFloat16 ? 0x3c00 : 0x3f80;
  LaunchShape shape;
  shape.block = kernels::kMaskThreads;
  shape.grid[0] = GridFor(p.groups, 1, shape.block, *node.device);
  d->written.push_back({mask, [=](Launches* all, Place place) {
                          all->Add("attention/dropout_mask", "attention_dropout_mask", shape, p)
                              .Point(&kernels::AttentionMaskParams::key, {at.key, 0})
                              .Point(&kernels::AttentionMaskParams::first_row, {at.offset, 0})
                              .Point(&kernels::AttentionMaskParams::mask, place);
                        }});
}

}  // namespace

CudnnNode DescribeAttention(const NodeDesc& node) {
  if (std::string why = Refusal(node, kQ); !why.empty()) return CudnnNode::No(std::move(why));
  CudnnNode d;
  CudnnGraph& g = d.graph;
  const MemDesc &q = node.inputs[kQ], &k = node.inputs[kK], &v = node.inputs[kV];
  Maker m(g, q, k, v);
  const int64_t q_in = m.HeadsSecond(q), k_in = m.HeadsSecondTransposed(k), v_in = m.HeadsSecond(v),
                y = m.HeadsSecond(node.outputs[0]), lse = m.Rows(false);
  d.uids = {q_in, k_in, v_in, y, lse};
  int64_t s = m.ScaledProduct(q_in, k_in, ops::ScaleOf(node.attrs, m.dim_qk));
  if (node.attr<bool>(AttentionAttr::kCausal)) s = m.Causal(s);
  const int64_t top = m.Reduce("max", s, m.Rows(true));
  const int64_t e = g.Pointwise("exp", g.Pointwise("sub", s, top));
  const int64_t sum = m.Reduce("add", e, m.Rows(true));
  g.Pointwise("add", top, g.Pointwise("log", sum), lse);
  int64_t p = 0;
  if (const double dropout = DropoutOf(node); dropout == 0) {
    p = g.Pointwise("div", e, sum, g.Virtual(m.dtype, e));
  } else {
    const int64_t mask = m.DropoutMask(), keep = g.Scalar(kFloat, 1 / (1 - dropout), 4);
    const int64_t scaled = g.Pointwise("mul", g.Pointwise("div", e, sum), keep);
    p = g.Pointwise("mul", scaled, mask, g.Virtual(m.dtype, e));
    DrawDropout(node, kQ, m, mask, &d);
  }
  m.Matmul(p, v_in, y);
  return d;
}

// p = exp(scale q k^T - lse);  ds = scale p (g v^T - rowsum(g y)); with dropout, which keeps a
// share s of the weights, ds = scale / s p (mask g v^T - s rowsum(g y)) and v met mask p / s.
CudnnNode DescribeAttentionGrad(const NodeDesc& node) {
  if (node.attr<bool>(AttentionAttr::kLseGrad)) {
    return CudnnNode::No("cuDNN takes no gradient of the log-sum-exp");
  }
  if (std::string why = Refusal(node, kGradQ); !why.empty()) return CudnnNode::No(std::move(why));
  CudnnNode d;
  CudnnGraph& graph = d.graph;
  const MemDesc &q = node.inputs[kGradQ], &k = node.inputs[kGradK], &v = node.inputs[kGradV];
  Maker m(graph, q, k, v);
  const int64_t g_in = m.HeadsSecond(node.inputs[kG]), y_in = m.HeadsSecond(node.inputs[kY]),
                lse = m.Rows(false), q_in = m.HeadsSecond(q), k_in = m.HeadsSecondTransposed(k),
                v_in = m.HeadsSecondTransposed(v), dq = m.HeadsSecond(node.outputs[0]),
                dk = m.HeadsSecond(node.outputs[1]), dv = m.HeadsSecond(node.outputs[2]);
  d.uids = {g_in, y_in, lse, q_in, k_in, v_in, dq, dk, dv};
  // An engine keeps ds so that dq is summed in one order; else it adds to dq as blocks come.
  const auto up = [](int64_t n, int64_t to) { return (n + to - 1) / to * to; };
  d.workspace_limit =
      kWorkspaceLimit + 2 * m.batch * m.heads * up(m.length_q, 128) * up(m.length_kv, 128);
  const double scale = ops::ScaleOf(node.attrs, m.dim_qk), kept = 1 - DropoutOf(node);
  const bool drops = kept != 1;
  const int64_t mask = drops ? m.DropoutMask() : 0,
                keep = drops ? graph.Scalar(kFloat, 1 / kept, 4) : 0;
  if (drops) DrawDropout(node, kGradQ, m, mask, &d);

  const int64_t products = graph.Pointwise("mul", g_in, y_in);
  const int64_t sums = m.Reduce("add", products, m.Rows(true));
  const int64_t delta = m.Rows(false);  // in the workspace
  graph.Pointwise("mul", sums, graph.Scalar(kFloat, kept, 4), delta);

  int64_t s = m.ScaledProduct(q_in, k_in, scale);
  s = graph.Pointwise("sub", s, lse);
  if (node.attr<bool>(AttentionAttr::kCausal)) s = m.Causal(s);
  const int64_t p = graph.Pointwise("exp", s);
  const int64_t met_v = drops ? graph.Pointwise("mul", graph.Pointwise("mul", p, mask), keep) : p;
  m.MatmulToKv(m.Transposed(met_v, m.dtype), g_in, dv, m.dim_v);

  int64_t dp = m.Scores();
  m.Matmul(g_in, v_in, dp);
  if (drops) dp = graph.Pointwise("mul", dp, mask);
  int64_t unscaled = graph.Pointwise("mul", graph.Pointwise("sub", dp, delta), p);
  if (drops) unscaled = graph.Pointwise("mul", unscaled, keep);
  const int64_t ds = graph.Pointwise("mul", unscaled, graph.Scalar(kFloat, scale, 4));
  m.MatmulToKv(m.Transposed(ds, m.dtype), q_in, dk, m.dim_qk);
  if (node.device->deterministic) {
    m.Matmul(ds, m.Transposed(k_in, m.dtype), dq);
  } else {
    const int64_t total = m.Dense(kFloat, m.length_q, m.dim_qk, false, m.heads);
    m.Matmul(ds, m.Transposed(k_in, m.dtype), total);
    graph.Pointwise("identity", total, 0, dq);
  }
  return d;
}

namespace {

// Columns of rows of `qkv`, as [batch, length, heads, dim].
MemDesc PartOf(const MemDesc& qkv, const ops::PackedPart& part) {
  MemDesc m;
  m.dtype = qkv.dtype;
  m.rank = 4;
  m.sizes = {qkv.sizes[0], qkv.sizes[1], part.heads, part.dim};
  m.strides = {qkv.strides[0], qkv.strides[1], part.dim, 1};
  return m;
}

// The number of q, or dq, among the operands and results of the unpacked node, and that of what
// holds it and the two behind it in the packed one.
struct Packed {
  size_t unpacked, packed;
};

CudnnNode Describe(const NodeDesc& node, const OpDef& op, std::span<const MemDesc> inputs,
                   std::span<const MemDesc> outputs, bool grad, const std::vector<Packed>& packed,
                   CudnnNode (*describe)(const NodeDesc&)) {
  const std::vector<Attr> attrs = ops::UnpackedAttrs(node.attrs, grad);
  CudnnNode d = describe({&op, attrs, inputs, outputs, node.device});
  if (!d.refusal.empty()) return d;
  const MemDesc& qkv = node.inputs[packed[0].packed];
  for (const Packed& p : packed) {
    for (int i = 0; i < 3; ++i) {
      const int64_t start = ops::PartOf(node.attrs, qkv.sizes[2], i).start * SizeOf(qkv.dtype);
      if (start % 16 != 0) return CudnnNode::No("keys or values begin off 16-byte boundaries");
      d.inside.push_back({d.uids[p.unpacked + static_cast<size_t>(i)], p.packed, start});
    }
  }
  for (size_t k = packed.size(); k-- > 0;) {
    const auto first = d.uids.begin() + static_cast<int64_t>(packed[k].unpacked);
    d.uids.erase(first, first + 2);
    d.uids[packed[k].unpacked] = 0;
  }
  return d;
}

std::vector<MemDesc> Parts(const NodeDesc& node, const MemDesc& qkv) {
  std::vector<MemDesc> out;
  for (int i = 0; i < 3; ++i) {
    out.push_back(PartOf(qkv, ops::PartOf(node.attrs, qkv.sizes[2], i)));
  }
  return out;
}

}  // namespace

CudnnNode DescribeAttentionPacked(const NodeDesc& node) {
  return Describe(node, ops::kAttention, Parts(node, node.inputs[0]), node.outputs, false,
                  {{kQ, 0}}, DescribeAttention);
}

CudnnNode DescribeAttentionPackedGrad(const NodeDesc& node) {
  std::vector<MemDesc> inputs(node.inputs.begin(), node.inputs.begin() + kGradQ);
  for (const MemDesc& part : Parts(node, node.inputs[kGradQ])) inputs.push_back(part);
  // Behind g, y and lse come q, k, v and dq, dk, dv there, qkv and dqkv here.
  return Describe(node, ops::kAttentionGrad, inputs, Parts(node, node.outputs[0]), true,
                  {{kGradQ, kGradQ}, {kGradQ + 3, kGradQ + 1}}, DescribeAttentionGrad);
}

}  // namespace ostria::cuda
