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

#if defined(__x86_64__) || defined(__i386__)
#define TARGET __attribute__((target("avx2")))
#define NAME(f) f##_wide
#include "kernels.inc"
#undef TARGET
#undef NAME
#endif

#include "dots.inc"

#define FLOATS(width) logits_##width, exps_##width, sum_##width, range_##width, matmul_##width

/* The kernels of this build, the fastest first; their names are the bits of `available`. */
static const er_kernels kernels[] = {
#if defined(__x86_64__) || defined(__i386__)
    {"avx512-vnni", dots_vnni, FLOATS(wide)},
    {"avx2", dots_avx2, FLOATS(wide)},
    {"sse4.1", dots_sse41, FLOATS(any)},
#endif
#if defined(__aarch64__)
    {"neon-dot", dots_sdot, FLOATS(any)},
#endif
#if defined(__ARM_NEON)
    {"neon", dots_neon, FLOATS(any)},
#endif
#if defined(__wasm_simd128__)
    {"wasm-simd128", dots_wasm, FLOATS(any)},
#endif
    {"scalar", dots_any, FLOATS(any)},
};
enum { KERNELS = sizeof kernels / sizeof *kernels };

/* Which of `kernels` this processor and its system run: bit i for kernel i. */
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

static unsigned available(void) {
    unsigned a, b, c, d, found = 1u << 3, states = 0, states_high;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
    if (c >> 19 & 1) found |= 1u << 2;
    /* The system saves wide registers only if it says so. */
    if (c >> 27 & 1) __asm__ volatile("xgetbv" : "=a"(states), "=d"(states_high) : "c"(0));
    if ((states & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
    if (b >> 5 & 1) found |= 1u << 1;
    if ((states & 0xe6) == 0xe6 && (b >> 16 & 1) && (b >> 30 & 1) && (c >> 11 & 1) && (b >> 5 & 1)) found |= 1u;
    return found;
}
#elif defined(__aarch64__) && !defined(__ARM_FEATURE_DOTPROD)
/* Linux and Android tell; the symbol is weak, so that the library needs no libc where there is none. */
extern unsigned long getauxval(unsigned long) __attribute__((weak));

static unsigned available(void) {
    int has_dot = getauxval && (getauxval(16) >> 20 & 1); /* AT_HWCAP, HWCAP_ASIMDDP */
    return has_dot ? ~0u : ~1u;
}
#else
static unsigned available(void) { return ~0u; }
#endif

/* The known-answer test: what a kernel computes of made-up numbers, as one hash. */
static uint32_t hash(uint32_t h, const void *values, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) h = (h ^ ((const uint8_t *)values)[i]) * 16777619u;
    return h;
}

#define ANSWER 0xaaf69d8eu

static APART uint32_t answer(const er_kernels *k) {
    enum { GROUPS = 5, ROWS = 5, INPUTS = 7 };
    int8_t block[BLOCK * GROUP * GROUPS], digit[2 * GROUP * GROUPS], prior[BLOCK];
    int16_t code[GROUP * GROUPS];
    int32_t dot[BLOCK];
    float scale[BLOCK], z[BLOCK], w[INPUTS * 2 * LANES], x[ROWS * INPUTS], y[ROWS * 2 * LANES], ends[2];
    uint32_t state = 1, h = 2166136261u;
#define NEXT() ((int32_t)((state = state * 1664525u + 1013904223u) >> 16)) /* 0 ... 65535 */
    for (size_t i = 0; i < sizeof block; i++) block[i] = (int8_t)(NEXT() % 255 - 127);
    for (size_t i = 0; i < GROUP * GROUPS; i++) {
        code[i] = i < 2 ? (int16_t)(i ? CODES : -CODES) : (int16_t)(NEXT() % (2 * CODES + 1) - CODES);
        digit[GROUP * GROUPS + i] = (int8_t)(((code[i] + 64) & 127) - 64);
        digit[i] = (int8_t)((code[i] - digit[GROUP * GROUPS + i]) / 128);
    }
    for (size_t i = 0; i < BLOCK; i++) scale[i] = (float)NEXT() * 1e-7f, prior[i] = (int8_t)(NEXT() % 255 - 127);
    k->dots(block, GROUPS, code, digit, dot);
    k->logits(dot, 1.1e-3f, scale, prior, 0.013f, -0.7f, z);
    h = hash(hash(h, dot, sizeof dot), z, sizeof z);
    k->range(z, &ends[0], &ends[1]);
    h = hash(h, ends, sizeof ends);
    for (size_t i = 0; i < BLOCK; i++) z[i] = (float)(NEXT() - 32768) * 3e-3f;
    k->exps(z, BLOCK, 1.5f);
    ends[0] = k->sum(z);
    ends[1] = er_log(1.0f + (float)NEXT());
    h = hash(hash(h, z, sizeof z), ends, sizeof ends);
    /* Some products are subnormal: a processor that flushes them is noticed. */
    for (size_t i = 0; i < INPUTS * 2 * LANES; i++) w[i] = (float)(NEXT() - 32768) * (i % 3 ? 1e-3f : 1e-25f);
    for (size_t i = 0; i < ROWS * INPUTS; i++) x[i] = (float)(NEXT() - 32768) * (i % 5 ? 1e-3f : 1e-22f);
    for (size_t i = 0; i < ROWS * 2 * LANES; i++) y[i] = 0.0f;
    k->matmul(w, INPUTS, 2 * LANES, x, INPUTS, ROWS, y, 2 * LANES);
#undef NEXT
    return hash(h, y, sizeof y);
}

const er_kernels *er_best_kernels(void) {
    unsigned found = available();
    for (size_t i = 0; i < KERNELS; i++)
        if ((found >> i & 1) && answer(kernels + i) == ANSWER) return kernels + i;
    return NULL;
}

const er_kernels *er_named_kernels(const char *name) {
    unsigned found = available();
    for (size_t i = 0; i < KERNELS; i++) {
        const char *a = kernels[i].name, *b = name;
        while (*a && *a == *b) a++, b++;
        if (*a == *b && (found >> i & 1) && answer(kernels + i) == ANSWER) return kernels + i;
    }
    return NULL;
}
