/* A driver without a GPU: memory is malloc's, kernels are functions of the processor, and nothing runs before somebody
   waits for it, so that work which depends on other work without saying so reads what is not there yet. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID = 1, NO_MEMORY = 2, BAD_CAPTURE = 900, NOT_FOUND = 500, NOT_READY = 600 };
enum Kind { COPY, FILL, LAUNCH, HOST, RECORD, WAIT };

typedef struct Event { uint64_t last, done; struct Stream *stream; } Event;
typedef struct Op {
    enum Kind kind;
    void *to; const void *from; size_t bytes; uint32_t value;
    void (*kernel)(void **); int count; uint64_t arguments[64];
    void (*host)(void *); void *data;
    Event *event; uint64_t turn;
    struct Op *next;
} Op;
typedef struct Stream { Op *head, *tail; int capturing; Op *first, *last; } Stream;
typedef struct Graph { Op *first; } Graph;
typedef struct Kernel { char name[80]; void (*code)(void **); int count; struct Kernel *next; } Kernel;
typedef struct Block { char *at; size_t bytes; int pinned; struct Block *next; } Block;
typedef struct Trap { char name[64]; int after, status; struct Trap *next; } Trap;
typedef struct Tally { char name[64]; long count; struct Tally *next; } Tally;

static pthread_mutex_t lock;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static Kernel *kernels; static Block *blocks; static Trap *traps; static Tally *tallies;
static size_t limit = (size_t)1 << 40, used; static int poison, broken, capability = 80; static long live;

static void prepare(void) {
    pthread_mutexattr_t how;
    pthread_mutexattr_init(&how);
    pthread_mutexattr_settype(&how, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &how);
}
static int enter(const char *name) {
    pthread_once(&once, prepare);
    pthread_mutex_lock(&lock);
    Tally *t = tallies;
    while (t && strcmp(t->name, name)) t = t->next;
    if (!t) { t = calloc(1, sizeof *t); strcpy(t->name, name); t->next = tallies; tallies = t; }
    t->count++;
    for (Trap *trap = traps; trap; trap = trap->next)
        if (!strcmp(trap->name, name) && trap->after >= 0 && trap->after-- == 0) return trap->status;
    return OK;
}
static int leave(int status) { pthread_mutex_unlock(&lock); return status; }
#define ENTER(name) do { int trapped = enter(name); if (trapped) return leave(trapped); } while (0)

/* what tests set and ask */
void fake_reset(size_t bytes, int version) { limit = used + bytes; capability = version; poison = broken = 0; traps = NULL; tallies = NULL; }
void fake_fail(const char *name, int after, int status) {
    Trap *trap = calloc(1, sizeof *trap);
    strcpy(trap->name, name); trap->after = after; trap->status = status; trap->next = traps; traps = trap;
}
void fake_poison(int status) { poison = status; }
long fake_count(const char *name) { for (Tally *t = tallies; t; t = t->next) if (!strcmp(t->name, name)) return t->count; return 0; }
long fake_live(void) { return live; }
size_t fake_used(void) { return used; }
void fake_kernel(const char *name, void (*code)(void **), int count) {
    Kernel *k = calloc(1, sizeof *k);
    strcpy(k->name, name); k->code = code; k->count = count; k->next = kernels; kernels = k;
}

static Block *holding(const void *at, size_t bytes) {
    for (Block *b = blocks; b; b = b->next)
        if ((char *)at >= b->at && (char *)at + bytes <= b->at + b->bytes) return b;
    return NULL;
}
static void add(Stream *s, Op *op) {
    if (s->capturing) { if (s->last) s->last->next = op; else s->first = op; s->last = op; return; }
    if (s->tail) s->tail->next = op; else s->head = op;
    s->tail = op;
}
static void step(Stream *s);
static void until(Event *e, uint64_t turn) { while (e->done < turn && e->stream && e->stream->head) step(e->stream); }
static void step(Stream *s) {
    Op *op = s->head;
    if (!op) return;
    if (op->kind == WAIT) until(op->event, op->turn);
    s->head = op->next;
    if (!s->head) s->tail = NULL;
    void *table[64];
    if (!broken) switch (op->kind) {
        case COPY: memcpy(op->to, op->from, op->bytes); break;
        case FILL: for (size_t i = 0; i < op->bytes; i++) ((uint32_t *)op->to)[i] = op->value; break;
        case LAUNCH:
            if (poison) { broken = poison; break; }
            for (int i = 0; i < op->count; i++) table[i] = &op->arguments[i];
            op->kernel(table);
            break;
        case HOST: op->host(op->data); break;
        default: break;
    }
    if (op->kind == RECORD) op->event->done = op->turn;
    free(op);
}
static void drain(Stream *s) { while (s->head) step(s); }

int cuInit(unsigned flags) { ENTER("cuInit"); return leave(OK); }
int cuDeviceGetCount(int *count) { ENTER("cuDeviceGetCount"); *count = 1; return leave(OK); }
int cuDeviceGet(int *device, int ordinal) { ENTER("cuDeviceGet"); *device = ordinal; return leave(OK); }
int cuDeviceGetName(char *name, int size, int device) { ENTER("cuDeviceGetName"); strncpy(name, "Pretence", size); return leave(OK); }
int cuDeviceGetAttribute(int *value, int which, int device) {
    ENTER("cuDeviceGetAttribute");
    *value = which == 75 ? capability / 10 : which == 76 ? capability % 10 : 8;
    return leave(OK);
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { ENTER("cuDeviceTotalMem_v2"); *bytes = limit; return leave(OK); }
int cuDevicePrimaryCtxRetain(void **context, int device) { ENTER("cuDevicePrimaryCtxRetain"); *context = &lock; return leave(OK); }
int cuDevicePrimaryCtxRelease_v2(int device) { ENTER("cuDevicePrimaryCtxRelease_v2"); return leave(OK); }
int cuCtxSetCurrent(void *context) { ENTER("cuCtxSetCurrent"); return leave(OK); }

static void *block(size_t bytes, int pinned) {
    Block *b = calloc(1, sizeof *b);
    if (posix_memalign((void **)&b->at, 256, bytes ? bytes : 1)) abort();
    memset(b->at, 0xFF, bytes); /* a NaN in every type of element */
    b->bytes = bytes; b->pinned = pinned; b->next = blocks; blocks = b; live++;
    if (!pinned) used += bytes;
    return b->at;
}
static int unblock(void *at) {
    for (Block **b = &blocks; *b; b = &(*b)->next)
        if ((*b)->at == at) {
            Block *gone = *b; *b = gone->next;
            if (!gone->pinned) used -= gone->bytes;
            free(gone->at); free(gone); live--;
            return OK;
        }
    return INVALID;
}
int cuMemAlloc_v2(uint64_t *at, size_t bytes) {
    ENTER("cuMemAlloc_v2");
    if (!bytes) return leave(INVALID);
    if (used + bytes > limit) return leave(NO_MEMORY);
    *at = (uint64_t)block(bytes, 0);
    return leave(OK);
}
int cuMemFree_v2(uint64_t at) { ENTER("cuMemFree_v2"); return leave(unblock((void *)at)); }
int cuMemAllocHost_v2(void **at, size_t bytes) { ENTER("cuMemAllocHost_v2"); *at = block(bytes, 1); return leave(OK); }
int cuMemFreeHost(void *at) { ENTER("cuMemFreeHost"); return leave(unblock(at)); }

static int copy(uint64_t to, uint64_t from, size_t bytes, Stream *s) {
    if (!holding((void *)to, bytes) || !holding((void *)from, bytes)) return INVALID;
    Op *op = calloc(1, sizeof *op);
    op->kind = COPY; op->to = (void *)to; op->from = (void *)from; op->bytes = bytes;
    add(s, op);
    return OK;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t n, Stream *s) { ENTER("cuMemcpyHtoDAsync_v2"); return leave(copy(to, (uint64_t)from, n, s)); }
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t n, Stream *s) { ENTER("cuMemcpyDtoHAsync_v2"); return leave(copy((uint64_t)to, from, n, s)); }
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t n, Stream *s) { ENTER("cuMemcpyDtoDAsync_v2"); return leave(copy(to, from, n, s)); }
int cuMemsetD32Async(uint64_t to, unsigned value, size_t n, Stream *s) {
    ENTER("cuMemsetD32Async");
    if (!holding((void *)to, 4 * n)) return leave(INVALID);
    Op *op = calloc(1, sizeof *op);
    op->kind = FILL; op->to = (void *)to; op->value = value; op->bytes = n;
    add(s, op);
    return leave(OK);
}
int cuLaunchHostFunc(Stream *s, void (*function)(void *), void *data) {
    ENTER("cuLaunchHostFunc");
    Op *op = calloc(1, sizeof *op);
    op->kind = HOST; op->host = function; op->data = data;
    add(s, op);
    return leave(OK);
}

int cuStreamCreate(Stream **s, unsigned flags) { ENTER("cuStreamCreate"); *s = calloc(1, sizeof **s); live++; return leave(OK); }
int cuStreamDestroy_v2(Stream *s) { ENTER("cuStreamDestroy_v2"); drain(s); live--; return leave(OK); }
int cuStreamSynchronize(Stream *s) { ENTER("cuStreamSynchronize"); if (s->capturing) return leave(BAD_CAPTURE); drain(s); return leave(broken); }
int cuStreamWaitEvent(Stream *s, Event *e, unsigned flags) {
    ENTER("cuStreamWaitEvent");
    Op *op = calloc(1, sizeof *op);
    op->kind = WAIT; op->event = e; op->turn = e->last;
    add(s, op);
    return leave(OK);
}
int cuStreamBeginCapture_v2(Stream *s, int mode) { ENTER("cuStreamBeginCapture_v2"); s->capturing = 1; s->first = s->last = NULL; return leave(OK); }
int cuStreamEndCapture(Stream *s, Graph **graph) {
    ENTER("cuStreamEndCapture");
    *graph = calloc(1, sizeof **graph);
    (*graph)->first = s->first; s->capturing = 0; live++;
    return leave(OK);
}
static Op *copied(const Op *from) {
    Op *first = NULL, **to = &first;
    for (; from; from = from->next) { *to = malloc(sizeof **to); **to = *from; (*to)->next = NULL; to = &(*to)->next; }
    return first;
}
int cuGraphInstantiateWithFlags(Graph **made, Graph *graph, uint64_t flags) {
    ENTER("cuGraphInstantiateWithFlags");
    *made = calloc(1, sizeof **made);
    (*made)->first = copied(graph->first); live++;
    return leave(OK);
}
int cuGraphLaunch(Graph *graph, Stream *s) {
    ENTER("cuGraphLaunch");
    for (Op *op = copied(graph->first), *next; op; op = next) { next = op->next; op->next = NULL; add(s, op); }
    return leave(OK);
}
int cuGraphExecDestroy(Graph *graph) { ENTER("cuGraphExecDestroy"); free(graph); live--; return leave(OK); }
int cuGraphDestroy(Graph *graph) { ENTER("cuGraphDestroy"); free(graph); live--; return leave(OK); }

int cuEventCreate(Event **e, unsigned flags) { ENTER("cuEventCreate"); *e = calloc(1, sizeof **e); live++; return leave(OK); }
int cuEventRecord(Event *e, Stream *s) {
    ENTER("cuEventRecord");
    Op *op = calloc(1, sizeof *op);
    op->kind = RECORD; op->event = e; op->turn = ++e->last; e->stream = s;
    add(s, op);
    return leave(OK);
}
int cuEventQuery(Event *e) {
    ENTER("cuEventQuery");
    if (e->done < e->last) { step(e->stream); if (e->done < e->last) return leave(NOT_READY); }
    return leave(broken);
}
int cuEventSynchronize(Event *e) { ENTER("cuEventSynchronize"); until(e, e->last); return leave(broken); }
int cuEventElapsedTime(float *ms, Event *a, Event *b) { ENTER("cuEventElapsedTime"); *ms = 0; return leave(OK); }
int cuEventDestroy_v2(Event *e) { ENTER("cuEventDestroy_v2"); until(e, e->last); live--; return leave(OK); }

int cuModuleLoadData(char **module, const char *text) { ENTER("cuModuleLoadData"); *module = strdup(text); live++; return leave(OK); }
int cuModuleGetFunction(Kernel **found, const char *module, const char *name) {
    ENTER("cuModuleGetFunction");
    char entry[128] = ".entry ";
    strcat(entry, name); strcat(entry, "(");
    if (!strstr(module, entry)) return leave(NOT_FOUND);
    for (Kernel *k = kernels; k; k = k->next) if (!strcmp(k->name, name)) { *found = k; return leave(OK); }
    return leave(NOT_FOUND);
}
int cuModuleUnload(char *module) { ENTER("cuModuleUnload"); free(module); live--; return leave(OK); }
int cuLaunchKernel(Kernel *k, unsigned bx, unsigned by, unsigned bz, unsigned tx, unsigned ty, unsigned tz,
                   unsigned shared, Stream *s, void **arguments, void **extra) {
    ENTER("cuLaunchKernel");
    if (!bx || !tx || tx > 1024 || by != 1 || bz != 1 || ty != 1 || tz != 1) return leave(INVALID);
    Op *op = calloc(1, sizeof *op);
    op->kind = LAUNCH; op->kernel = k->code; op->count = k->count;
    for (int i = 0; i < k->count; i++) {
        op->arguments[i] = *(uint64_t *)arguments[i];
        if (!holding((void *)op->arguments[i], 1)) return leave(INVALID);
    }
    add(s, op);
    return leave(OK);
}
int cuGetErrorName(int status, const char **text) { *text = status == NO_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR"; return OK; }
int cuGetErrorString(int status, const char **text) { *text = status == NO_MEMORY ? "out of memory" : "something is wrong"; return OK; }

/* what cuDNN looks for when it is loaded; none of it is called while plans are described */
#define ABSENT(name) int name(void) { return 801; }
ABSENT(cuTensorMapEncodeIm2col) ABSENT(cuTensorMapEncodeTiled) ABSENT(cuCtxGetCurrent) ABSENT(cuCtxGetLimit)
ABSENT(cuCtxPopCurrent) ABSENT(cuCtxPushCurrent) ABSENT(cuStreamGetCtx) ABSENT(cuLinkCreate) ABSENT(cuLinkAddData)
ABSENT(cuLinkComplete) ABSENT(cuLinkDestroy) ABSENT(cuLaunchCooperativeKernel) ABSENT(cuLibraryLoadData)
ABSENT(cuLibraryLoadFromFile) ABSENT(cuLibraryGetKernel) ABSENT(cuLibraryUnload) ABSENT(cuKernelSetAttribute)
ABSENT(cuKernelGetAttribute) ABSENT(cuKernelGetFunction) ABSENT(cuOccupancyMaxPotentialClusterSize)
ABSENT(cuLaunchKernelEx)
int cuDriverGetVersion(int *version) { *version = 12090; return OK; }
