/* A cuBLAS that only pretends: it keeps the settings of its one handle and writes down every product that is asked for.

   Arguments that cuBLAS refuses are refused. Whatever else CuPy's module needs in order to load is made from the names
   in ``OTHERS``, each of which answers "not supported". */
#include <stddef.h>
#include <stdint.h>

enum { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15 }; /* of cublasStatus_t */
enum { COMPUTE_64F = 70 };                                                        /* of cublasComputeType_t */
typedef struct { const void *stream, *workspace; size_t bytes; int pointers, math; } *Handle;

void fake_note(const char *format, ...);
void fake_enqueue(const void *stream);

int cublasCreate_v2(Handle *handle) {
    static __typeof__(*(Handle)0) only;
    return *handle = &only, SUCCESS;
}

int cublasDestroy_v2(Handle handle) { return SUCCESS; }
int cublasGetVersion_v2(Handle handle, int *version) { return *version = 120900, SUCCESS; }
int cublasGetStream_v2(Handle handle, const void **stream) { return *stream = handle->stream, SUCCESS; }
int cublasGetMathMode(Handle handle, int *mode) { return *mode = handle->math, SUCCESS; }
int cublasSetMathMode(Handle handle, int mode) { return handle->math = mode, SUCCESS; }
int cublasGetPointerMode_v2(Handle handle, int *mode) { return *mode = handle->pointers, SUCCESS; }
int cublasSetPointerMode_v2(Handle handle, int mode) { return handle->pointers = mode, SUCCESS; }

/* As the manual says: a new stream takes the user's workspace away. */
int cublasSetStream_v2(Handle handle, const void *stream) {
    return handle->stream = stream, handle->workspace = NULL, handle->bytes = 0, SUCCESS;
}

int cublasSetWorkspace_v2(Handle handle, const void *workspace, size_t bytes) {
    if ((uintptr_t)workspace % 256) return INVALID_VALUE;
    return handle->workspace = workspace, handle->bytes = bytes, SUCCESS;
}

static double number(const void *at, int compute) { return compute == COMPUTE_64F ? *(double *)at : *(float *)at; }

int cublasGemmEx(Handle handle, int flip_a, int flip_b, int m, int n, int k, const void *alpha, const void *a, int type_a,
                 int lda, const void *b, int type_b, int ldb, const void *beta, void *c, int type_c, int ldc,
                 int compute, int algorithm) {
    if (!handle) return NOT_INITIALIZED;
    if (m < 0 || n < 0 || k < 0 || lda < (flip_a ? k : m) || ldb < (flip_b ? n : k) || ldc < m) return INVALID_VALUE;
    fake_note("\"call\": \"gemm\", \"stream\": %zu, \"workspace\": [%zu, %zu], \"pointers\": %d, \"math\": %d, "
              "\"flips\": [%d, %d], \"sizes\": [%d, %d, %d], \"steps\": [%d, %d, %d], \"types\": [%d, %d, %d], "
              "\"at\": [%zu, %zu, %zu], \"scales\": [%g, %g], \"compute\": %d",
              (uintptr_t)handle->stream, (uintptr_t)handle->workspace, handle->bytes, handle->pointers, handle->math,
              flip_a, flip_b, m, n, k, lda, ldb, ldc, type_a, type_b, type_c, (uintptr_t)a, (uintptr_t)b, (uintptr_t)c,
              number(alpha, compute), number(beta, compute), compute);
    return fake_enqueue(handle->stream), SUCCESS;
}

#define OTHER(name) \
    int name(void) { return NOT_SUPPORTED; }
#include OTHERS
