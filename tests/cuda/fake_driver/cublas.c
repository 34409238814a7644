/* A cuBLAS that only pretends: it keeps the settings of its one handle and writes down every product that is asked for.

   Arguments that cuBLAS refuses are refused. Products are computed where FAKE_CUDA_NUMBERS is set. Whatever else CuPy's
   module needs in order to load is made from the names in ``OTHERS``, each of which answers "not supported". */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15 }; /* of cublasStatus_t */
enum { COMPUTE_64F = 70 };                                                        /* of cublasComputeType_t */
typedef struct { const void *stream, *workspace; size_t bytes; int pointers, math; } *Handle;

void fake_note(const char *format, ...);
void fake_enqueue(const void *stream);
int fake_do(const void *stream, int (*run)(void *), void *data);

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

typedef struct {
    int fa, fb, m, n, k, lda, ldb, ldc, type, compute;
    double alpha, beta;
    const void *a, *b;
    void *c;
} Product;

static double at(const void *x, int type, size_t i) {
    return type == 1 ? ((const double *)x)[i] : type == 2 ? (double)((const _Float16 *)x)[i] : (double)((const float *)x)[i];
}

static double tf32(double x, int on) { /* ten bits of mantissa, nearest */
    union { float f; unsigned u; } v = {.f = (float)x};
    if (!on) return x;
    v.u = (v.u + 0xfff + (v.u >> 13 & 1)) & ~0x1fffu;
    return v.f;
}

/* As cuBLAS's manual says: columns; sums in double, rounded once: better than a GPU's, for TF32 from cut factors. */
static int multiplied(void *data) {
    Product *p = data;
    int cut = p->compute == 77;
    for (int j = 0; j < p->n; j++) for (int i = 0; i < p->m; i++) {
        double sum = 0;
        for (int l = 0; l < p->k; l++)
            sum += tf32(at(p->a, p->type, p->fa ? l + (size_t)i * p->lda : i + (size_t)l * p->lda), cut)
                 * tf32(at(p->b, p->type, p->fb ? j + (size_t)l * p->ldb : l + (size_t)j * p->ldb), cut);
        size_t place = i + (size_t)j * p->ldc;
        double value = p->alpha * sum + (p->beta ? p->beta * at(p->c, p->type, place) : 0);
        if (p->type == 1) ((double *)p->c)[place] = value;
        else if (p->type == 2) ((_Float16 *)p->c)[place] = (_Float16)value;
        else ((float *)p->c)[place] = (float)value;
    }
    return 0;
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
    if (!getenv("FAKE_CUDA_NUMBERS")) return fake_enqueue(handle->stream), SUCCESS;
    Product *made = malloc(sizeof *made);
    *made = (Product){flip_a, flip_b, m, n, k, lda, ldb, ldc, type_a, compute,
                      number(alpha, compute), number(beta, compute), a, b, c};
    return fake_do(handle->stream, multiplied, made);
}

#define OTHER(name) \
    int name(void) { return NOT_SUPPORTED; }
#include OTHERS
