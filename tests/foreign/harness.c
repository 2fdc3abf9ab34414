/* Runs host code of another processor as the runtime would: ./harness CODE.so OPERANDS > RESULTS

   OPERANDS are 64-bit numbers and bytes: how many inputs, constants and outputs there are, the bytes of the workspace,
   how many threads to run with and the bytes of scratch that each helper needs; then the size and the bytes of each
   input and constant, and the size of each output. RESULTS are the code's status and whether it left the
   floating-point modes as they were, as two 64-bit numbers, then the bytes of the outputs. Behind every input and
   output lies a page that may not be touched. */

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "interface.h"

enum { MOST = 256, PAGE = 65536, SLACK = 64 };

typedef int32_t (*Run)(void *const *, void *const *, void *const *, uint8_t *, void *const *, void *);
typedef void (*Help)(void *, int32_t);

static void *team;
static Help help;
static FILE *operands;

static uint64_t modes(void) {
    uint64_t value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
}

static int64_t number(void) {
    int64_t value;
    if (fread(&value, sizeof value, 1, operands) != 1) exit(2);
    return value;
}

/* Memory that ends where a page that may not be touched begins. */
static void *guarded(int64_t size) {
    int64_t whole = (size + PAGE - 1) / PAGE * PAGE;
    uint8_t *at = mmap(NULL, whole + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED || mprotect(at + whole, PAGE, PROT_NONE)) exit(3);
    return at + whole - size;
}

static void *filled(void *at, int64_t size) {
    if (size && fread(at, size, 1, operands) != 1) exit(2);
    return at;
}

static void *helper(void *lane) {
    help(team, (int32_t)(intptr_t)lane);
    return NULL;
}

int main(int count, char **arguments) {
    void *inputs[MOST], *outputs[MOST], *constants[MOST], *services[] = {SERVICES};
    int64_t sizes[MOST];
    if (count != 3) return 1;
    void *library = dlopen(arguments[1], RTLD_NOW);
    operands = fopen(arguments[2], "rb");
    if (!library || !operands) {
        fprintf(stderr, "%s\n", library ? "no operands" : dlerror());
        return 4;
    }
    Run run = (Run)dlsym(library, ENTRY);
    help = (Help)dlsym(library, HELP);
    int64_t in = number(), fixed = number(), out = number();
    int64_t workspace = number(), threads = number(), scratch = number();
    if (!run || in > MOST || fixed > MOST || out > MOST || (threads > 1 && !help)) return 5;
    for (int64_t i = 0; i < in; i++) {
        int64_t size = number();
        inputs[i] = filled(guarded(size), size);
    }
    for (int64_t i = 0; i < fixed; i++) {
        int64_t size = number();
        constants[i] = filled(aligned_alloc(64, (size + SLACK + 63) / 64 * 64), size);
    }
    for (int64_t i = 0; i < out; i++) outputs[i] = guarded(sizes[i] = number());
    uint8_t *room = aligned_alloc(4096, (workspace + (threads - 1) * scratch + 8191) / 4096 * 4096);
    memset(room, 0xCD, workspace);
    if (threads > 1) {
        void **place;
        team = aligned_alloc(128, TEAM_BYTES);
        memset(team, 0, TEAM_BYTES);
        *(int32_t *)((uint8_t *)team + TEAM_THREADS) = (int32_t)threads;
        place = (void **)((uint8_t *)team + TEAM_SERVICES);
        *place = services;
        for (int64_t lane = 1; lane < threads; lane++) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, helper, (void *)(intptr_t)lane)) return 6;
        }
    }
    uint64_t before = modes();
    int64_t status = run(inputs, outputs, constants, room, services, team);
    int64_t kept = modes() == before;
    fwrite(&status, sizeof status, 1, stdout);
    fwrite(&kept, sizeof kept, 1, stdout);
    for (int64_t i = 0; i < out; i++)
        if (sizes[i]) fwrite(outputs[i], sizes[i], 1, stdout);
    fflush(stdout);
    _exit(0); /* helpers never return */
}
