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
ALWAYS float er_log(float x) {
    union {
        float value;
        int32_t bits;
    } u = {x};
    int32_t exponent = (u.bits >> 23) - 127;
    u.bits = (u.bits & 0x7fffff) | 0x3f800000; /* in [1, 2) */
    int32_t halved = u.value > 1.41421354f;
    u.bits = u.bits - (halved << 23);
    exponent = exponent + halved;
    float s = (u.value - 1.0f) / (u.value + 1.0f), t = s * s, n = (float)exponent;
    float q = 0.298729330f * t + 0.399775058f;
    q = q * t + 0.666667759f;
    float small = (s * t * q + n * 1.42860677e-6f) + 2.0f * s;
    return small + n * 0.693145752f;
}

/* 16 floats, which the compiler divides among the registers that there are. */
typedef float er_lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t er_lane_bits __attribute__((vector_size(4 * LANES)));

#define TARGET
#define NAME(f) f##_any
#define ROWS 2
#include "kernels.inc"

#if defined(__x86_64__) || defined(__i386__)
#define TARGET __attribute__((target("avx2")))
#define NAME(f) f##_avx2
#define ROWS 4
#include "kernels.inc"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define NAME(f) f##_avx512
#define ROWS 8
#include "kernels.inc"
#endif

#include "dots.inc"

#define FLOATS(width)                                                                                                \
    logits_##width, exps_##width, logs_##width, sum_##width, range_##width, attend_##width, weigh_##width, matmul_##width

/* The kernels of this build, the fastest first; their names are the bits of `available`. */
static const er_kernels kernels[] = {
#if defined(__x86_64__) || defined(__i386__)
    {"avx512-vnni", dots_vnni, FLOATS(avx512)},
    {"avx2", dots_avx2, FLOATS(avx2)},
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
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
    if (c >> 19 & 1) found |= 1u << 2;
    /* The system saves wide registers only if it says so. */
    if (c >> 27 & 1) __asm__ volatile("xgetbv" : "=a"(states), "=d"(states_high) : "c"(0));
    if ((states & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
    if (b >> 5 & 1) found |= 1u << 1;
    if ((states & 0xe6) == 0xe6 && (b & avx512) == avx512 && (c >> 11 & 1) && (b >> 5 & 1)) found |= 1u;
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
static APART uint32_t hash(uint32_t h, const void *values, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) h = (h ^ ((const uint8_t *)values)[i]) * 16777619u;
    return h;
}

#define ANSWER 0x9889267bu

static int32_t next(uint32_t *state) { return (int32_t)((*state = *state * 1664525u + 1013904223u) >> 16); } /* 16 bits */

static APART uint32_t answer_of_scan(const er_kernels *k, uint32_t h) {
    enum { GROUPS = 5, CODED = GROUP * GROUPS, TASKS = 3 };
    int8_t block[BLOCK * CODED], digit[TASKS * 2 * CODED], prior[TASKS * BLOCK];
    int16_t code[TASKS * CODED];
    int32_t sum[TASKS] = {0}, dot[TASKS * BLOCK];
    float scale[BLOCK], z[TASKS * BLOCK], ends[3];
    const float task_scale[TASKS] = {1.1e-3f, 0.7f, 2e-5f}, prior_scale[TASKS] = {0.013f, 1.0f, 3e-3f};
    const float middle[TASKS] = {-0.7f, 0.0f, 1e3f};
    const er_codes user = {code, digit, sum};
    const er_head head = {TASKS, NULL, prior, prior_scale, middle};
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof block; i++) block[i] = (int8_t)(next(&state) % 255 - 127);
    for (size_t i = 0; i < TASKS * CODED; i++) {
        int8_t *high = digit + i / CODED * 2 * CODED + i % CODED, *low = high + CODED;
        code[i] = i < 2 ? (int16_t)(i ? CODES : -CODES) : (int16_t)(next(&state) % (2 * CODES + 1) - CODES);
        *low = (int8_t)(((code[i] + 64) & 127) - 64);
        *high = (int8_t)((code[i] - *low) / 128);
        sum[i / CODED] += code[i];
    }
    for (size_t i = 0; i < BLOCK; i++) scale[i] = (float)next(&state) * 1e-7f;
    for (size_t i = 0; i < TASKS * BLOCK; i++) prior[i] = (int8_t)(next(&state) % 255 - 127);
    k->dots(block, GROUPS, &user, TASKS, dot);
    k->logits(dot, task_scale, &head, scale, prior, BLOCK, z);
    h = hash(hash(h, dot, sizeof dot), z, sizeof z);
    for (size_t i = 0; i < BLOCK; i++) z[i] = (float)(next(&state) - 32768) * 3e-3f;
    k->range(z, &ends[0], &ends[1]);
    ends[2] = k->sum(z, 1.5f);
    k->exps(z, BLOCK - 1, 1.5f);
    return hash(hash(h, z, sizeof z), ends, sizeof ends);
}

static APART uint32_t answer_of_tower(const er_kernels *k, uint32_t h) {
    enum { EVENTS = 11, INPUTS = 3, WIDE = 9 * LANES };
    float w[INPUTS * WIDE], x[EVENTS * INPUTS], y[EVENTS * LANES], z[WIDE] = {0};
    uint32_t state = 1;
    /* Some products are subnormal: a processor that flushes them is noticed. */
    for (size_t i = 0; i < INPUTS * WIDE; i++) w[i] = (float)(next(&state) - 32768) * (i % 3 ? 1e-3f : 1e-25f);
    for (size_t i = 0; i < EVENTS * INPUTS; i++) x[i] = (float)(next(&state) - 32768) * (i % 5 ? 1e-3f : 1e-22f);
    for (size_t i = 0; i < EVENTS * LANES; i++) y[i] = 0.0f;
    k->matmul(w, INPUTS, LANES, x, INPUTS, EVENTS, y, LANES);
    k->matmul(w, INPUTS, WIDE, x, 0, 1, z, 0);
    h = hash(hash(h, y, sizeof y), z, sizeof z);
    k->attend(y, EVENTS, LANES, z);
    h = hash(h, y, sizeof y);
    for (size_t i = 0; i < WIDE - 1; i++) z[i] = 1.0f + (float)next(&state);
    k->logs(z, WIDE - 1);
    k->weigh(y, w, z, EVENTS * LANES - 100);
    return hash(hash(h, z, sizeof z), y, sizeof y);
}

static uint32_t answer(const er_kernels *k) { return answer_of_tower(k, answer_of_scan(k, 2166136261u)); }

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
