// SPDX-License-Identifier: Apache-2.0
// Look-up of ops, arity rules and the one entry to infer rules.
#include "ir/op_def.h"

#include <unordered_map>

#include "base/check.h"
#include "ir/graph.h"
#include "ir/parser.h"

namespace ostria {

std::string ToString(const ValueType& type) {
  return StrCat(Name(type.dtype), ToString(type.shape));
}

void InferContext::Throw(ErrorCode code, std::string message) const {
  throw Error(code, std::string(op_.name), std::move(message));
}

int VariadicCount(const OpDef& op, int n) {
  int single = 0, optional = 0, groups = 0;
  for (const InputDef& in : op.inputs) {
    single += in.arity == Arity::kOne;
    optional += in.arity == Arity::kOptional;
    groups += in.arity == Arity::kVariadic;
  }
  if (groups == 0) {
    if (n < single || n > single + optional) {
      throw Error(ErrorCode::kTypeError, std::string(op.name),
                  StrCat("takes ", single, optional ? StrCat(" to ", single + optional) : "",
                         " input(s) (", Join(op.inputs, ", ", [](auto& i) { return i.name; }),
                         "), but ", n, " were given"));
    }
    return 0;
  }
  if (n < single || (n - single) % groups > optional) {
    throw Error(ErrorCode::kTypeError, std::string(op.name),
                StrCat("takes ", single, " input(s) and ", groups, " list(s) of equal length, but ",
                       n, " values were given"));
  }
  return (n - single) / groups;
}

Attr DefaultAttr(const OpDef& op, int i) {
  const AttrDef& def = op.attrs[i];
  if (def.default_text.empty()) {
    throw Error(ErrorCode::kTypeError, std::string(op.name),
                StrCat("attribute '", def.name, "' (", Name(def.type), ") is missing"));
  }
  return ParseAttr(def.default_text, def.type);
}

const OpDef* FindOp(std::string_view name) {
  static const auto* table = [] {
    auto* map = new std::unordered_map<std::string_view, const OpDef*>;
    for (const OpDef* op : ops::AllOps()) map->emplace(op->name, op);
    return map;
  }();
  const auto it = table->find(name);
  return it == table->end() ? nullptr : it->second;
}

void InferTypes(const OpDef& op, std::span<const ValueType> inputs, std::span<const Attr> attrs,
                std::vector<ValueType>* outputs) {
  VariadicCount(op, static_cast<int>(inputs.size()));  // throws when the number is impossible
  for (size_t i = 0; i < op.attrs.size(); ++i) {
    if (TypeOf(attrs[i]) != op.attrs[i].type) {
      throw Error(ErrorCode::kTypeError, std::string(op.name),
                  StrCat("attribute '", op.attrs[i].name, "' must be ", Name(op.attrs[i].type),
                         ", but ", ToString(attrs[i]), " was given"));
    }
  }
  InferContext context(op, inputs, attrs, outputs);
  op.infer(context);
  OSTRIA_CHECK(!outputs->empty(), op.name);
}

}  // namespace ostria
