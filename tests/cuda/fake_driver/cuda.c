/* A CUDA that only pretends: as much of the driver and of its runtime as CuPy calls, with no device behind it.

   Device memory is memory of the host, so copies are real. Kernels are looked up in the code that NVRTC compiled, but
   never run; those that were compiled for the host instead (../numbers) are run. A stream is a number. While one is being recorded, what CUDA forbids is refused with CUDA's own codes.
   Every call that matters is a line of JSON in the file that FAKE_CUDA_LOG names, with whether something was being
   recorded then. A function that is not here has no fake, and CuPy says so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { /* of cudaError_t and CUresult, which share these numbers */
    SUCCESS = 0, INVALID_VALUE = 1, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_IMAGE = 200, NOT_FOUND = 500,
    NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901,
};
enum { VERSION = 12090, ALIGNMENT = 512, MEGABYTE = 1 << 20, L2 = 50 * MEGABYTE };
typedef const void *Handle; /* of a stream, an event, a graph, a module or a function */

static int devices = 2, major = 9, minor = 0; /* of what there is to be seen: H100s have compute capability 9.0 */
static int current;
static uintptr_t numbers = 0x1000; /* the last stream or event that was made */
static Handle recorded;            /* the stream that is being recorded */
static int invalidated, nodes;     /* of that record */

/* For the tests: another number of devices of another compute capability. */
void fake_devices(int count, int capability) { devices = count, major = capability / 10, minor = capability % 10; }

int fake_recording(void) { return recorded != NULL; }

static FILE *calls;

/* Have all that was written down where it is read: a write for each call takes longer than the call. */
void fake_flush(void) { if (calls) fflush(calls); }

/* Write one call down; ``format`` gives the members of an object of JSON. */
void fake_note(const char *format, ...) {
    va_list members;
    if (!calls) {
        const char *name = getenv("FAKE_CUDA_LOG");
        if (!name || !(calls = fopen(name, "a"))) abort();
    }
    va_start(members, format);
    fprintf(calls, "{\"recorded\": %s, ", recorded ? "true" : "false");
    vfprintf(calls, format, members);
    fputs("}\n", calls);
    va_end(members);
}

/* Work that is put into ``stream``: a node of the graph, where that is being recorded. */
void fake_enqueue(Handle stream) { nodes += recorded && stream == recorded; }

/* The same, of work that can be done: at once, or when the graph is launched. */
typedef struct Work { int (*run)(void *); void *data; struct Work *next; } Work;
static Work *first_work, **last_work = &first_work;

int fake_do(Handle stream, int (*run)(void *), void *data) {
    fake_enqueue(stream);
    if (recorded && stream == recorded) {
        Work *work = malloc(sizeof *work);
        *work = (Work){run, data, NULL};
        *last_work = work, last_work = &work->next;
        return SUCCESS;
    }
    return run(data);
}

typedef struct { void *target; const void *source; size_t bytes; int value; } Move;
static int copied(void *data) { Move *m = data; memcpy(m->target, m->source, m->bytes); return SUCCESS; }
static int filled(void *data) { Move *m = data; memset(m->target, m->value, m->bytes); return SUCCESS; }
static Move *move(Move m) { Move *kept = malloc(sizeof *kept); *kept = m; return kept; }

int fake_unsupported(void) { return NOT_SUPPORTED; }

/* Waiting for what is being recorded is refused, and makes the record worthless. */
static int wait_for(const char *what, const char *kind, Handle handle, int refused) {
    fake_note("\"call\": \"%s\", \"%s\": %zu", what, kind, (uintptr_t)handle);
    invalidated |= refused;
    return refused ? CAPTURE_UNSUPPORTED : SUCCESS;
}

/* Runtime: devices ------------------------------------------------------------------------------------------ */

int cudaDriverGetVersion(int *version) { return *version = VERSION, SUCCESS; }
int cudaRuntimeGetVersion(int *version) { return *version = VERSION, SUCCESS; }
int cudaGetDeviceCount(int *count) { return *count = devices, devices ? SUCCESS : NO_DEVICE; }
int cudaGetDevice(int *device) { return *device = current, devices ? SUCCESS : NO_DEVICE; }
int cudaSetDevice(int device) { return device < devices ? (current = device, SUCCESS) : INVALID_DEVICE; }
int cudaGetLastError(void) { return SUCCESS; }
int cudaPeekAtLastError(void) { return SUCCESS; }
const char *cudaGetErrorString(int error) { return error == NO_DEVICE ? "no device" : "refused by the fake driver"; }

const char *cudaGetErrorName(int error) {
    switch (error) {
        case NO_DEVICE: return "cudaErrorNoDevice";
        case INVALID_DEVICE: return "cudaErrorInvalidDevice";
        case NOT_SUPPORTED: return "cudaErrorNotSupported";
        case CAPTURE_UNSUPPORTED: return "cudaErrorStreamCaptureUnsupported";
        case CAPTURE_INVALIDATED: return "cudaErrorStreamCaptureInvalidated";
        default: return "cudaErrorUnknown";
    }
}

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    if (device >= devices) return INVALID_DEVICE;
    switch (attribute) { /* of cudaDeviceAttr, as an H100 has them */
        case 1: *value = 1024; break;    /* threads of a block */
        case 8: *value = 49152; break;   /* bytes of shared memory of a block */
        case 10: *value = 32; break;     /* threads of a warp */
        case 16: *value = 132; break;    /* multiprocessors */
        case 38: *value = L2; break;
        case 39: *value = 2048; break;   /* threads of a multiprocessor */
        case 75: *value = major; break;  /* of the compute capability */
        case 76: *value = minor; break;
        case 97: *value = 232448; break; /* bytes of shared memory of a block that asks for it */
        default: *value = 1;
    }
    return SUCCESS;
}

int cudaDeviceCanAccessPeer(int *can, int device, int peer) { return *can = device != peer, SUCCESS; }
int cudaDeviceSynchronize(void) { return wait_for("deviceSynchronize", "stream", NULL, recorded != NULL); }

/* Runtime: memory ------------------------------------------------------------------------------------------- */

int cudaMemGetInfo(size_t *left, size_t *total) { return *left = *total = (size_t)80 << 30, SUCCESS; }

enum Memory { PAGEABLE, PINNED, DEVICE }; /* of cudaMemoryType */
static struct Block { char *at; size_t bytes; enum Memory kind; struct Block *next; } *blocks; /* not given back */

static int allocate(const char *what, enum Memory kind, void **memory, size_t bytes) {
    size_t whole = (bytes / ALIGNMENT + 1) * ALIGNMENT;
    struct Block *block = malloc(sizeof *block);
    *memory = memset(aligned_alloc(ALIGNMENT, whole), 0, whole);
    *block = (struct Block){*memory, bytes, kind, blocks};
    blocks = block;
    fake_note("\"call\": \"%s\", \"at\": %zu, \"bytes\": %zu", what, (uintptr_t)*memory, bytes);
    return SUCCESS;
}

static int give_back(const char *what, void *memory) {
    struct Block **link = &blocks, *block;
    fake_note("\"call\": \"%s\", \"at\": %zu", what, (uintptr_t)memory);
    while (*link && (*link)->at != memory) link = &(*link)->next;
    if (!*link) return memory ? INVALID_VALUE : SUCCESS;
    block = *link, *link = block->next;
    return free(block), free(memory), SUCCESS;
}

int cudaMalloc(void **memory, size_t bytes) { return allocate("malloc", DEVICE, memory, bytes); }
int cudaHostAlloc(void **memory, size_t bytes, unsigned flags) { return allocate("hostAlloc", PINNED, memory, bytes); }
int cudaFree(void *memory) { return give_back("free", memory); }
int cudaFreeHost(void *memory) { return give_back("freeHost", memory); }

static enum Memory kind_of(const char *start, size_t bytes) {
    struct Block *block = blocks;
    while (block && !(block->at <= start && start + bytes <= block->at + block->bytes)) block = block->next;
    return block ? block->kind : PAGEABLE;
}

/* For the tests: whether all of this is memory of the device, and not given back. */
int fake_holds(const char *start, size_t bytes) { return kind_of(start, bytes) == DEVICE; }

typedef struct { enum Memory kind; int device; void *on_device, *on_host; } Attributes;

int cudaPointerGetAttributes(Attributes *told, void *pointer) {
    told->kind = kind_of(pointer, 1), told->device = current;
    told->on_device = told->kind ? pointer : NULL, told->on_host = told->kind == DEVICE ? NULL : pointer;
    return SUCCESS;
}

int cudaMemcpyAsync(void *target, const void *source, size_t bytes, int kind, Handle stream) {
    static const char *const kinds[] = {"copyHostToHost", "copyHostToDevice", "copyDeviceToHost", "copyDeviceToDevice"};
    if (kind < 0 || kind > 4) return INVALID_VALUE;
    if (kind == 4) kind = 2 * fake_holds(source, bytes) + fake_holds(target, bytes); /* "as the pointers say" */
    fake_note("\"call\": \"%s\", \"bytes\": %zu, \"stream\": %zu", kinds[kind], bytes, (uintptr_t)stream);
    return fake_do(stream, copied, move((Move){target, source, bytes, 0}));
}

int cudaMemcpy(void *target, const void *source, size_t bytes, int kind) {
    return cudaMemcpyAsync(target, source, bytes, kind, NULL);
}

int cudaMemsetAsync(void *target, int value, size_t bytes, Handle stream) {
    fake_note("\"call\": \"memset\", \"bytes\": %zu, \"stream\": %zu", bytes, (uintptr_t)stream);
    return fake_do(stream, filled, move((Move){target, NULL, bytes, value}));
}

int cudaMemset(void *target, int value, size_t bytes) { return cudaMemsetAsync(target, value, bytes, NULL); }

/* Runtime: streams, events, graphs -------------------------------------------------------------------------- */

int cudaStreamCreateWithFlags(Handle *stream, unsigned flags) {
    *stream = (Handle)++numbers;
    return fake_note("\"call\": \"streamCreate\", \"stream\": %zu, \"flags\": %u", (uintptr_t)*stream, flags), SUCCESS;
}

int cudaStreamCreate(Handle *stream) { return cudaStreamCreateWithFlags(stream, 0); }
int cudaStreamCreateWithPriority(Handle *stream, unsigned flags, int priority) {
    return cudaStreamCreateWithFlags(stream, flags);
}
int cudaStreamDestroy(Handle stream) { return SUCCESS; }
int cudaStreamQuery(Handle stream) { return SUCCESS; }

int cudaStreamSynchronize(Handle stream) {
    return wait_for("streamSynchronize", "stream", stream, recorded && stream == recorded);
}

int cudaStreamBeginCapture(Handle stream, int mode) {
    if (recorded || !stream) return CAPTURE_UNSUPPORTED;
    first_work = NULL, last_work = &first_work;
    return recorded = stream, invalidated = nodes = 0, SUCCESS;
}

int cudaStreamIsCapturing(Handle stream, int *status) {
    *status = recorded && stream == recorded ? 1 + invalidated : 0; /* none, active, invalidated */
    return SUCCESS;
}

typedef struct { int nodes; Work *first; } Graph;
int cudaStreamEndCapture(Handle stream, Graph **graph) {
    if (stream != recorded) return CAPTURE_UNSUPPORTED;
    recorded = NULL;
    if (invalidated) return CAPTURE_INVALIDATED;
    *graph = malloc(sizeof(Graph));
    return **graph = (Graph){nodes, first_work}, SUCCESS;
}

int cudaGraphInstantiate(Graph **executable, const Graph *graph) {
    *executable = malloc(sizeof(Graph));
    return **executable = *graph, SUCCESS;
}

int cudaGraphLaunch(const Graph *executable, Handle stream) {
    fake_note("\"call\": \"graphLaunch\", \"nodes\": %d, \"stream\": %zu", executable->nodes, (uintptr_t)stream);
    for (Work *work = executable->first; work; work = work->next) {
        int status = work->run(work->data);
        if (status) return status;
    }
    return SUCCESS;
}

int cudaGraphUpload(const int *executable, Handle stream) { return SUCCESS; }
int cudaGraphDestroy(int *graph) { return free(graph), SUCCESS; }
int cudaGraphExecDestroy(int *executable) { return free(executable), SUCCESS; }

int cudaEventCreateWithFlags(Handle *event, unsigned flags) { return *event = (Handle)++numbers, SUCCESS; }
int cudaEventCreate(Handle *event) { return cudaEventCreateWithFlags(event, 0); }
int cudaEventDestroy(Handle event) { return SUCCESS; }
int cudaEventQuery(Handle event) { return SUCCESS; }
int cudaEventSynchronize(Handle event) { return wait_for("eventSynchronize", "event", event, recorded != NULL); }
int cudaEventElapsedTime(float *milliseconds, Handle start, Handle end) { return *milliseconds = 1, SUCCESS; }

int cudaEventRecord(Handle event, Handle stream) {
    fake_note("\"call\": \"eventRecord\", \"stream\": %zu, \"event\": %zu", (uintptr_t)stream, (uintptr_t)event);
    return fake_enqueue(stream), SUCCESS;
}

int cudaStreamWaitEvent(Handle stream, Handle event, unsigned flags) {
    fake_note("\"call\": \"streamWaitEvent\", \"stream\": %zu, \"event\": %zu", (uintptr_t)stream, (uintptr_t)event);
    return SUCCESS;
}

/* Driver: modules and kernels ------------------------------------------------------------------------------- */

typedef struct { char *image; void *library; } *Module;
typedef struct { char *name; void *(*bind)(void **); int (*run)(void *, const unsigned *); } Function;

int cuInit(unsigned flags) { return SUCCESS; }
int cuDriverGetVersion(int *version) { return *version = VERSION, SUCCESS; }
int cuGetExportTable(Handle *table, Handle id) { return *table = NULL, NOT_FOUND; } /* NVRTC asks for one */
int cuGetErrorName(int error, const char **name) { return *name = cudaGetErrorName(error), SUCCESS; }
int cuGetErrorString(int error, const char **text) { return *text = cudaGetErrorString(error), SUCCESS; }
int cuCtxGetCurrent(Handle *context) { return *context = (Handle)1, SUCCESS; }
int cuCtxSetCurrent(Handle context) { return SUCCESS; }
int cuCtxGetDevice(int *device) { return *device = current, SUCCESS; }

/* Take compiled code; what it is compiled for stands in the flags of its ELF header. */
int cuModuleLoadData(Module *module, const char *image) {
    const Elf64_Ehdr *head = (const void *)image;
    if (!strncmp(image, "EMU:", 4)) { /* of ../numbers/host.py: the path of a library */
        void *library = dlopen(image + 4, RTLD_NOW | RTLD_LOCAL);
        if (!library) return fprintf(stderr, "%s\n", dlerror()), INVALID_IMAGE;
        *module = malloc(sizeof **module);
        fake_note("\"call\": \"load\", \"flags\": 90");
        return **module = (__typeof__(**module)){strdup(image), library}, SUCCESS;
    }
    if (memcmp(image, ELFMAG, SELFMAG)) return fake_note("\"call\": \"load\", \"flags\": 0"), INVALID_IMAGE;
    size_t bytes = head->e_shoff + (size_t)head->e_shnum * head->e_shentsize;
    size_t programs = head->e_phoff + (size_t)head->e_phnum * head->e_phentsize;
    bytes = bytes > programs ? bytes : programs;
    fake_note("\"call\": \"load\", \"flags\": %u", head->e_flags);
    *module = calloc(1, sizeof **module);
    return (*module)->image = memcpy(malloc(bytes), image, bytes), SUCCESS;
}

int cuModuleUnload(Module module) { return free(module->image), free(module), SUCCESS; }

/* Find a kernel: its code is the section called ".text." and its name. */
static int compiled(const char *image, const char *name) {
    const Elf64_Ehdr *head = (const void *)image;
    const Elf64_Shdr *sections = (const void *)(image + head->e_shoff);
    const char *names = image + sections[head->e_shstrndx].sh_offset;
    for (int index = 0; index < head->e_shnum; index++) {
        const char *section = names + sections[index].sh_name;
        if (!strncmp(section, ".text.", 6) && !strcmp(section + 6, name)) return 1;
    }
    return 0;
}

int cuModuleGetFunction(Function **function, Module module, const char *name) {
    Function found = {strdup(name)};
    if (module->library) {
        char bind[512], run[512];
        snprintf(bind, sizeof bind, "emu_bind_%s", name), snprintf(run, sizeof run, "emu_run_%s", name);
        found.bind = dlsym(module->library, bind), found.run = dlsym(module->library, run);
        if (!found.bind || !found.run) return NOT_FOUND;
    } else if (!compiled(module->image, name)) return NOT_FOUND;
    *function = malloc(sizeof **function);
    return **function = found, SUCCESS;
}

int cuFuncGetAttribute(int *value, int attribute, Handle function) { return *value = attribute ? 0 : 1024, SUCCESS; }
int cuFuncSetAttribute(Handle function, int attribute, int value) { return SUCCESS; }

int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *count, Handle function, int threads, size_t shared) {
    return *count = 8, SUCCESS;
}

int cuOccupancyMaxPotentialBlockSize(int *grid, int *block, Handle function, Handle of, size_t shared, int limit) {
    return *grid = 132, *block = 512, SUCCESS;
}

typedef struct { int (*run)(void *, const unsigned *); void *bound; unsigned dims[6]; } Launch;
static int launched(void *data) { Launch *launch = data; return launch->run(launch->bound, launch->dims); }

int cuLaunchKernel(const Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, Handle stream, void **parameters, void **extra) {
    if (!gx || !gy || !gz || !bx || bx * by * bz > 1024 || shared > 232448) return INVALID_VALUE;
    fake_note("\"call\": \"kernel\", \"name\": \"%s\", \"stream\": %zu", function->name, (uintptr_t)stream);
    if (!function->run) return fake_enqueue(stream), SUCCESS;
    Launch *launch = malloc(sizeof *launch);
    *launch = (Launch){function->run, function->bind(parameters), {gx, gy, gz, bx, by, bz}};
    return fake_do(stream, launched, launch);
}

/* CUB's reductions, which CuPy's wheel brings compiled: how much memory they ask for, and that they were run. ---- */

size_t fake_cub_workspace(void) { return MEGABYTE; }
void fake_cub(void) { fake_note("\"call\": \"cub\""); }
