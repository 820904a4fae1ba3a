/* The inner loops and which of them this processor runs. Integer dot products are exact, so each kernel may order them
 * as it likes; the float loops are the same C for all. */
#include "internal.h"

#pragma STDC FP_CONTRACT OFF
#if !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#endif

#define LIMIT 1e30f /* no logit is larger, so that differences stay finite */

/* exp of the format, step E: x is first put into [-87, 88], and below -87 the result is 0. */
ALWAYS float er_exp(float x) {
    float inside = x > -87.0f ? x : -87.0f;
    inside = inside < 88.0f ? inside : 88.0f;
    float shifted = inside * 1.44269502f + 12582912.0f; /* rounds to a whole number, ties to even */
    float n = shifted - 12582912.0f;
    float r = (inside - n * 0.693145752f) - n * 1.42860677e-6f;
    float q = 0.00138145965f * r + 0.00836871751f;
    q = q * r + 0.0416683890f;
    q = q * r + 0.166665211f;
    q = q * r + 0.499999940f;
    float y = (r * r * q + r) + 1.0f;
    union {
        int32_t bits;
        float value;
    } power = {((int32_t)n + 127) << 23};
    y = y * power.value;
    return x < -87.0f ? 0.0f : y;
}

/* log of the format, step L, for finite x >= 1. */
float er_log(float x) {
    union {
        float value;
        int32_t bits;
    } u = {x};
    int32_t exponent = (u.bits >> 23) - 127;
    u.bits = (u.bits & 0x7fffff) | 0x3f800000; /* in [1, 2) */
    if (u.value > 1.41421354f) u.value = u.value * 0.5f, exponent = exponent + 1;
    float s = (u.value - 1.0f) / (u.value + 1.0f), t = s * s, n = (float)exponent;
    float q = 0.298729330f * t + 0.399775058f;
    q = q * t + 0.666667759f;
    float small = (s * t * q + n * 1.42860677e-6f) + 2.0f * s;
    return small + n * 0.693145752f;
}

#define TARGET
#define NAME(f) f##_any
#include "kernels.inc"
#undef TARGET
#undef NAME

/* Dot products of a block's 64 items with one task's codes: block[4][groups][16 items][4 dimensions] int8,
 * code[4 * groups] int16 in [-8127, 8127]; digit[0] and digit[1] are its high and low digits of base 128, int8 in
 * [-64, 63]. |dot| <= 1024 * 8127 * 127 < 2^31. */
static void dots_any(const int8_t *block, size_t groups, const int16_t *code, const int8_t *digit, int32_t *dot) {
    (void)digit;
    for (size_t quarter = 0; quarter < 4; quarter++, dot += 16) {
        int32_t sum[16] = {0};
        for (size_t g = 0; g < groups; g++, block += 64)
            for (size_t i = 0; i < 16; i++)
                sum[i] += block[4 * i] * code[4 * g] + block[4 * i + 1] * code[4 * g + 1] +
                          block[4 * i + 2] * code[4 * g + 2] + block[4 * i + 3] * code[4 * g + 3];
        for (size_t i = 0; i < 16; i++) dot[i] = sum[i];
    }
}

#define FLOATS(width) logits_##width, exps_##width, sum_##width, matmul_##width
static const er_kernels scalar = {"scalar", dots_any, FLOATS(any)};

const er_kernels *er_best_kernels(void) { return &scalar; }
const er_kernels *er_named_kernels(const char *name) {
    (void)name;
    return &scalar;
}
