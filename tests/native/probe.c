/* Answers the requests of data.h, which tests/runtime/test_native.py writes, and prints all results as bytes. It needs
 * no libc, so that it runs wherever the library does: on this machine, and on others' processors under qemu. */
#include "edgerec.c"

#include "data.h" /* student[], STUDENT_BYTES, K, requests[] */

#if defined(__x86_64__)
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
#define WRITE 1
#define EXIT 60
#elif defined(__aarch64__)
static long call(long number, long a, long b, long c) {
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
#define WRITE 64
#define EXIT 93
#elif defined(__riscv)
static long call(long number, long a, long b, long c) {
    register long a7 __asm__("a7") = number, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
}
#define WRITE 64
#define EXIT 93
#elif defined(__arm__)
static long call(long number, long a, long b, long c) {
    register long r7 __asm__("r7") = number, r0 __asm__("r0") = a, r1 __asm__("r1") = b, r2 __asm__("r2") = c;
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
    return r0;
}
#define WRITE 4
#define EXIT 1
#endif

enum { EVENTS = 256 };
static _Alignas(64) uint8_t arena[1 << 22], memory[1 << 22];

static void need(int code) {
    if (code) call(EXIT, code, 0, 0);
}

static void put_out(const void *values, size_t bytes) { call(WRITE, 1, (long)(intptr_t)values, (long)bytes); }

#if defined(__x86_64__)
__attribute__((force_align_arg_pointer))
#endif
void _start(void);
void _start(void) {
    edgerec_engine *engine;
    edgerec_workspace *own;
    edgerec_shape shape;
#if defined(FLUSH) && defined(__x86_64__)
    uint32_t control = 0x9fc0 | 0x6000; /* subnormals flushed, and rounding toward zero */
    __asm__ volatile("ldmxcsr %0" ::"m"(control));
#endif
    need(edgerec_open(student, STUDENT_BYTES, arena, sizeof arena, &engine));
#if defined(KERNEL)
    need(edgerec_use_kernel(engine, KERNEL));
#endif
    need(edgerec_workspace_open(engine, EVENTS, memory, sizeof memory, &own));
    edgerec_describe(engine, &shape);
    static int64_t item[K];
    static float utility[K], probability[K * 64], reason[K * EVENTS];
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        need(edgerec_recommend(engine, own, requests + i, K, item, utility, probability, reason));
        put_out(item, sizeof item);
        put_out(utility, sizeof utility);
        put_out(probability, K * (size_t)shape.tasks * sizeof *probability);
        put_out(reason, K * requests[i].events * sizeof *reason);
    }
    call(EXIT, 0, 0, 0);
}
