// SPDX-License-Identifier: Apache-2.0
// The types that rules of kernels/data are made for, with the suffixes of their kernels: calls
// X(name, rule, suffix, type). Updates know sizes only, sums no signs.
#pragma once

#include "kernels/data/rules.h"

#define OSTRIA_FOR_SIZES(X, name, rule) \
  X(name, rule, 1, uint8_t)             \
  X(name, rule, 2, uint16_t) X(name, rule, 4, uint32_t) X(name, rule, 8, uint64_t)
#define OSTRIA_FOR_HALVES(X, name, rule) X(name, rule, f16, Float16) X(name, rule, bf16, BFloat16)
#define OSTRIA_FOR_WIDE_FLOATS(X, name, rule) X(name, rule, f32, float) X(name, rule, f64, double)
#define OSTRIA_FOR_UNSIGNED(X, name, rule) \
  X(name, rule, u8, uint8_t)               \
  X(name, rule, u16, uint16_t) X(name, rule, u32, uint32_t) X(name, rule, u64, uint64_t)
#define OSTRIA_FOR_SIGNED(X, name, rule) \
  X(name, rule, i8, int8_t)              \
  X(name, rule, i16, int16_t) X(name, rule, i32, int32_t) X(name, rule, i64, int64_t)
#define OSTRIA_FOR_NUMBERS(X, name, rule) \
  OSTRIA_FOR_HALVES(X, name, rule)        \
  OSTRIA_FOR_WIDE_FLOATS(X, name, rule)   \
  OSTRIA_FOR_UNSIGNED(X, name, rule) OSTRIA_FOR_SIGNED(X, name, rule)
