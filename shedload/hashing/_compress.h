/* SHA-256 compression (FIPS 180-4), one block at a time: portable C and x86 SHA extensions.
 *
 * The round macros use nothing but operators, so the same text serves a plain uint32_t here and a vector of
 * lanes in _lanes.h. State words are a..h = H0..H7, message words are the big-endian words of the block.
 */
#ifndef SHEDLOAD_COMPRESS_H
#define SHEDLOAD_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)
#define HAVE_X86 1
#include <cpuid.h>
#include <immintrin.h>
#else
#define HAVE_X86 0
#endif

static const uint32_t INITIAL[8] = {
    0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
};

static const uint32_t K[64] __attribute__((aligned(16))) = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

#define ROTR(x, n) (((x) >> (n)) | ((x) << (32 - (n))))
#define BIG0(x) (ROTR(x, 2) ^ ROTR(x, 13) ^ ROTR(x, 22))
#define BIG1(x) (ROTR(x, 6) ^ ROTR(x, 11) ^ ROTR(x, 25))
#define SMALL0(x) (ROTR(x, 7) ^ ROTR(x, 18) ^ ((x) >> 3))
#define SMALL1(x) (ROTR(x, 17) ^ ROTR(x, 19) ^ ((x) >> 10))
#define CHOOSE(e, f, g) ((g) ^ ((e) & ((f) ^ (g))))
#define MAJORITY(a, b, c) (((a) & (b)) | ((c) & ((a) | (b))))

/* One round; `t` is a scratch variable of the state's type in the caller's scope. */
#define ROUND(a, b, c, d, e, f, g, h, kw)       \
    do {                                        \
        t = h + BIG1(e) + CHOOSE(e, f, g) + kw; \
        d += t;                                 \
        h = t + BIG0(a) + MAJORITY(a, b, c);    \
    } while (0)

/* The schedule rolls through sixteen words: w[i] becomes the word sixteen rounds on. */
#define NEXT(w, i) (w[(i) & 15] += SMALL1(w[((i) + 14) & 15]) + w[((i) + 9) & 15] + SMALL0(w[((i) + 1) & 15]))

#define EIGHT_ROUNDS(i, W)                                   \
    do {                                                     \
        ROUND(a, b, c, d, e, f, g, h, (K[(i) + 0] + W((i) + 0))); \
        ROUND(h, a, b, c, d, e, f, g, (K[(i) + 1] + W((i) + 1))); \
        ROUND(g, h, a, b, c, d, e, f, (K[(i) + 2] + W((i) + 2))); \
        ROUND(f, g, h, a, b, c, d, e, (K[(i) + 3] + W((i) + 3))); \
        ROUND(e, f, g, h, a, b, c, d, (K[(i) + 4] + W((i) + 4))); \
        ROUND(d, e, f, g, h, a, b, c, (K[(i) + 5] + W((i) + 5))); \
        ROUND(c, d, e, f, g, h, a, b, (K[(i) + 6] + W((i) + 6))); \
        ROUND(b, c, d, e, f, g, h, a, (K[(i) + 7] + W((i) + 7))); \
    } while (0)

static inline uint32_t load_be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static inline void store_be32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static inline uint32_t byteswap32(uint32_t v) { return __builtin_bswap32(v); }

#define GIVEN(i) w[(i) & 15]
#define MADE(i) NEXT(w, i)

static void compress_portable(uint32_t state[8], const uint32_t block[16]) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7], t;
    uint32_t w[16];
    for (int i = 0; i < 16; i++) w[i] = block[i];
    EIGHT_ROUNDS(0, GIVEN);
    EIGHT_ROUNDS(8, GIVEN);
    for (int i = 16; i < 64; i += 16) {
        EIGHT_ROUNDS(i, MADE);
        EIGHT_ROUNDS(i + 8, MADE);
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

#if HAVE_X86
#define SHA_NI __attribute__((target("sha,sse4.1,ssse3")))

/* The SHA instructions want the state as two registers: A B E F and C D G H, highest lane first. */
#define ABEF_OF(s) _mm_set_epi32((int)(s)[0], (int)(s)[1], (int)(s)[4], (int)(s)[5])
#define CDGH_OF(s) _mm_set_epi32((int)(s)[2], (int)(s)[3], (int)(s)[6], (int)(s)[7])
#define K4(i) _mm_load_si128((const __m128i *)&K[4 * (i)])

/* Four words of the schedule from the sixteen before them; `m0` is the oldest and is replaced. */
#define NEXT4(m0, m1, m2, m3) \
    (m0 = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(m0, m1), _mm_alignr_epi8(m3, m2, 4)), m3))

/* Four rounds with `kw` = four words of K + W. */
#define FOUR_ROUNDS(abef, cdgh, kw)                                                    \
    do {                                                                               \
        __m128i kw_ = (kw);                                                            \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, kw_);                                 \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(kw_, 0x0E));        \
    } while (0)

/* Digest words in message order, lane 0 first, from the two state registers. */
#define ABCD_WORDS(abef, cdgh) _mm_shuffle_epi32(_mm_unpackhi_epi64(abef, cdgh), 0xB1)
#define EFGH_WORDS(abef, cdgh) _mm_shuffle_epi32(_mm_unpacklo_epi64(abef, cdgh), 0xB1)

SHA_NI static void compress_sha_ni(uint32_t state[8], const uint32_t block[16]) {
    const __m128i abef0 = ABEF_OF(state), cdgh0 = CDGH_OF(state);
    __m128i abef = abef0, cdgh = cdgh0;
    __m128i m0 = _mm_loadu_si128((const __m128i *)(block + 0)), m1 = _mm_loadu_si128((const __m128i *)(block + 4));
    __m128i m2 = _mm_loadu_si128((const __m128i *)(block + 8)), m3 = _mm_loadu_si128((const __m128i *)(block + 12));
    FOUR_ROUNDS(abef, cdgh, _mm_add_epi32(m0, K4(0)));
    FOUR_ROUNDS(abef, cdgh, _mm_add_epi32(m1, K4(1)));
    FOUR_ROUNDS(abef, cdgh, _mm_add_epi32(m2, K4(2)));
    FOUR_ROUNDS(abef, cdgh, _mm_add_epi32(m3, K4(3)));
    for (int i = 4; i < 16; i += 4) {
        FOUR_ROUNDS(abef, cdgh, _mm_add_epi32(NEXT4(m0, m1, m2, m3), K4(i)));
        FOUR_ROUNDS(abef, cdgh, _mm_add_epi32(NEXT4(m1, m2, m3, m0), K4(i + 1)));
        FOUR_ROUNDS(abef, cdgh, _mm_add_epi32(NEXT4(m2, m3, m0, m1), K4(i + 2)));
        FOUR_ROUNDS(abef, cdgh, _mm_add_epi32(NEXT4(m3, m0, m1, m2), K4(i + 3)));
    }
    abef = _mm_add_epi32(abef, abef0);
    cdgh = _mm_add_epi32(cdgh, cdgh0);
    _mm_storeu_si128((__m128i *)(state + 0), ABCD_WORDS(abef, cdgh));
    _mm_storeu_si128((__m128i *)(state + 4), EFGH_WORDS(abef, cdgh));
}

/* Asked of the processor itself: __builtin_cpu_supports learnt the word "sha" only in recent compilers, and says no
 * to everything where a linker leaves out the compiler's own runtime. */
static uint32_t cpu_features(uint32_t leaf, int register_c) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(leaf, 0, &a, &b, &c, &d)) return 0;
    return register_c ? c : b;
}

static int cpu_has_sha_ni(void) {
    const uint32_t ssse3_sse41 = 1u << 9 | 1u << 19;
    return (cpu_features(1, 1) & ssse3_sse41) == ssse3_sse41 && (cpu_features(7, 0) >> 29 & 1);
}

/* Wide registers are of use only where the operating system saves them (XGETBV, register 0). */
static int system_keeps(uint32_t state_bits) {
    uint32_t low, high;
    if (!(cpu_features(1, 1) >> 27 & 1)) return 0; /* OSXSAVE */
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & state_bits) == state_bits;
}

static int cpu_has_avx2(void) { return system_keeps(0x06) && (cpu_features(7, 0) >> 5 & 1); }

static int cpu_has_avx512(void) { return system_keeps(0xe6) && (cpu_features(7, 0) >> 16 & 1); }
#endif

#endif
