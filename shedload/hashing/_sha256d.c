/* Double SHA-256 for block headers: hash one, verify one, scan a range of nonces against a target.
 *
 * Stable ABI (Py_LIMITED_API 3.11). One call scans at most SCAN_LIMIT nonces and runs without the GIL, so a worker
 * thread comes back within a second or two. Four implementations; the first that the processor runs is the default:
 * "avx512" (sixteen lanes), "sha-ni" (x86 SHA extensions, two nonces interleaved), "avx2" (eight lanes) and
 * "portable-c" (four lanes of the compiler's vector type). Each can be asked for by name, so that tests and
 * benchmarks reach all of them. Single hashes use the SHA extensions where there are any.
 */
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "_compress.h"

#define SCAN_LIMIT (1u << 22)   /* nonces a call: 0.1 s with AVX-512, about 2 s on a small ARM core */
#define RESULT_LIMIT (1u << 16) /* results a call: 256 KiB of buffer */
#define DEFAULT_RESULTS 64

typedef void (*compress_fn)(uint32_t state[8], const uint32_t block[16]);

/* What stays the same over a scan: everything but the nonce. */
struct job {
    uint32_t midstate[8]; /* after header bytes 0..63 */
    uint32_t tail[3];     /* header bytes 64..75 as big-endian words */
    uint32_t third[8];    /* state after the three rounds that do not see the nonce */
    uint32_t target[8];   /* most significant word first */
};

typedef size_t (*scan_fn)(const struct job *job, uint32_t start, uint32_t count, uint32_t *found, size_t room);

static void third_round_state(struct job *job) {
    const uint32_t *s = job->midstate, *w = job->tail;
    uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7], t;
    ROUND(a, b, c, d, e, f, g, h, (K[0] + w[0]));
    ROUND(h, a, b, c, d, e, f, g, (K[1] + w[1]));
    ROUND(g, h, a, b, c, d, e, f, (K[2] + w[2]));
    const uint32_t out[8] = {a, b, c, d, e, f, g, h};
    memcpy(job->third, out, sizeof out);
}

static void second_hash(uint32_t digest[8], compress_fn compress) {
    uint32_t block[16] = {0};
    memcpy(block, digest, 32);
    block[8] = 0x80000000u;
    block[15] = 256;
    memcpy(digest, INITIAL, 32);
    compress(digest, block);
}

static void hash_tail(const struct job *job, uint32_t nonce, uint32_t digest[8], compress_fn compress) {
    uint32_t block[16] = {job->tail[0], job->tail[1], job->tail[2], byteswap32(nonce), 0x80000000u};
    block[15] = 640;
    memcpy(digest, job->midstate, 32);
    compress(digest, block);
    second_hash(digest, compress);
}

/* The hash is a little-endian number: its most significant word is the last one, bytes reversed. */
static int meets_target(const struct job *job, uint32_t nonce, compress_fn compress) {
    uint32_t digest[8];
    hash_tail(job, nonce, digest, compress);
    for (int i = 0; i < 8; i++) {
        uint32_t word = byteswap32(digest[7 - i]);
        if (word != job->target[i]) return word < job->target[i];
    }
    return 1;
}

#define LANES 4
#define LANE_SCAN scan_portable
#define LANE_TARGET
#include "_lanes.h"

#if HAVE_X86
#define LANES 8
#define LANE_SCAN scan_avx2
#define LANE_TARGET __attribute__((target("avx2")))
#include "_lanes.h"

#define LANES 16
#define LANE_SCAN scan_avx512
#define LANE_TARGET __attribute__((target("avx512f")))
#include "_lanes.h"

#define PAIR_ROUNDS(kx, ky)             \
    do {                                \
        FOUR_ROUNDS(abef_x, cdgh_x, kx); \
        FOUR_ROUNDS(abef_y, cdgh_y, ky); \
    } while (0)

/* Four rounds of both headers on freshly made schedule words. */
#define PAIR_NEXT(i, p, q, r, s)                                 \
    do {                                                         \
        NEXT4(x##p, x##q, x##r, x##s);                           \
        NEXT4(y##p, y##q, y##r, y##s);                           \
        PAIR_ROUNDS(_mm_add_epi32(x##p, K4(i)), _mm_add_epi32(y##p, K4(i))); \
    } while (0)

#define PAIR_SIXTEEN(i)               \
    do {                              \
        PAIR_NEXT(i, 0, 1, 2, 3);     \
        PAIR_NEXT(i + 1, 1, 2, 3, 0); \
        PAIR_NEXT(i + 2, 2, 3, 0, 1); \
        PAIR_NEXT(i + 3, 3, 0, 1, 2); \
    } while (0)

/* H7 of two headers at once: one alone would wait for the latency of each instruction. */
SHA_NI static inline void top_words_sha_ni(const struct job *job, uint32_t word_x, uint32_t word_y, uint32_t top[2]) {
    const __m128i mid_abef = ABEF_OF(job->midstate), mid_cdgh = CDGH_OF(job->midstate);
    const __m128i ini_abef = ABEF_OF(INITIAL), ini_cdgh = CDGH_OF(INITIAL);
    const __m128i tail = _mm_set_epi32(0, (int)job->tail[2], (int)job->tail[1], (int)job->tail[0]);
    __m128i abef_x = mid_abef, cdgh_x = mid_cdgh, abef_y = mid_abef, cdgh_y = mid_cdgh;
    __m128i x0 = _mm_insert_epi32(tail, (int)word_x, 3), y0 = _mm_insert_epi32(tail, (int)word_y, 3);
    __m128i x1 = _mm_set_epi32(0, 0, 0, (int)0x80000000u), x2 = _mm_setzero_si128(), x3 = _mm_set_epi32(640, 0, 0, 0);
    __m128i y1 = x1, y2 = x2, y3 = x3;
    PAIR_ROUNDS(_mm_add_epi32(x0, K4(0)), _mm_add_epi32(y0, K4(0)));
    PAIR_ROUNDS(_mm_add_epi32(x1, K4(1)), _mm_add_epi32(y1, K4(1)));
    PAIR_ROUNDS(K4(2), K4(2));
    PAIR_ROUNDS(_mm_add_epi32(x3, K4(3)), _mm_add_epi32(y3, K4(3)));
    PAIR_SIXTEEN(4);
    PAIR_SIXTEEN(8);
    PAIR_SIXTEEN(12);

    abef_x = _mm_add_epi32(abef_x, mid_abef), cdgh_x = _mm_add_epi32(cdgh_x, mid_cdgh);
    abef_y = _mm_add_epi32(abef_y, mid_abef), cdgh_y = _mm_add_epi32(cdgh_y, mid_cdgh);
    x0 = ABCD_WORDS(abef_x, cdgh_x), x1 = EFGH_WORDS(abef_x, cdgh_x);
    y0 = ABCD_WORDS(abef_y, cdgh_y), y1 = EFGH_WORDS(abef_y, cdgh_y);
    x2 = y2 = _mm_set_epi32(0, 0, 0, (int)0x80000000u);
    x3 = y3 = _mm_set_epi32(256, 0, 0, 0);
    abef_x = abef_y = ini_abef;
    cdgh_x = cdgh_y = ini_cdgh;
    PAIR_ROUNDS(_mm_add_epi32(x0, K4(0)), _mm_add_epi32(y0, K4(0)));
    PAIR_ROUNDS(_mm_add_epi32(x1, K4(1)), _mm_add_epi32(y1, K4(1)));
    PAIR_ROUNDS(_mm_add_epi32(x2, K4(2)), _mm_add_epi32(y2, K4(2)));
    PAIR_ROUNDS(_mm_add_epi32(x3, K4(3)), _mm_add_epi32(y3, K4(3)));
    PAIR_SIXTEEN(4);
    PAIR_SIXTEEN(8);
    PAIR_NEXT(12, 0, 1, 2, 3);
    PAIR_NEXT(13, 1, 2, 3, 0);
    PAIR_NEXT(14, 2, 3, 0, 1);
    /* Rounds 61 and 62 make the new A B E F in the place of C D G H; its F becomes H by the 64th round. */
    NEXT4(x3, x0, x1, x2);
    NEXT4(y3, y0, y1, y2);
    cdgh_x = _mm_sha256rnds2_epu32(cdgh_x, abef_x, _mm_add_epi32(x3, K4(15)));
    cdgh_y = _mm_sha256rnds2_epu32(cdgh_y, abef_y, _mm_add_epi32(y3, K4(15)));
    top[0] = (uint32_t)_mm_cvtsi128_si32(cdgh_x) + INITIAL[7];
    top[1] = (uint32_t)_mm_cvtsi128_si32(cdgh_y) + INITIAL[7];
}

SHA_NI static size_t scan_sha_ni(const struct job *job, uint32_t start, uint32_t count, uint32_t *found, size_t room) {
    size_t n = 0;
    for (uint64_t done = 0; done < count; done += 2) {
        uint32_t nonce = start + (uint32_t)done, top[2];
        top_words_sha_ni(job, byteswap32(nonce), byteswap32(nonce + 1), top);
        for (uint32_t i = 0; i < 2 && done + i < count; i++) {
            if (byteswap32(top[i]) > job->target[0]) continue;
            if (!meets_target(job, nonce + i, compress_sha_ni)) continue;
            found[n++] = nonce + i;
            if (n == room) return n;
        }
    }
    return n;
}

#endif

struct implementation {
    const char *name;
    compress_fn compress;
    scan_fn scan;
    int available;
};

/* Fastest first. `available` is set once, when the module loads: cpuid costs microseconds on a virtual machine. */
static struct implementation IMPLEMENTATIONS[] = {
#if HAVE_X86
    {"avx512", compress_sha_ni, scan_avx512, 0},
    {"sha-ni", compress_sha_ni, scan_sha_ni, 0},
    {"avx2", compress_portable, scan_avx2, 0},
#endif
    {"portable-c", compress_portable, scan_portable, 1},
};
#define IMPLEMENTATION_COUNT (sizeof IMPLEMENTATIONS / sizeof IMPLEMENTATIONS[0])

static void ask_processor(void) {
#if HAVE_X86
    IMPLEMENTATIONS[0].available = cpu_has_avx512() && cpu_has_sha_ni();
    IMPLEMENTATIONS[1].available = cpu_has_sha_ni();
    IMPLEMENTATIONS[2].available = cpu_has_avx2();
#endif
}

/* The named implementation, or the fastest one this processor runs where `name` is NULL. */
static const struct implementation *chosen(const char *name) {
    for (size_t i = 0; i < IMPLEMENTATION_COUNT; i++) {
        if (name != NULL && strcmp(name, IMPLEMENTATIONS[i].name) != 0) continue;
        if (IMPLEMENTATIONS[i].available) return &IMPLEMENTATIONS[i];
    }
    PyErr_Format(PyExc_ValueError, "implementation %s is not available on this processor", name ? name : "(any)");
    return NULL;
}

/* ---- from Python objects and back ---- */

static int copy_exactly(PyObject *object, const char *what, uint8_t *out, Py_ssize_t length) {
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) return -1;
    int ok = view.len == length;
    if (ok)
        memcpy(out, view.buf, (size_t)length);
    else
        PyErr_Format(PyExc_ValueError, "%s must be %zd bytes, not %zd", what, length, view.len);
    PyBuffer_Release(&view);
    return ok ? 0 : -1;
}

/* A target is a whole number or the same as 32 little-endian bytes. */
static int read_target(PyObject *object, uint32_t target[8]) {
    uint8_t bytes[32];
    if (PyBool_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "target must be an int or 32 bytes, not bool");
        return -1;
    }
    if (PyLong_Check(object)) {
        PyObject *little = PyObject_CallMethod(object, "to_bytes", "is", 32, "little");
        if (little == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return -1;
            PyErr_SetString(PyExc_ValueError, "target must be 0 .. 2**256 - 1");
            return -1;
        }
        int failed = copy_exactly(little, "target", bytes, 32);
        Py_DECREF(little);
        if (failed) return -1;
    } else if (copy_exactly(object, "target", bytes, 32) < 0) {
        return -1;
    }
    for (int i = 0; i < 8; i++) target[i] = byteswap32(load_be32(bytes + 28 - 4 * i));
    return 0;
}

/* A whole number of at least `low` and at most `high`, or -1 with ValueError or TypeError set. */
static long long read_number(PyObject *object, const char *what, long long low, long long high) {
    if (!PyLong_Check(object) || PyBool_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int", what);
        return -1;
    }
    int overflow = 0;
    long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (value == -1 && PyErr_Occurred()) return -1;
    if (overflow || value < low || value > high) {
        PyErr_Format(PyExc_ValueError, "%s must be %lld .. %lld", what, low, high);
        return -1;
    }
    return value;
}

static PyObject *words_to_bytes(const uint32_t words[8]) {
    uint8_t out[32];
    for (int i = 0; i < 8; i++) store_be32(out + 4 * i, words[i]);
    return PyBytes_FromStringAndSize((const char *)out, 32);
}

static void compress_bytes(uint32_t state[8], const uint8_t *bytes, compress_fn compress) {
    uint32_t block[16];
    for (int i = 0; i < 16; i++) block[i] = load_be32(bytes + 4 * i);
    compress(state, block);
}

static void job_from_midstate(struct job *job, const uint8_t tail[12]) {
    for (int i = 0; i < 3; i++) job->tail[i] = load_be32(tail + 4 * i);
    third_round_state(job);
}

static int job_from_header(PyObject *header, struct job *job, uint32_t *nonce, compress_fn compress) {
    uint8_t bytes[80];
    if (copy_exactly(header, "header", bytes, 80) < 0) return -1;
    memcpy(job->midstate, INITIAL, 32);
    compress_bytes(job->midstate, bytes, compress);
    job_from_midstate(job, bytes + 64);
    *nonce = byteswap32(load_be32(bytes + 76));
    return 0;
}

/* ---- the functions of the module; what each does stands in _sha256d.pyi ---- */

static PyObject *py_sha256d(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *data;
    const char *name = NULL;
    if (!PyArg_ParseTuple(args, "O|s:sha256d", &data, &name)) return NULL;
    const struct implementation *impl = chosen(name);
    Py_buffer view;
    if (impl == NULL || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) return NULL;
    const uint8_t *bytes = view.buf;
    size_t left = (size_t)view.len;
    uint32_t state[8];
    memcpy(state, INITIAL, 32);
    for (; left >= 64; left -= 64, bytes += 64) compress_bytes(state, bytes, impl->compress);
    uint8_t last[128] = {0};
    if (left) memcpy(last, bytes, left);
    last[left] = 0x80;
    size_t padded = left < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)view.len * 8;
    store_be32(last + padded - 8, (uint32_t)(bits >> 32));
    store_be32(last + padded - 4, (uint32_t)bits);
    for (size_t i = 0; i < padded; i += 64) compress_bytes(state, last + i, impl->compress);
    PyBuffer_Release(&view);
    second_hash(state, impl->compress);
    return words_to_bytes(state);
}

static PyObject *py_midstate(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *data;
    const char *name = NULL;
    uint8_t bytes[64];
    if (!PyArg_ParseTuple(args, "O|s:midstate", &data, &name)) return NULL;
    const struct implementation *impl = chosen(name);
    if (impl == NULL || copy_exactly(data, "first block", bytes, 64) < 0) return NULL;
    uint32_t state[8];
    memcpy(state, INITIAL, 32);
    compress_bytes(state, bytes, impl->compress);
    return words_to_bytes(state);
}

static PyObject *py_hash_header(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *header;
    const char *name = NULL;
    struct job job;
    uint32_t nonce, digest[8];
    if (!PyArg_ParseTuple(args, "O|s:hash_header", &header, &name)) return NULL;
    const struct implementation *impl = chosen(name);
    if (impl == NULL || job_from_header(header, &job, &nonce, impl->compress) < 0) return NULL;
    hash_tail(&job, nonce, digest, impl->compress);
    return words_to_bytes(digest);
}

static PyObject *py_verify(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *header, *target;
    const char *name = NULL;
    struct job job;
    uint32_t nonce;
    if (!PyArg_ParseTuple(args, "OO|s:verify", &header, &target, &name)) return NULL;
    const struct implementation *impl = chosen(name);
    if (impl == NULL || job_from_header(header, &job, &nonce, impl->compress) < 0) return NULL;
    if (read_target(target, job.target) < 0) return NULL;
    return PyBool_FromLong(meets_target(&job, nonce, impl->compress));
}

static PyObject *list_of(const uint32_t *found, size_t n) {
    PyObject *list = PyList_New((Py_ssize_t)n);
    for (size_t i = 0; list != NULL && i < n; i++) {
        PyObject *nonce = PyLong_FromUnsignedLong(found[i]);
        if (nonce == NULL || PyList_SetItem(list, (Py_ssize_t)i, nonce) < 0) Py_CLEAR(list);
    }
    return list;
}

static PyObject *run_scan(struct job *job, PyObject *range[2], PyObject *target, PyObject *max_results,
                          const struct implementation *impl) {
    long long room = DEFAULT_RESULTS;
    long long start = read_number(range[0], "start_nonce", 0, 0xffffffffLL);
    long long count = start < 0 ? -1 : read_number(range[1], "count", 0, SCAN_LIMIT);
    if (count < 0 || read_target(target, job->target) < 0) return NULL;
    if (start + count > 0x100000000LL) {
        PyErr_SetString(PyExc_ValueError, "start_nonce + count must not pass 2**32");
        return NULL;
    }
    if (max_results != NULL && (room = read_number(max_results, "max_results", 1, RESULT_LIMIT)) < 0) return NULL;
    uint32_t *found = PyMem_Malloc((size_t)room * sizeof *found);
    if (found == NULL) return PyErr_NoMemory();
    size_t n;
    Py_BEGIN_ALLOW_THREADS
    n = impl->scan(job, (uint32_t)start, (uint32_t)count, found, (size_t)room);
    Py_END_ALLOW_THREADS
    PyObject *list = list_of(found, n);
    PyMem_Free(found);
    return list;
}

static PyObject *py_scan(PyObject *self, PyObject *args, PyObject *kwargs) {
    (void)self;
    static char *names[] = {"header", "start_nonce", "count", "target", "max_results", "implementation", NULL};
    PyObject *header, *range[2], *target, *room = NULL;
    const char *name = NULL;
    struct job job;
    uint32_t nonce;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO|Os:scan", names, &header, &range[0], &range[1], &target, &room,
                                     &name))
        return NULL;
    const struct implementation *impl = chosen(name);
    if (impl == NULL || job_from_header(header, &job, &nonce, impl->compress) < 0) return NULL;
    return run_scan(&job, range, target, room, impl);
}

static PyObject *py_scan_midstate(PyObject *self, PyObject *args, PyObject *kwargs) {
    (void)self;
    static char *names[] = {"midstate", "tail",        "start_nonce",    "count",
                            "target",   "max_results", "implementation", NULL};
    PyObject *midstate, *tail, *range[2], *target, *room = NULL;
    const char *name = NULL;
    struct job job;
    uint8_t state[32], words[12];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOO|Os:scan_midstate", names, &midstate, &tail, &range[0],
                                     &range[1], &target, &room, &name))
        return NULL;
    const struct implementation *impl = chosen(name);
    if (impl == NULL || copy_exactly(midstate, "midstate", state, 32) < 0) return NULL;
    if (copy_exactly(tail, "tail", words, 12) < 0) return NULL;
    for (int i = 0; i < 8; i++) job.midstate[i] = load_be32(state + 4 * i);
    job_from_midstate(&job, words);
    return run_scan(&job, range, target, room, impl);
}

static PyObject *py_implementations(PyObject *self, PyObject *none) {
    (void)self, (void)none;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < IMPLEMENTATION_COUNT; i++) {
        if (!IMPLEMENTATIONS[i].available) continue;
        PyObject *name = PyUnicode_FromString(IMPLEMENTATIONS[i].name);
        if (name == NULL || PyList_Append(list, name) < 0) Py_CLEAR(list);
        Py_XDECREF(name);
    }
    return list;
}

static PyMethodDef METHODS[] = {
    {"sha256d", py_sha256d, METH_VARARGS, NULL},
    {"midstate", py_midstate, METH_VARARGS, NULL},
    {"hash_header", py_hash_header, METH_VARARGS, NULL},
    {"verify", py_verify, METH_VARARGS, NULL},
    {"scan", (PyCFunction)(void (*)(void))py_scan, METH_VARARGS | METH_KEYWORDS, NULL},
    {"scan_midstate", (PyCFunction)(void (*)(void))py_scan_midstate, METH_VARARGS | METH_KEYWORDS, NULL},
    {"implementations", py_implementations, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_sha256d", "Double SHA-256 for block headers.", 0, METHODS, SLOTS, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__sha256d(void) {
    ask_processor();
    return PyModuleDef_Init(&MODULE);
}
