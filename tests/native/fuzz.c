/* Opens what may be a student.bin and asks whatever its shape allows; compiled with the sanitizers, which end the program
 * at the first access out of bounds. A target of libFuzzer, or with -DALONE a program that opens one file again and again
 * with a few bytes changed: fuzz FILE TIMES SEED. */
#define _POSIX_C_SOURCE 200112L
#include "edgerec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENTS = 7, K = 9, MOST = 1 << 26 };
static uint64_t state;
static size_t opened, refused;

static uint32_t next(uint32_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

static void *aligned(size_t bytes) {
    void *memory = NULL;
    return posix_memalign(&memory, EDGEREC_ALIGNMENT, bytes) ? NULL : memory;
}

/* Seldom out of range. */
static int64_t index_of(int64_t count) {
    if (next(64)) return next((uint32_t)count);
    return next(2) ? count - 1 + next(2) : (int64_t)next(2000) - 1000;
}

/* Every array has just the size that the header file says. */
static void ask(edgerec_engine *engine, edgerec_workspace *own) {
    edgerec_shape shape;
    edgerec_describe(engine, &shape);
    size_t k = shape.items < K ? (size_t)shape.items : K, events = next(8) ? next(EVENTS + 1) : EVENTS + 1;
    size_t tasks = (size_t)shape.tasks, columns = (size_t)shape.categorical, numbers = (size_t)shape.numeric;
    int64_t *history = malloc(events * 8), *kind = malloc(events * 8), *item = malloc(K * 8), *exclude = malloc(3 * 8);
    int64_t *categorical = malloc(columns * 8);
    float *count = malloc(events * 4), *age = malloc(events * 4), *numeric = malloc(numbers * 4);
    float *weights = malloc(tasks * 4), *utility = malloc(K * 4), *probability = malloc(K * tasks * 4);
    float *vector = malloc(k * (size_t)shape.dim * 4), *reason = malloc(K * events * 4);
    for (size_t l = 0; l < events; l++) {
        history[l] = index_of(shape.items);
        kind[l] = index_of(shape.kinds);
        count[l] = 1.0f + (float)next(3);
        age[l] = (float)next(1000);
    }
    for (size_t c = 0; c < columns; c++) categorical[c] = next(3);
    for (size_t i = 0; i < numbers; i++) numeric[i] = (float)next(9) - 4.0f;
    for (size_t t = 0; t < tasks; t++) weights[t] = 1.0f - 0.5f * (float)next(4);
    for (size_t i = 0; i < 3; i++) exclude[i] = index_of(shape.items);
    edgerec_request request = {history, kind, count, age, age, events, categorical, numeric, weights, exclude, 3};
    if (!edgerec_recommend(engine, own, &request, k, item, utility, probability, reason))
        edgerec_vectors(engine, item, k, vector);
    for (size_t i = 0; i < K; i++) item[i] = index_of(shape.items);
    edgerec_score(engine, own, &request, item, K, utility, probability, reason);
    edgerec_similar(engine, own, index_of(shape.items), exclude, 3, k, item, utility);
    free(history), free(kind), free(item), free(exclude), free(categorical), free(count), free(age), free(numeric);
    free(weights), free(utility), free(probability), free(vector), free(reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    size_t need;
    edgerec_engine *engine;
    edgerec_workspace *own;
    uint8_t *copy = aligned(size); /* the sanitizers know where it ends */
    memcpy(copy, bytes, size);
    for (size_t i = 0; i < size; i++) state = (state ^ bytes[i]) * 1099511628211u;
    if (!edgerec_measure(copy, size, &need) && need < MOST) {
        void *arena = aligned(need);
        if (!edgerec_open(copy, size, arena, need, &engine)) {
            size_t room = edgerec_workspace_bytes(engine, EVENTS);
            void *memory = aligned(room < MOST ? room : 1);
            opened++;
            if (room < MOST && !edgerec_workspace_open(engine, EVENTS, memory, room, &own))
                for (int i = 0; i < 2; i++) ask(engine, own);
            free(memory);
        }
        free(arena);
    } else
        refused++;
    free(copy);
    return 0;
}

#if defined(ALONE)
int main(int count, char **words) {
    if (count != 4) return 2;
    FILE *file = fopen(words[1], "rb");
    uint8_t *whole = malloc(1 << 24), *copy = malloc(1 << 24);
    size_t size = fread(whole, 1, 1 << 24, file);
    uint64_t seed = strtoull(words[3], NULL, 10);
    for (long i = 0, times = strtol(words[2], NULL, 10); i < times; i++) {
        state = seed++;
        size_t left = next(16) ? size : next((uint32_t)size);
        memcpy(copy, whole, left);
        for (uint32_t changes = next(4); left && changes; changes--) {
            size_t at = next(3) ? next(2) ? next((uint32_t)left) : next(2000) % left : next(128) % left;
            static const uint8_t bytes[] = {0, 1, 2, 63, 64, 127, 128, 255};
            copy[at] = next(2) ? (uint8_t)next(256) : next(2) ? bytes[next(8)] : (uint8_t)(copy[at] ^ 1 << next(8));
        }
        LLVMFuzzerTestOneInput(copy, left);
    }
    free(whole), free(copy), fclose(file);
    printf("%zu opened, %zu refused\n", opened, refused);
    return 0;
}
#else
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed);

/* The header says how long a file is: without this nearly all that is longer or shorter would be refused at once. */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed) {
    size_t longer = LLVMFuzzerMutate(bytes, size, seed % 4 ? size : most);
    uint64_t whole = longer;
    if (seed % 4 == 0 && seed % 32 && longer >= 24) memcpy(bytes + 16, &whole, 8);
    return longer;
}
#endif
