/* Maps a student.bin, makes the first list of a user without history, and prints the peak of its memory in KiB. */
#define _DEFAULT_SOURCE
#include "edgerec.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

int main(int count, char **words) {
    enum { K = 10 };
    struct stat about;
    int file = count == 2 ? open(words[1], O_RDONLY) : -1;
    if (file < 0 || fstat(file, &about)) return 1;
    size_t size = (size_t)about.st_size, need;
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0), *arena, *memory;
    edgerec_engine *engine;
    edgerec_workspace *own;
    edgerec_shape shape;
    if (bytes == MAP_FAILED || edgerec_measure(bytes, size, &need)) return 2;
    if (posix_memalign(&arena, EDGEREC_ALIGNMENT, need) || edgerec_open(bytes, size, arena, need, &engine)) return 3;
    size_t room = edgerec_workspace_bytes(engine, 64);
    if (posix_memalign(&memory, EDGEREC_ALIGNMENT, room) || edgerec_workspace_open(engine, 64, memory, room, &own))
        return 4;
    edgerec_describe(engine, &shape);
    int64_t *categorical = calloc((size_t)shape.categorical + 1, sizeof *categorical), item[K];
    float *numbers = calloc((size_t)shape.numeric + (size_t)shape.tasks, sizeof *numbers), utility[K];
    float *weights = numbers + shape.numeric;
    for (int t = 0; t < shape.tasks; t++) weights[t] = 1.0f;
    edgerec_request request = {.categorical = categorical, .numeric = numbers, .weights = weights};
    if (edgerec_recommend(engine, own, &request, shape.items < K ? 1 : K, item, utility, NULL, NULL)) return 5;
    FILE *status = fopen("/proc/self/status", "r");
    long peak = 0;
    for (char line[256]; status && fgets(line, sizeof line, status);) sscanf(line, "VmHWM: %ld", &peak);
    printf("%ld\n", peak);
    return 0;
}
