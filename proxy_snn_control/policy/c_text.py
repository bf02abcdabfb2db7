# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The C that every exported policy has in common; c_export.py fills in what is between @ signs.

C99, without allocation, and with no header beyond those of a freestanding compiler but math.h. The
arithmetic, and the order of additions, are those of event.py. Where GNU C's vectors are to be had,
the rows of weights are added by them; the sums are the same.
"""

HEADER = """\
/* @TITLE@
 *
 * A spiking policy as C99: no allocation, @MATH_IS@.
 * Written by proxy-snn export; docs/micro.md of proxy_snn_control describes it.
 *
 * Compile with -ffp-contract=off (-std=c99 implies it), without -ffast-math: a fused or reordered
 * addition can change spikes.
@REPORT@ */
#ifndef POLICY_H
#define POLICY_H

#include <stdint.h>

@DEFINES@

enum {
    POLICY_DONE = 0,           /* the action is the policy's */
    POLICY_BAD_OBSERVATION = 1 /* a NaN or an infinity: the action is the last safe one */
};

/* All the memory that a policy needs; the caller provides it and may read all of it. */
typedef struct {
    float action[POLICY_ACTIONS]; /* the last one, within the limits; first as by policy_init */
    float input[POLICY_INPUTS];   /* what the network reads */
    int32_t seen;                 /* whether there was an observation since policy_reset */
    int32_t wrong;                /* the place of the observation that is not finite, or -1 */
    uint32_t operations;          /* synaptic operations: spikes times the synapses they reach */
    uint32_t counts[POLICY_LAYERS]; /* spikes of each layer, from the encoder on */
    policy_event events[POLICY_TIME_STEPS * POLICY_WIDEST];
    policy_train trains[POLICY_NEURONS + 63]; /* spikes of the last action, a bit for each step */
} policy_state;

/* Initialise a policy. Its action is 0, or the limit that is nearest to 0. */
void policy_init(policy_state *state);

/* Begin an episode: discard earlier observations and the previous action. It matters only for a
 * policy that reads more than the present observation (POLICY_REMEMBERS). */
void policy_reset(policy_state *state);

/* Compute the action [POLICY_ACTIONS] for one observation [POLICY_OBSERVATIONS], in the units of
 * the task. Returns POLICY_DONE or POLICY_BAD_OBSERVATION; the action is within the limits. */
int policy_act(policy_state *state, const float *observation, float *action);

/* Whether a neuron fired in a time step of the last action; all three count from 0, and layer 0 is
 * the encoder. */
int policy_spike(const policy_state *state, int layer, int step, int neuron);

#endif
"""

BEGIN = """\
/* @TITLE@: tables, and the arithmetic. Nothing in here is to be changed by hand. */
#include "policy.h"

@INCLUDES@
#ifdef __FAST_MATH__
#error "compile this file without -ffast-math: it reorders additions, which changes spikes"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

/* Columns of a layer's weights lie together in blocks of this many. */
#define BLOCK 16
"""

# What all pieces of the float code stand on.
FLOAT_BASE = """\
#if defined(__GNUC__) && (defined(__SSE2__) || defined(__aarch64__)) && !defined(POLICY_PLAIN)
#define VECTORS
#define ALIGNED __attribute__((aligned(64)))
#define INLINE __attribute__((always_inline)) inline
#else
#define ALIGNED
#define INLINE
#endif
typedef float weight;
typedef float number;
#define WEIGHTS(columns) (columns)
"""

# How many of a layer's neurons are computed together: as many as have their sums in registers. The
# compiler splits a vector longer than the processor's, which is slow.
FLOAT_LANES = """\
#define LANES @LANES@
#define COLUMNS @COLUMNS@
#define EACH(DO) @EACH@
typedef float lanes@S@ __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t masks@S@ __attribute__((vector_size(4 * LANES)));
typedef policy_train spikes@S@
    __attribute__((vector_size(sizeof(policy_train) * LANES), may_alias, aligned(1)));
#define NONE {0}
#define LOAD(place) (*(const lanes@S@ *)(place))
#define STORE(place, value) (*(lanes@S@ *)(place) = (value))
/* 1 where a number is above a limit, 0 elsewhere */
#define ABOVE(number, limit) \\
    ((lanes@S@)((number > limit) & (masks@S@)(1.0f + (lanes@S@){0})))
/* a step's bit, for the neurons whose number is above a limit */
#define BIT(number, limit, step) \\
    (__builtin_convertvector(number > limit, spikes@S@) & \\
     (policy_train)((policy_train)1 << (step)))
"""

SCALAR_LANES = """\
#define LANES 1
#define COLUMNS 8
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
typedef float lanes;
typedef policy_train spikes;
#define NONE 0
#define LOAD(place) (*(place))
#define STORE(place, value) (*(place) = (value))
#define ABOVE(number, limit) (number > limit ? 1.0f : 0.0f)
#define BIT(number, limit, step) (policy_train)((policy_train)(number > limit) << (step))
"""

# On a PC a program has the code for several processors, and takes what its own has.
AVX512 = """\
#if defined(LIST_EIGHT) && defined(__x86_64__) && !defined(__clang__) && !defined(POLICY_NARROW)
#define SEVERAL
#include <immintrin.h>
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
@CODE@
@UNDEFINE@
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2")
"""

AVX2 = """\
@CODE@
@UNDEFINE@
#pragma GCC pop_options
#endif
"""

UNDEFINE = """\
#undef LANES
#undef COLUMNS
#undef EACH
#undef NONE
#undef LOAD
#undef STORE
#undef ABOVE
#undef BIT
#undef AT
#undef BEGIN
#undef ADD_LOWER
#undef ADD_UPPER
#undef END
"""

INT8_BASE = """\
#define COLUMNS 16
#define ALIGNED
#define INLINE
typedef uint32_t weight; /* four of them, a byte each, 128 more than they are */
typedef int32_t number;
#define WEIGHTS(columns) ((columns) / 4)
"""

INT8_ADD = """\
/* Two sums of 16 bits in one number: add to them bytes 0 and 2 of four, or bytes 1 and 3. */
#if defined(__GNUC__) && defined(__ARM_FEATURE_SIMD32)
#define ADD_EVEN(sums, four) __asm__("uxtab16 %0, %0, %1" : "+r"(sums) : "r"(four))
#define ADD_ODD(sums, four) __asm__("uxtab16 %0, %0, %1, ror #8" : "+r"(sums) : "r"(four))
#else
#define ADD_EVEN(sums, four) ((sums) += (four) & 0x00FF00FFu)
#define ADD_ODD(sums, four) ((sums) += (four) >> 8 & 0x00FF00FFu)
#endif
#define TOGETHER 256 /* so many bytes do not overflow a sum of 16 bits */

/* Add up the rows of weights of the neurons that fire, four weights at once; a step of a weight is
 * 2 units. */
static void add_rows(const weight *rows, int apart, const policy_event *events, int lower,
                     int count, const number *biases, number *current)
{
    int i, j;
    for (j = 0; j < COLUMNS; j++)
        current[j] = biases[j];
    for (i = 0; i < count;) {
        int many = count - i < TOGETHER ? count - i : TOGETHER, last = i + many;
#define EACH(DO) DO(0) DO(1) DO(2) DO(3)
#define BEGIN(k) uint32_t even##k = 0, odd##k = 0;
#define ADD(k) ADD_EVEN(even##k, row[k]); ADD_ODD(odd##k, row[k]);
#define MORE(column, sum) current[column] += 2 * ((int32_t)(sum) - 128 * many);
#define END(k) \\
        MORE(4 * k, even##k & 0xFFFF) MORE(4 * k + 1, odd##k & 0xFFFF) \\
        MORE(4 * k + 2, even##k >> 16) MORE(4 * k + 3, odd##k >> 16)
        EACH(BEGIN)
        for (; i < last; i++) {
            const weight *row = rows + (int32_t)events[i] * (COLUMNS / 4);
            EACH(ADD)
        }
        EACH(END)
    }
    (void)apart;
    (void)lower;
}

"""

LAYER = """\
typedef struct {
    const weight *weights; /* [blocks][fan_in][BLOCK] */
    const number *biases;
    int fan_in, neurons, middle;@FIELDS@
} layer;

@TABLES@
#if defined(VECTORS) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LIST_EIGHT
typedef uint64_t word __attribute__((may_alias, aligned(1)));
typedef uint8_t octet __attribute__((vector_size(8), may_alias));
typedef policy_event eight __attribute__((vector_size(8 * sizeof(policy_event)), may_alias,
                                          aligned(1)));
/* For every byte the places of the bits that are set. */
static const uint8_t bits_set[256][8] ALIGNED = {
@BITS_SET@};

/* Of eight neurons, in a byte each, the spikes from a step on; higher bits are others. */
static INLINE uint64_t spikes_from(int step, const policy_train *trains)
{
#if POLICY_TIME_STEPS <= 8
    return *(const word *)trains >> step;
#else
    typedef policy_train several
        __attribute__((vector_size(8 * sizeof(policy_train)), may_alias, aligned(1)));
    octet bytes = __builtin_convertvector(*(const several *)trains >> step, octet);
    return *(const word *)&bytes;
#endif
}
#endif

/* List which neurons from first to before last fire in a step, or in any of FOUR from it on;
 * returns how many do. */
#define FOUR 4
static INLINE int list_events(const policy_train *trains, int step, int steps, int first, int last,
                              policy_event *events)
{
    int count = 0, j = first;
#ifdef LIST_EIGHT
    for (; j < last - 7; j += 8) {
        uint64_t fired = spikes_from(step, trains + j);
        const uint8_t *places;
        if (steps == FOUR)
            fired |= fired >> 1 | fired >> 2 | fired >> 3;
        fired &= 0x0101010101010101u;
        /* One product gathers the lowest bits of all bytes, the other adds them up. */
        places = bits_set[fired * 0x0102040810204080u >> 56];
        *(eight *)(events + count) =
            __builtin_convertvector(*(const octet *)places, eight) + (policy_event)j;
        count += (int)(fired * 0x0101010101010101u >> 56);
    }
#endif
    for (; j < last; j++) {
        events[count] = (policy_event)j;
        count += (trains[j] >> step & (steps == FOUR ? 15 : 1)) != 0;
    }
    return count;
}
"""

FLOAT_ADD = """\
/* Add up the rows of weights of the neurons that fire, those before the middle of the layer and
 * those after it each in a sum of its own. Blocks are `apart` weights from each other. */
static INLINE void add_rows@S@(const float *rows, int apart, const policy_event *events, int lower,
                     int count, const float *biases, float *current)
{
    const policy_event *other = events + lower;
    int upper = count - lower, both = lower < upper ? lower : upper, i;
#define AT(k) ((k) * LANES / BLOCK * apart + (k) * LANES % BLOCK)
#define BEGIN(k) lanes@S@ a##k = NONE, b##k = NONE;
#define ADD_LOWER(k) a##k += LOAD(row + AT(k));
#define ADD_UPPER(k) b##k += LOAD(row_above + AT(k));
#define END(k) STORE(current + (k) * LANES, LOAD(biases + (k) * LANES) + a##k + b##k);
    EACH(BEGIN)
    for (i = 0; i < both; i++) {
        const float *row = rows + (int32_t)events[i] * BLOCK;
        const float *row_above = rows + (int32_t)other[i] * BLOCK;
        EACH(ADD_LOWER)
        EACH(ADD_UPPER)
    }
    for (; i < lower; i++) {
        const float *row = rows + (int32_t)events[i] * BLOCK;
        EACH(ADD_LOWER)
    }
    for (; i < upper; i++) {
        const float *row_above = rows + (int32_t)other[i] * BLOCK;
        EACH(ADD_UPPER)
    }
    EACH(END)
    (void)apart;
}
"""

RUN = """\
/* Run all time steps of a layer. Some neurons run all of them before the next ones do: their
 * columns of the weights stay in the cache, where there is one. What is written beyond the layer's
 * trains is written again when the next one runs. */
static uint32_t run_layer@S@(const layer *of, const policy_train *before, policy_train *after,
                          policy_event *events)
{
    int lower[POLICY_TIME_STEPS], count[POLICY_TIME_STEPS], first, t;
    uint32_t fired = 0;
    for (t = 0; t < POLICY_TIME_STEPS; t++) {
        policy_event *list = events + t * POLICY_WIDEST;
        lower[t] = list_events(before, t, 1, 0, of->middle, list);
        count[t] = lower[t] + list_events(before, t, 1, of->middle, of->fan_in, list + lower[t]);
        fired += (uint32_t)count[t];
    }
    for (first = 0; first < of->neurons; first += COLUMNS) {
        const weight *rows = of->weights
            + WEIGHTS((int32_t)(first / BLOCK) * of->fan_in * BLOCK + first % BLOCK);
        /* The last block may be without a second one: then it is taken twice. */
        int apart = of->neurons - first > BLOCK ? of->fan_in * BLOCK : 0;
        number current[POLICY_TIME_STEPS * COLUMNS] ALIGNED;
        for (t = 0; t < POLICY_TIME_STEPS; t++)
            add_rows@S@(rows, apart, events + t * POLICY_WIDEST, lower[t], count[t],
                     of->biases + first, current + t * COLUMNS);
        fire@S@(current, of, after + first);
    }
    return fired;
}
"""

# Spikes depend only on the interval that the stimulation is in, so its exponential is never
# computed.
LEVELS = """\
#if defined(LIST_EIGHT) && BOUNDS <= 16
/* Find the spikes of encoder neurons by the interval that z is in: how many bounds lie above. */
typedef double doubles@S@ __attribute__((vector_size(8 * @WIDE@), may_alias));
typedef int64_t wholes@S@ __attribute__((vector_size(8 * @WIDE@)));
static void find_trains@S@(const double *z, policy_train *trains)
{
    int i, j;
    for (j = 0; j < ENCODER_NEURONS; j += @WIDE@) {
        doubles@S@ now = *(const doubles@S@ *)(z + j);
        wholes@S@ level = {0};
        for (i = 0; i < BOUNDS; i++)
            level -= now < bounds[i];
        for (i = 0; i < @WIDE@; i++)
            trains[j + i] = fires[level[i]];
    }
}
#endif
"""

ENCODE = """\
/* tanh, in double precision: its error is at most @ERROR@. */
static double squash(double x)
{
    double y = x < 0 ? -2 * x : 2 * x, small = @EXP@;
    y = (1 - small) / (1 + small);
    return x < 0 ? -y : y;
}

#if !defined(LIST_EIGHT) || BOUNDS > 16
@NEAR@
#define COUNT_ABOVE(level, z, table) @SEARCH@
/* How many bounds are above a neuron's z, which are searched by halving. In float first, where a
 * small processor is quick: only if its error could matter, in double. That of `about` is below
 * `error` by the roundings of squashed, wide, and each operation, doubled. */
static int level_of(double squashed, int j)
{
    float distance = (float)squashed - centres[j], wide = (float)sharpness[j];
    float product = wide * distance, about = product * distance;
    float error = 1e-6f * about + 2.5e-7f * (product < 0 ? -product : product) + 1e-13f * wide;
    double exact;
    int level = 0, other = 0;
    COUNT_ABOVE(level, about - error, near_bounds);
    COUNT_ABOVE(other, about + error, near_bounds);
    if (level == other && wide < 1e30f && about < 1e30f)
        return level;
    exact = squashed - centres[j];
    exact = exact * exact * sharpness[j];
    level = 0;
    COUNT_ABOVE(level, exact, bounds);
    return level;
}
#endif

/* The population encoder. A neuron's stimulation A = exp(-z) stays the same for all time steps, so
 * its spikes depend on the interval that A is in alone. The bounds are of z. */
static void encode(const float *input, policy_train *trains)
{
    int i, j;
#if defined(LIST_EIGHT) && BOUNDS <= 16
    /* Few bounds are all compared with, several neurons at once. */
    double z[ENCODER_NEURONS + 7] ALIGNED;
    for (i = 0; i < POLICY_INPUTS; i++) {
        double squashed = squash(input[i]);
        for (j = i * POPULATION; j < (i + 1) * POPULATION; j++) {
            double distance = squashed - centres[j];
            z[j] = distance * distance * sharpness[j];
        }
    }
    for (j = ENCODER_NEURONS; j < ENCODER_NEURONS + 7; j++)
        z[j] = 0;
    FIND_TRAINS(z, trains);
#else
    for (i = 0; i < POLICY_INPUTS; i++) {
        double squashed = squash(input[i]);
        for (j = i * POPULATION; j < (i + 1) * POPULATION; j++)
            trains[j] = fires[level_of(squashed, j)];
    }
#endif
}
"""

# A spike costs a load and an addition, of which an x86-64 with AVX-512 does one a cycle. So rows
# are read once for four steps; half of their additions are products with 1 or 0, which other units
# compute.
WIDE = """\
#define SINGLE (POLICY_TIME_STEPS % FOUR) /* the first steps, in which fewer fire */
#define GROUPS (SINGLE + POLICY_TIME_STEPS / FOUR)
#define FIRST_STEP(i) ((i) < SINGLE ? (i) : SINGLE + ((i) - SINGLE) * FOUR)
#define EACH_OF_FOUR(DO) DO(0) DO(1) DO(2) DO(3)
#define MORE(step, k, sum) { \\
        float *place = sums + ((step) * FOUR + (k)) * BLOCK; \\
        _mm512_store_ps(place, _mm512_add_ps(_mm512_load_ps(place), sum)); \\
    }

/* Add to sums [FOUR blocks][BLOCK] the rows of the neurons that fire. */
static INLINE void add_one(const float *rows, const int32_t *apart, const policy_event *events,
                           int count, float *sums)
{
    int i;
#define BEGIN_ONE(k) __m512 a##k = _mm512_setzero_ps();
#define ADD_ONE(k) a##k = _mm512_add_ps(a##k, _mm512_load_ps(row + apart[k]));
#define END_ONE(k) MORE(0, k, a##k)
    EACH_OF_FOUR(BEGIN_ONE)
    for (i = 0; i < count; i++) {
        const float *row = rows + (int32_t)events[i] * BLOCK;
        EACH_OF_FOUR(ADD_ONE)
    }
    EACH_OF_FOUR(END_ONE)
}

/* Which of four steps a neuron fires in, in the forms in which the additions take it. */
static const struct {
    float first, second;
    __mmask16 third, fourth;
} chosen[16] = {
#define CHOSEN(i) {(i) & 1, (i) >> 1 & 1, (i) & 4 ? 0xFFFF : 0, (i) & 8 ? 0xFFFF : 0},
#define CHOSEN_FOUR(i) CHOSEN(4 * (i)) CHOSEN(4 * (i) + 1) CHOSEN(4 * (i) + 2) CHOSEN(4 * (i) + 3)
    EACH_OF_FOUR(CHOSEN_FOUR)
};

/* Add to sums [FOUR steps][FOUR blocks][BLOCK] the rows of the neurons that fire in any of the
 * four steps, by which of them it is. What is added to each sum comes in the same order as by
 * add_rows, and a product with 1 or 0 is exact. */
static INLINE void add_four(const float *rows, const int32_t *apart, const policy_event *events,
                            int count, const policy_train *trains, int begin, float *sums)
{
    int i;
#define BEGIN_FOUR(k) __m512 a##k = _mm512_setzero_ps(), b##k = a##k, c##k = a##k, d##k = a##k;
#define ADD_FOUR(k) { \\
        __m512 weights = _mm512_load_ps(row + apart[k]); \\
        __asm__("" : "+v"(weights)); /* loaded once, not again for every addition */ \\
        a##k = _mm512_fmadd_ps(weights, first, a##k); \\
        b##k = _mm512_fmadd_ps(weights, second, b##k); \\
        c##k = _mm512_mask_add_ps(c##k, third, c##k, weights); \\
        d##k = _mm512_mask_add_ps(d##k, fourth, d##k, weights); \\
    }
#define END_FOUR(k) MORE(0, k, a##k) MORE(1, k, b##k) MORE(2, k, c##k) MORE(3, k, d##k)
    EACH_OF_FOUR(BEGIN_FOUR)
    for (i = 0; i < count; i++) {
        int neuron = events[i], pattern = (int)(trains[neuron] >> begin & 15);
        const float *row = rows + (int32_t)neuron * BLOCK;
        __m512 first = _mm512_set1_ps(chosen[pattern].first);
        __m512 second = _mm512_set1_ps(chosen[pattern].second);
        __mmask16 third, fourth;
        __asm__("kmovw %1, %0" : "=k"(third) : "m"(chosen[pattern].third)); /* no other register */
        __asm__("kmovw %1, %0" : "=k"(fourth) : "m"(chosen[pattern].fourth));
        EACH_OF_FOUR(ADD_FOUR)
    }
    EACH_OF_FOUR(END_FOUR)
}

/* What run_layer does. */
static uint32_t run_layer_wide(const layer *of, const policy_train *before, policy_train *after,
                               policy_event *events)
{
    int lower[GROUPS], count[GROUPS], first, t, i, j, k;
    uint32_t fired = 0;
    for (j = 0; j < of->fan_in; j += 8)
        for (t = 0; t < POLICY_TIME_STEPS; t += 8) {
            uint64_t spikes = spikes_from(t, before + j);
            if (of->fan_in - j < 8)
                spikes &= ((uint64_t)1 << 8 * (of->fan_in - j)) - 1;
            fired += (uint32_t)__builtin_popcountll(spikes);
        }
    for (i = 0; i < GROUPS; i++) {
        policy_event *list = events + i * POLICY_WIDEST, *above;
        int begin = FIRST_STEP(i), steps = i < SINGLE ? 1 : FOUR;
        lower[i] = list_events(before, begin, steps, 0, of->middle, list);
        above = list + lower[i];
        count[i] = lower[i] + list_events(before, begin, steps, of->middle, of->fan_in, above);
    }
    for (first = 0; first < of->neurons; first += COLUMNS) {
        const weight *rows = of->weights + (int32_t)(first / BLOCK) * of->fan_in * BLOCK;
        int blocks = (of->neurons - first + BLOCK - 1) / BLOCK;
        float current[POLICY_TIME_STEPS * COLUMNS] ALIGNED;
        int32_t apart[FOUR];
        /* Where blocks are missing, the last one is taken again. */
        for (k = 0; k < FOUR; k++)
            apart[k] = (k < blocks ? k : blocks - 1) * of->fan_in * BLOCK;
        for (i = 0; i < GROUPS; i++) {
            const policy_event *list = events + i * POLICY_WIDEST;
            int begin = FIRST_STEP(i), steps = i < SINGLE ? 1 : FOUR;
            float *sums = current + begin * COLUMNS;
            for (t = 0; t < steps; t++)
                for (k = 0; k < FOUR; k++)
                    STORE(sums + t * COLUMNS + k * BLOCK,
                          LOAD(of->biases + first + (k < blocks ? k : 0) * BLOCK));
            if (i < SINGLE) {
                add_one(rows, apart, list, lower[i], sums);
                add_one(rows, apart, list + lower[i], count[i] - lower[i], sums);
            } else {
                add_four(rows, apart, list, lower[i], before, begin, sums);
                add_four(rows, apart, list + lower[i], count[i] - lower[i], before, begin, sums);
            }
        }
        fire@S@(current, of, after + first);
    }
    return fired;
}
"""

CHOOSE = """\
#ifdef SEVERAL
#define CHOOSE(wide, avx2, own) (has_avx512() ? wide : has_avx2() ? avx2 : own)
#define RUN_LAYER CHOOSE(run_layer_wide, run_layer_avx2, run_layer)
#define FIND_TRAINS CHOOSE(find_trains_avx512, find_trains_avx2, find_trains)
static int has_avx512(void)
{
#ifdef POLICY_AVX2
    return 0;
#else
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
}

static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}
#else
#define RUN_LAYER run_layer
#define FIND_TRAINS find_trains
#endif
"""

ACT = """\
/* How many bits are set: in parts of 2, 4 and 8 bits, and by a product that adds those up. */
static int spikes_in(policy_train train)
{
    const uint@WORD@_t all = (uint@WORD@_t)-1;
    uint@WORD@_t bits = train;
    bits -= bits >> 1 & all / 3;
    bits = (bits & all / 5) + (bits >> 2 & all / 5);
    bits = (bits + (bits >> 4)) & all / 17;
    return (int)(bits * (all / 255) >> (@WORD@ - 8));
}

static void decode(const policy_train *trains, policy_state *state)
{
    int i, j;
    uint32_t fired = 0;
    for (i = 0; i < POLICY_ACTIONS; i++) {
        float total = decoder_bias[i];
        for (j = i * READ_OUT; j < (i + 1) * READ_OUT; j++) {
            int count = spikes_in(trains[j]);
            fired += (uint32_t)count;
            total += decoder_weight[j] * rates[count];
        }
        total = low[i] + (@TANHF@ + 1) * half_range[i];
        /* Rounding may exceed a limit by one unit in the last place. */
        total = total < low[i] ? low[i] : total;
        state->action[i] = total > high[i] ? high[i] : total;
    }
    state->counts[POLICY_LAYERS - 1] = fired;
}

void policy_init(policy_state *state)
{
    uint8_t *byte = (uint8_t *)state;
    int i;
    for (i = 0; i < (int)sizeof *state; i++)
        byte[i] = 0;
    state->wrong = -1;
    for (i = 0; i < POLICY_ACTIONS; i++)
        state->action[i] = low[i] > 0 ? low[i] : high[i] < 0 ? high[i] : 0;
}

void policy_reset(policy_state *state)
{
    int i;
    state->seen = 0;
    for (i = 0; i < POLICY_INPUTS; i++)
        state->input[i] = 0;
}

/* Fill in what the network reads: the last observations, the oldest first@AND_ACTION@.
 * Returns the place of the observation that is not finite, and nothing has changed; or -1. */
static int32_t observe(policy_state *state, const float *observation)
{
    float now[POLICY_OBSERVATIONS];
    int32_t wrong = -1;
    int i;
    for (i = POLICY_OBSERVATIONS - 1; i >= 0; i--) {
        now[i] = @NOW@;
        if (!(now[i] >= -FLT_MAX && now[i] <= FLT_MAX))
            wrong = i;
    }
    if (wrong < 0) {
        for (i = 0; i < NEWEST; i++)
            state->input[i] = state->seen ? state->input[i + POLICY_OBSERVATIONS]
                                          : now[i % POLICY_OBSERVATIONS];
        for (i = 0; i < POLICY_OBSERVATIONS; i++)
            state->input[NEWEST + i] = now[i];
        state->seen = 1;
    }
    return wrong;
}

int policy_act(policy_state *state, const float *observation, float *action)
{
    policy_train *before = state->trains;
    int i;
    state->wrong = observe(state, observation);
    if (state->wrong < 0) {
        encode(state->input, state->trains);
        state->operations = 0;
        for (i = 0; i < POLICY_LAYERS - 1; i++) {
            policy_train *after = before + layers[i].fan_in;
            state->counts[i] = RUN_LAYER(&layers[i], before, after, state->events);
            state->operations += state->counts[i] * (uint32_t)layers[i].neurons;
            before = after;
        }
        decode(before, state);
@ACTED@    }
    for (i = 0; i < POLICY_ACTIONS; i++)
        action[i] = state->action[i];
    return state->wrong < 0 ? POLICY_DONE : POLICY_BAD_OBSERVATION;
}

int policy_spike(const policy_state *state, int layer, int step, int neuron)
{
    const policy_train *trains = state->trains;
    int i;
    for (i = 0; i < layer; i++)
        trains += layers[i].fan_in;
    return (int)(trains[neuron] >> step & 1);
}
"""

NEURON = """\
/* The neurons:
 *
@ABOUT@
 */
@CONSTANTS@
"""

FLOAT_FIRE = """\
/* Run all time steps of some neurons. */
static INLINE void fire@S@(const number *current, const layer *of, policy_train *trains)
{
    int j, t;
    (void)of;
    for (j = 0; j < COLUMNS; j += LANES) {
        lanes@S@ @STATE@, fired = NONE;
        spikes@S@ train = NONE;
        for (t = 0; t < POLICY_TIME_STEPS; t++) {
            const lanes@S@ input = LOAD(current + t * COLUMNS + j);
@LINES@        }
        *(spikes@S@ *)(trains + j) = train;
    }
}
"""

INT8_FIRE = """\
/* LIF and CLIF neurons in the fixed point of Loihi 2: states of 24 bits, decays of 12, both
 * rounded towards 0; synaptic input counts 2^6. The conversion ensures that no current
 * overflows. */
#define STATE_LIMIT 8388607
#define CURRENT_DECAY @CURRENT_DECAY@ /* of 4096 */
#define VOLTAGE_DECAY @VOLTAGE_DECAY@

/* State times decay over 4096, in two parts that 32 bits hold. */
static INLINE int32_t decayed(int32_t state, uint32_t decay)
{
    uint32_t size = (uint32_t)(state < 0 ? -state : state);
    int32_t left = (int32_t)((size >> 12) * decay + ((size & 4095) * decay >> 12));
    return state < 0 ? -left : left;
}

/* A sum of weights times 2^exponent, rounded down. */
static INLINE int32_t scaled(int32_t sum, int exponent)
{
    if (exponent >= 0)
        return sum * ((int32_t)1 << exponent);
    return sum < 0 ? ~(~sum >> -exponent) : sum >> -exponent;
}

/* Run all time steps of some neurons. */
static INLINE void fire@S@(const number *input, const layer *of, policy_train *trains)
{
    int j, t;
    for (j = 0; j < COLUMNS; j++) {
        int32_t current = 0, voltage = 0;
        policy_train train = 0;
        for (t = 0; t < POLICY_TIME_STEPS; t++) {
            current = decayed(current, CURRENT_DECAY)
                + scaled(input[t * COLUMNS + j], of->exponent) * 64;
            voltage = decayed(voltage, VOLTAGE_DECAY) + current;
            voltage = voltage > STATE_LIMIT ? STATE_LIMIT : voltage;
            voltage = voltage < -STATE_LIMIT ? -STATE_LIMIT : voltage;
            if (voltage > of->threshold) {
                train = (policy_train)(train | (policy_train)1 << t);
                voltage = 0;
            }
        }
        trains[j] = train;
    }
}
"""

# Parted into factors of two tables and a short series.
EXP_BY_TABLE = """0;
    if (y < @END@) {
        int whole = (int)y, part = (int)((y - whole) * @PARTS@);
        double rest = y - whole - part * (1.0 / @PARTS@);
        small = exp_whole[whole] * exp_parts[part] * (@SERIES@);
    }"""

ACTED = """\
        for (i = 0; i < POLICY_ACTIONS; i++)
            state->input[POLICY_INPUTS - POLICY_ACTIONS + i] =
                (state->action[i] - low[i]) / half_range[i] - 1;
"""
