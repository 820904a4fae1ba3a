/* The format's arithmetic rounds to nearest, ties to even, and keeps subnormal numbers. A host may have set its
 * processor otherwise (audio and game engines flush subnormals), so that each call sets the control word and gives the
 * host's back. */
#include "internal.h"

#define BARRIER() __asm__ volatile("" ::: "memory")

#if defined(__x86_64__) || defined(__i386__)
er_control er_enter(void) {
    uint32_t old, ours = 0x1f80; /* round to nearest, subnormals kept, no exception raised */
    __asm__ volatile("stmxcsr %0" : "=m"(old));
    __asm__ volatile("ldmxcsr %0" ::"m"(ours) : "memory");
    return old;
}

void er_leave(er_control control) {
    uint32_t old = (uint32_t)control;
    __asm__ volatile("ldmxcsr %0" ::"m"(old) : "memory");
}
#elif defined(__aarch64__)
er_control er_enter(void) {
    uint64_t old, ours = 0;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" ::"r"(ours) : "memory");
    return old;
}

void er_leave(er_control control) { __asm__ volatile("msr fpcr, %0" ::"r"(control) : "memory"); }
#elif defined(__arm__) && defined(__ARM_FP)
er_control er_enter(void) {
    uint32_t old, ours = 0;
    __asm__ volatile("vmrs %0, fpscr" : "=r"(old));
    __asm__ volatile("vmsr fpscr, %0" ::"r"(ours) : "memory");
    return old;
}

void er_leave(er_control control) {
    uint32_t old = (uint32_t)control;
    __asm__ volatile("vmsr fpscr, %0" ::"r"(old) : "memory");
}
#else /* WebAssembly has no such setting, and RISC-V none for subnormals */
er_control er_enter(void) {
    BARRIER();
    return 0;
}

void er_leave(er_control control) {
    (void)control;
    BARRIER();
}
#endif

/* Compilers call these for large assignments even where there is no libc. The bytes are volatile, so that no compiler
 * makes a call to the function itself out of its loop. */
#if !__STDC_HOSTED__
__attribute__((weak, visibility("hidden"))) void *memset(void *to, int value, size_t count);
void *memset(void *to, int value, size_t count) {
    for (size_t i = 0; i < count; i++) ((volatile uint8_t *)to)[i] = (uint8_t)value;
    return to;
}

__attribute__((weak, visibility("hidden"))) void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memcpy(void *restrict to, const void *restrict from, size_t count) {
    for (size_t i = 0; i < count; i++) ((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}
#endif

#if defined(_WIN32) && !__STDC_HOSTED__
/* What a library begins with on Windows; there is nothing to do. */
int __stdcall DllMainCRTStartup(void *instance, uint32_t reason, void *reserved);
int __stdcall DllMainCRTStartup(void *instance, uint32_t reason, void *reserved) {
    (void)instance, (void)reason, (void)reserved;
    return 1;
}
int _fltused = 1;
#endif
