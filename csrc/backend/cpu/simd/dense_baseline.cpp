// SPDX-License-Identifier: Apache-2.0
// The hand-written loops, compiled for one instruction set (flags: csrc/backend/CMakeLists.txt).
#define OSTRIA_SIMD_ISA 0
#include "backend/cpu/simd/optimizer_impl.h"
#include "backend/cpu/simd/random_impl.h"

namespace ostria {
namespace {

constexpr DenseTable MakeTable() {
  DenseTable table = {};
  simd::FillFolds<simd::VecF32>(&table.f32);
  simd::FillFolds<simd::VecF64>(&table.f64);
  simd::FillRows<simd::VecF32>(&table.f32);
  simd::FillRows<simd::VecF64>(&table.f64);
  simd::FillOptimizers<simd::VecF32>(&table.f32);
  simd::FillOptimizers<simd::VecF64>(&table.f64);
  table.random = simd::MakeRandomKernels();
  return table;
}

}  // namespace

constinit const DenseTable kDenseBaseline = MakeTable();

}  // namespace ostria
