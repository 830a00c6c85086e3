// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/codegen/codegen.h"

#include <algorithm>

#include "backend/cuda/cache/content_hash.h"
#include "backend/cuda/codegen/loop.h"
#include "kernels/scalar/philox.h"

namespace ostria::cuda {
namespace {

std::string Replaced(std::string_view text, char mark, std::string_view by) {
  std::string out;
  for (const char c : text) {
    if (c == mark) {
      out += by;
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

void AddFinish(LoopWriter* writer, int64_t pieces, GeneratedLoop* out) {
  writer->Finish();
  const int64_t across = writer->FinishAcross(), cols = writer->p.cols();
  LoopLaunch finish{.function = "@_finish", .shape = {}};
  finish.shape.grid[0] = static_cast<unsigned>((cols + across - 1) / across);
  out->launches.push_back(std::move(finish));
  out->workspace_bytes =
      static_cast<int64_t>(writer->RowFolds().size()) * writer->PartBytes() * cols * pieces;
}

void FindAliases(const CanonicalLoop& loop, const std::vector<int>& input_pass,
                 const std::vector<int>& output_pass, GeneratedLoop* out) {
  const LoopProgram& p = loop.p;
  out->alias_ok.assign(p.outputs.size(), std::vector<bool>(p.inputs.size()));
  for (size_t k = 0; k < p.outputs.size(); ++k) {
    const LoopOperand& y = p.outputs[k];
    if (p.code[y.value].kind == LoopKind::kFoldRows) continue;
    const bool whole = std::find(y.strides.begin(), y.strides.end(), 0) == y.strides.end();
    for (size_t i = 0; i < p.inputs.size(); ++i) {
      const LoopOperand& x = p.inputs[i];
      out->alias_ok[k][i] = whole && x.strides == y.strides && SizeOf(x.dtype) == SizeOf(y.dtype) &&
                            input_pass[i] <= output_pass[k];
    }
  }
}

std::optional<GeneratedLoop> GenerateLoop(const LoopProgram& program, const DeviceProps& device,
                                          std::string* why) {
  const CanonicalLoop loop = Canonical(program);
  const LoopProgram& p = loop.p;
  const size_t words = p.inputs.size() + p.outputs.size() + loop.streams.size() + 4;
  if (words > kMostLoopWords) {
    if (why != nullptr) *why = StrCat(words, " parameters are more than ", kMostLoopWords);
    return std::nullopt;
  }
  bool cols = false, rows = false;
  for (const LoopInstr& i : p.code) {
    cols |= i.kind == LoopKind::kFoldCols;
    rows |= i.kind == LoopKind::kFoldRows;
  }
  GeneratedLoop made;
  made.form = cols ? "rows" : rows && p.column_axes > 0 ? "columns" : "flat";
  (cols ? WriteRows : made.form == "columns" ? WriteColumns : WriteFlat)(loop, device, &made);

  // What it computes, for readers and for the fake driver: the outermost size is a parameter.
  LoopProgram any = p;
  if (any.rank() > 0 && (made.form == "flat" || any.rank() > any.column_axes)) any.sizes[0] = 1;
  std::string params = StrCat("/* @ ", made.form, "\n", Print(any), "*/\n");
  params += StrCat("struct @_params {\n  void* ptr[", p.inputs.size() + p.outputs.size(),
                   "];\n  void* work;\n  int64_t n, pieces, per;\n");
  if (!loop.streams.empty()) params += StrCat("  uint64_t stream[", loop.streams.size(), "];\n");
  made.text = StrCat(params, "};\n", made.text);
  const std::string name = StrCat("loop_", HashOf(made.text).Hex().substr(0, 16));
  made.text = Replaced(made.text, '@', name);
  for (LoopLaunch& l : made.launches) l.function = Replaced(l.function, '@', name);

  std::vector<std::vector<bool>> alias(program.outputs.size(),
                                       std::vector<bool>(program.inputs.size()));
  for (size_t k = 0; k < p.outputs.size(); ++k) {
    for (size_t i = 0; i < p.inputs.size(); ++i) {
      alias[loop.outputs[k]][loop.inputs[i]] = made.alias_ok[k][i];
    }
  }
  made.alias_ok = std::move(alias);
  for (int i : loop.inputs) made.pointers.push_back(i);
  for (int k : loop.outputs) {
    made.pointers.push_back(static_cast<int>(program.inputs.size()) + k);
  }
  for (int64_t s : loop.streams) {
    made.words.push_back(kernels::MixStream(static_cast<uint64_t>(s)));
  }
  return made;
}

}  // namespace ostria::cuda
