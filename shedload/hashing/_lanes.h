/* Scan a range of nonces, several at a time in the lanes of one vector.
 *
 * Included once per width by _sha256d.c, which sets LANES (a power of two), LANE_SCAN (the name of the function)
 * and LANE_TARGET (an attribute that allows wider instructions, or nothing). The compiler turns the vector type
 * into SSE2, AVX2, NEON or plain words, whatever the processor has; this file stays portable.
 */
#define LANE_JOIN_(a, b) a##b
#define LANE_JOIN(a, b) LANE_JOIN_(a, b)
#define VECTOR LANE_JOIN(LANE_SCAN, _vector)
#define TOP_WORDS LANE_JOIN(LANE_SCAN, _top_words)

typedef uint32_t VECTOR __attribute__((vector_size(4 * LANES)));

/* The last digest word (H7, whose bytes are the most significant of the hash) of LANES headers.
 * The first three rounds do not see the nonce and come done in job->third; the last three cannot reach H7. */
LANE_TARGET static inline __attribute__((always_inline)) void TOP_WORDS(const struct job *job, const VECTOR *nonce_word,
                                                                        VECTOR *top) {
    const VECTOR zero = {0};
    const uint32_t *s = job->third;
    VECTOR a = zero + s[0], b = zero + s[1], c = zero + s[2], d = zero + s[3];
    VECTOR e = zero + s[4], f = zero + s[5], g = zero + s[6], h = zero + s[7], t;
    VECTOR w[16] = {zero + job->tail[0], zero + job->tail[1], zero + job->tail[2], *nonce_word, zero + 0x80000000u};
    w[15] = zero + 640u;
    for (int i = 5; i < 15; i++) w[i] = zero;

    /* job->third keeps the names in place, so the fourth round starts with the roles three steps on. */
    ROUND(f, g, h, a, b, c, d, e, (K[3] + w[3]));
    ROUND(e, f, g, h, a, b, c, d, (K[4] + w[4]));
    ROUND(d, e, f, g, h, a, b, c, (zero + K[5]));
    ROUND(c, d, e, f, g, h, a, b, (zero + K[6]));
    ROUND(b, c, d, e, f, g, h, a, (zero + K[7]));
    EIGHT_ROUNDS(8, GIVEN);
    EIGHT_ROUNDS(16, MADE);
    EIGHT_ROUNDS(24, MADE);
    EIGHT_ROUNDS(32, MADE);
    EIGHT_ROUNDS(40, MADE);
    EIGHT_ROUNDS(48, MADE);
    EIGHT_ROUNDS(56, MADE);

    const uint32_t *m = job->midstate;
    w[0] = a + m[0], w[1] = b + m[1], w[2] = c + m[2], w[3] = d + m[3];
    w[4] = e + m[4], w[5] = f + m[5], w[6] = g + m[6], w[7] = h + m[7];
    w[8] = zero + 0x80000000u;
    for (int i = 9; i < 15; i++) w[i] = zero;
    w[15] = zero + 256u;
    a = zero + INITIAL[0], b = zero + INITIAL[1], c = zero + INITIAL[2], d = zero + INITIAL[3];
    e = zero + INITIAL[4], f = zero + INITIAL[5], g = zero + INITIAL[6], h = zero + INITIAL[7];
    EIGHT_ROUNDS(0, GIVEN);
    EIGHT_ROUNDS(8, GIVEN);
    EIGHT_ROUNDS(16, MADE);
    EIGHT_ROUNDS(24, MADE);
    EIGHT_ROUNDS(32, MADE);
    EIGHT_ROUNDS(40, MADE);
    EIGHT_ROUNDS(48, MADE);
    ROUND(a, b, c, d, e, f, g, h, (K[56] + MADE(56)));
    ROUND(h, a, b, c, d, e, f, g, (K[57] + MADE(57)));
    ROUND(g, h, a, b, c, d, e, f, (K[58] + MADE(58)));
    ROUND(f, g, h, a, b, c, d, e, (K[59] + MADE(59)));
    /* e after the 61st round moves to h by the 64th; in the names of that round it is h. */
    *top = h + d + BIG1(a) + CHOOSE(a, b, c) + (K[60] + MADE(60)) + INITIAL[7];
}

LANE_TARGET static size_t LANE_SCAN(const struct job *job, uint32_t start, uint32_t count, uint32_t *found,
                                    size_t room) {
    size_t n = 0;
    for (uint64_t done = 0; done < count; done += LANES) {
        VECTOR nonce_word, top;
        for (uint32_t i = 0; i < LANES; i++) nonce_word[i] = byteswap32(start + (uint32_t)done + i);
        TOP_WORDS(job, &nonce_word, &top);
        for (uint32_t i = 0; i < LANES && done + i < count; i++) {
            if (byteswap32(top[i]) > job->target[0]) continue;
            if (!meets_target(job, start + (uint32_t)done + i, compress_portable)) continue;
            found[n++] = start + (uint32_t)done + i;
            if (n == room) return n;
        }
    }
    return n;
}

#undef LANE_JOIN_
#undef LANE_JOIN
#undef VECTOR
#undef TOP_WORDS
#undef LANES
#undef LANE_SCAN
#undef LANE_TARGET
