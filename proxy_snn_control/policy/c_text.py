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
 * Written by proxy-snn export; docs/micro.md of proxy_snn_control tells about it.
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

/* All the memory that a policy needs, which is the caller's. Read what you like of it. */
typedef struct {
    float action[POLICY_ACTIONS]; /* the last one, within the limits; before any, rest */
    float input[POLICY_INPUTS];   /* what the network reads */
    int32_t seen;                 /* whether there was an observation since policy_reset */
    int32_t wrong;                /* the place of the observation that is not finite, or -1 */
    uint32_t operations;          /* synaptic operations: spikes times the synapses they reach */
    uint32_t counts[POLICY_LAYERS]; /* spikes of each layer, from the encoder on */
    policy_event events[POLICY_TIME_STEPS * POLICY_WIDEST];
    uint8_t spikes[POLICY_TIME_STEPS * POLICY_NEURONS + 7]; /* of the last action: policy_spike */
} policy_state;

/* Put a policy to rest. Its action is 0, or the limit that is nearest to 0. */
void policy_init(policy_state *state);

/* Begin an episode: forget what was seen and done before. Only a policy that reads more than the
 * present observation (POLICY_REMEMBERS) makes a difference of it. */
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
#define SCALE(sum) (sum)
"""

# How many of a layer's neurons are computed together, and in what pieces: as many as have their
# sums in registers. A vector longer than the processor's is taken apart, and slow.
FLOAT_LANES = """\
#define LANES @LANES@
#define COLUMNS @COLUMNS@
#define EACH(DO) @EACH@
typedef float lanes@S@ __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t masks@S@ __attribute__((vector_size(4 * LANES)));
typedef int8_t bytes@S@ __attribute__((vector_size(LANES), may_alias, aligned(1)));
#define NONE {0}
#define LOAD(place) (*(const lanes@S@ *)(place))
#define STORE(place, value) (*(lanes@S@ *)(place) = (value))
/* 1 where a number is above a limit, 0 elsewhere */
#define ABOVE(number, limit) \\
    ((lanes@S@)((number > limit) & (masks@S@)(1.0f + (lanes@S@){0})))
#define TELL(place, number, limit) \\
    (*(bytes@S@ *)(place) = __builtin_convertvector(number > limit, bytes@S@) & 1)
"""

SCALAR_LANES = """\
#define LANES 1
#define COLUMNS 8
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
typedef float lanes;
#define NONE 0
#define LOAD(place) (*(place))
#define STORE(place, value) (*(place) = (value))
#define ABOVE(number, limit) (number > limit ? 1.0f : 0.0f)
#define TELL(place, number, limit) (*(place) = number > limit)
"""

# On a PC a program has the code for several processors, and takes what its own has.
AVX512 = """\
#if defined(LIST_EIGHT) && defined(__x86_64__) && !defined(__clang__) && !defined(POLICY_NARROW)
#define SEVERAL
#include <immintrin.h>
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
@KERNEL@
@WIDE@
@UNDEFINE@
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2")
"""

AVX2 = """\
@KERNEL@
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
#undef TELL
#undef AT
#undef BEGIN
#undef ADD_LOWER
#undef ADD_UPPER
#undef END
"""

INT8_LANES = """\
#define LANES 1
#define COLUMNS 8
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#define NONE 0
#define ALIGNED
#define INLINE
typedef int32_t lanes;
typedef int8_t weight;
typedef int32_t number;
#define LOAD(place) (*(place))
#define STORE(place, value) (*(place) = (value))
/* A step of a weight is 2 units. */
#define SCALE(sum) (2 * (sum))
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
typedef double doubles __attribute__((vector_size(16), may_alias));
typedef int64_t wholes __attribute__((vector_size(16)));
typedef uint8_t octet __attribute__((vector_size(8), may_alias));
typedef policy_event eight __attribute__((vector_size(8 * sizeof(policy_event)), may_alias,
                                          aligned(1)));
/* For every byte the places of the bits that are set. */
static const uint8_t bits_set[256][8] ALIGNED = {
@BITS_SET@};
#endif

/* List which neurons from first to before last fire; returns how many do. */
static INLINE int list_events(const uint8_t *spikes, int first, int last, policy_event *events)
{
    int count = 0, j = first;
#ifdef LIST_EIGHT
    for (; j < last - 7; j += 8) {
        word fired = *(const word *)(spikes + j);
        /* One product gathers the lowest bits of all bytes, the other adds them up. */
        const uint8_t *places = bits_set[fired * 0x0102040810204080u >> 56];
        *(eight *)(events + count) =
            __builtin_convertvector(*(const octet *)places, eight) + (policy_event)j;
        count += (int)(fired * 0x0101010101010101u >> 56);
    }
#endif
    for (; j < last; j++) {
        events[count] = (policy_event)j;
        count += spikes[j];
    }
    return count;
}
"""

KERNEL = """\
/* Add up the rows of weights of the neurons that fire, those before the middle of the layer and
 * those after it each in a sum of its own. Blocks are `apart` weights from each other. */
static INLINE void add_rows@S@(const weight *rows, int apart, const policy_event *events, int lower,
                     int count, const number *biases, number *current)
{
    const policy_event *other = events + lower;
    int upper = count - lower, both = lower < upper ? lower : upper, i;
#define AT(k) ((k) * LANES / BLOCK * apart + (k) * LANES % BLOCK)
#define BEGIN(k) lanes@S@ a##k = NONE, b##k = NONE;
#define ADD_LOWER(k) a##k += LOAD(row + AT(k));
#define ADD_UPPER(k) b##k += LOAD(row_above + AT(k));
#define END(k) STORE(current + (k) * LANES, LOAD(biases + (k) * LANES) + SCALE(a##k) + SCALE(b##k));
    EACH(BEGIN)
    for (i = 0; i < both; i++) {
        const weight *row = rows + (int32_t)events[i] * BLOCK;
        const weight *row_above = rows + (int32_t)other[i] * BLOCK;
        EACH(ADD_LOWER)
        EACH(ADD_UPPER)
    }
    for (; i < lower; i++) {
        const weight *row = rows + (int32_t)events[i] * BLOCK;
        EACH(ADD_LOWER)
    }
    for (; i < upper; i++) {
        const weight *row_above = rows + (int32_t)other[i] * BLOCK;
        EACH(ADD_UPPER)
    }
    EACH(END)
    (void)apart;
}

@STEP@
"""

RUN = """\
/* Run all time steps of a layer. Some neurons run all of them before the next ones do: their
 * columns of the weights stay in the cache, where there is one. */
static uint32_t run_layer@S@(const layer *of, const uint8_t *before, uint8_t *after,
                          policy_event *events)
{
    int lower[POLICY_TIME_STEPS], count[POLICY_TIME_STEPS], first, t, j;
    uint32_t fired = 0;
    for (t = 0; t < POLICY_TIME_STEPS; t++) {
        const uint8_t *spikes = before + t * of->fan_in;
        policy_event *list = events + t * POLICY_WIDEST;
        lower[t] = list_events(spikes, 0, of->middle, list);
        count[t] = lower[t] + list_events(spikes, of->middle, of->fan_in, list + lower[t]);
        fired += (uint32_t)count[t];
    }
    for (first = 0; first < of->neurons; first += COLUMNS) {
        const weight *rows = of->weights + (int32_t)(first / BLOCK) * of->fan_in * BLOCK
            + first % BLOCK;
        int many = of->neurons - first < COLUMNS ? of->neurons - first : COLUMNS;
        /* The last block may be without a second one: then it is taken twice. */
        int apart = many > BLOCK ? of->fan_in * BLOCK : 0;
        number current[COLUMNS] ALIGNED;
        uint8_t told[COLUMNS] ALIGNED;
        neurons@S@ state;
        rest@S@(&state);
        for (t = 0; t < POLICY_TIME_STEPS; t++) {
            uint8_t *spikes = after + t * of->neurons + first;
            add_rows@S@(rows, apart, events + t * POLICY_WIDEST, lower[t], count[t],
                     of->biases + first, current);
            step@S@(&state, current@STEP_ARGUMENTS@, many == COLUMNS ? spikes : told);
            for (j = 0; many < COLUMNS && j < many; j++)
                spikes[j] = told[j];
        }
    }
    return fired;
}
"""

# Spikes are a matter of in which interval the stimulation is. So its exponential is never computed.
ENCODE = """\
/* tanh of an observation, in double precision. */
@TANH@
/* The population encoder. A neuron's stimulation A = exp(-z) stays the same for all time steps, so
 * its spikes depend on the interval that A is in alone. The bounds, of z, are searched by halving;
 * trains has the spikes, a bit for each step. */
static void encode(const float *input, uint8_t *spikes)
{
    @TRAIN@ train[ENCODER_NEURONS + 7];
    int i, j, t;
#if defined(LIST_EIGHT) && BOUNDS <= 16
    /* Few bounds are all compared with, two neurons at once. */
    double z[ENCODER_NEURONS + 1] ALIGNED;
    for (i = 0; i < POLICY_INPUTS; i++) {
        double squashed = squash(input[i]);
        for (j = i * POPULATION; j < (i + 1) * POPULATION; j++) {
            double distance = squashed - centres[j];
            z[j] = distance * distance * sharpness[j];
        }
    }
    z[ENCODER_NEURONS] = 0;
    for (j = 0; j < ENCODER_NEURONS; j += 2) {
        doubles now = *(const doubles *)(z + j);
        wholes level = {0};
        for (i = 0; i < BOUNDS - 1; i++)
            level -= now < bounds[i];
        train[j] = trains[level[0]];
        train[j + 1] = trains[level[1]];
    }
#else
    for (i = 0; i < POLICY_INPUTS; i++) {
        double squashed = squash(input[i]);
        for (j = i * POPULATION; j < (i + 1) * POPULATION; j++) {
            double distance = squashed - centres[j], z = distance * distance * sharpness[j];
            int level = 0;
@SEARCH@            train[j] = trains[level];
        }
    }
#endif
    for (t = 0; t < POLICY_TIME_STEPS; t++) {
#if defined(LIST_EIGHT) && POLICY_TIME_STEPS <= 8
        /* What is written beyond a step's spikes is what is filled in next. */
        for (j = 0; j < ENCODER_NEURONS; j += 8)
            *(word *)(spikes + t * ENCODER_NEURONS + j) =
                *(const word *)(train + j) >> t & 0x0101010101010101u;
#else
        for (j = 0; j < ENCODER_NEURONS; j++)
            spikes[t * ENCODER_NEURONS + j] = train[j] >> t & 1;
#endif
    }
}
"""

# A spike costs a load and an addition, of which an x86-64 with AVX-512 does one a cycle. So rows
# are read once for four steps; half of their additions are products with 1 or 0, which other units
# compute.
WIDE = """\
#define FOUR 4                                 /* steps together, and blocks together */
#define SINGLE (POLICY_TIME_STEPS % FOUR)      /* the first steps, in which fewer fire */
#define TIMES (POLICY_TIME_STEPS / FOUR)
#define FIRST_STEP(i) ((i) < SINGLE ? (i) : SINGLE + ((i) - SINGLE) * FOUR)
#define EACH_OF_FOUR(DO) DO(0) DO(1) DO(2) DO(3)

/* Add to sums [FOUR steps][FOUR blocks][BLOCK] the rows of the neurons that fire in any of the four
 * steps; a bit of their pattern says in which. What is added to each sum comes in the same order as
 * by add_rows, and a product with 1 or 0 is exact. */
static void add_four(const float *rows, const int32_t *apart, const policy_event *events,
                     int count, const uint8_t *patterns, float *sums)
{
    static const float factors[4][2] = {{0, 0}, {1, 0}, {0, 1}, {1, 1}};
    int i;
#define BEGIN_FOUR(k) __m512 a##k = _mm512_setzero_ps(), b##k = a##k, c##k = a##k, d##k = a##k;
#define ADD_FOUR(k) { \\
        __m512 weights = _mm512_loadu_ps(row + apart[k]); \\
        __asm__("" : "+v"(weights)); /* loaded once, not again for every addition */ \\
        a##k = _mm512_fmadd_ps(weights, first, a##k); \\
        b##k = _mm512_fmadd_ps(weights, second, b##k); \\
        c##k = _mm512_mask_add_ps(c##k, third, c##k, weights); \\
        d##k = _mm512_mask_add_ps(d##k, fourth, d##k, weights); \\
    }
#define MORE(step, k, sum) { \\
        float *place = sums + ((step) * FOUR + (k)) * BLOCK; \\
        _mm512_storeu_ps(place, _mm512_add_ps(_mm512_loadu_ps(place), sum)); \\
    }
#define END_FOUR(k) MORE(0, k, a##k) MORE(1, k, b##k) MORE(2, k, c##k) MORE(3, k, d##k)
    EACH_OF_FOUR(BEGIN_FOUR)
    for (i = 0; i < count; i++) {
        int neuron = events[i], pattern = patterns[neuron];
        const float *row = rows + neuron * BLOCK, *factor = factors[pattern & 3];
        __m512 first = _mm512_set1_ps(factor[0]), second = _mm512_set1_ps(factor[1]);
        __mmask16 third = (__mmask16)-(pattern >> 2 & 1), fourth = (__mmask16)-(pattern >> 3);
        EACH_OF_FOUR(ADD_FOUR)
    }
    EACH_OF_FOUR(END_FOUR)
}

/* What run_layer does. */
static uint32_t run_layer_wide(const layer *of, const uint8_t *before, uint8_t *after,
                               policy_event *events)
{
    uint8_t patterns[TIMES + 1][POLICY_WIDEST + 8], any[POLICY_WIDEST + 8];
    int lower[SINGLE + TIMES], count[SINGLE + TIMES], first, t, i, j, k;
    uint32_t fired = 0;
    for (i = 0; i < SINGLE + TIMES; i++) {
        const uint8_t *spikes = before + FIRST_STEP(i) * of->fan_in;
        policy_event *list = events + i * POLICY_WIDEST;
        if (i >= SINGLE) {
            for (j = 0; j < of->fan_in; j += 8) {
                int left = of->fan_in - j;
                word mask = left < 8 ? ((word)1 << 8 * left) - 1 : ~(word)0;
#define NOW(step) (*(const word *)(spikes + (step) * of->fan_in + j) & mask)
                word a = NOW(0), b = NOW(1), c = NOW(2), d = NOW(3);
                *(word *)(patterns[i - SINGLE] + j) = a | b << 1 | c << 2 | d << 3;
                *(word *)(any + j) = a | b | c | d;
                fired += (uint32_t)((a + b + c + d) * 0x0101010101010101u >> 56);
            }
            spikes = any;
        }
        lower[i] = list_events(spikes, 0, of->middle, list);
        count[i] = lower[i] + list_events(spikes, of->middle, of->fan_in, list + lower[i]);
        if (i < SINGLE)
            fired += (uint32_t)count[i];
    }
    for (first = 0; first < of->neurons; first += FOUR * BLOCK) {
        const weight *rows = of->weights + (int32_t)(first / BLOCK) * of->fan_in * BLOCK;
        int blocks = (of->neurons - first + BLOCK - 1) / BLOCK;
        float current[FOUR][FOUR * BLOCK] ALIGNED;
        uint8_t told[COLUMNS] ALIGNED;
        int32_t apart[FOUR];
        neurons@S@ state[2];
        rest@S@(&state[0]);
        rest@S@(&state[1]);
        /* Where blocks are missing, the last one is taken again. */
        for (k = 0; k < FOUR; k++)
            apart[k] = (k < blocks ? k : blocks - 1) * of->fan_in * BLOCK;
        for (i = 0; i < SINGLE + TIMES; i++) {
            const policy_event *list = events + i * POLICY_WIDEST;
            int steps = i < SINGLE ? 1 : FOUR, begin = FIRST_STEP(i);
            if (i < SINGLE) {
                for (k = 0; k < FOUR && k < blocks; k += 2)
                    add_rows@S@(rows + apart[k], apart[k + 1] - apart[k], list, lower[i], count[i],
                             of->biases + first + k * BLOCK, current[0] + k * BLOCK);
            } else {
                const uint8_t *pattern = patterns[i - SINGLE];
                for (t = 0; t < FOUR; t++)
                    for (k = 0; k < FOUR; k++)
                        STORE(current[t] + k * BLOCK,
                              LOAD(of->biases + first + (k < blocks ? k : 0) * BLOCK));
                add_four(rows, apart, list, lower[i], pattern, current[0]);
                add_four(rows, apart, list + lower[i], count[i] - lower[i], pattern, current[0]);
            }
            for (t = 0; t < steps; t++)
                for (k = 0; k < 2 && 2 * k < blocks; k++) {
                    int many = of->neurons - first - k * COLUMNS;
                    uint8_t *spikes = after + (begin + t) * of->neurons + first + k * COLUMNS;
                    step@S@(&state[k], current[t] + k * COLUMNS, many >= COLUMNS ? spikes : told);
                    for (j = 0; many < COLUMNS && j < many; j++)
                        spikes[j] = told[j];
                }
        }
    }
    return fired;
}
"""

CHOOSE = """\
#ifdef SEVERAL
#define RUN_LAYER (has_avx512() ? run_layer_wide : has_avx2() ? run_layer_avx2 : run_layer)
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
#endif
"""

ACT = """\
static void decode(const uint8_t *spikes, policy_state *state)
{
    int i, j, t;
    uint32_t fired = 0;
    for (i = 0; i < POLICY_ACTIONS; i++) {
        float total = decoder_bias[i];
        for (j = i * READ_OUT; j < (i + 1) * READ_OUT; j++) {
            int count = 0;
            for (t = 0; t < POLICY_TIME_STEPS; t++)
                count += spikes[t * POLICY_ACTIONS * READ_OUT + j];
            fired += (uint32_t)count;
            total += decoder_weight[j] * ((float)count / POLICY_TIME_STEPS);
        }
        total = low[i] + (@TANHF@ + 1) * half_range[i];
        /* Rounding may step over a limit by one unit in the last place: a limit is a limit. */
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
static int32_t see(policy_state *state, const float *observation)
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
    const uint8_t *before = state->spikes;
    int i;
    state->wrong = see(state, observation);
    if (state->wrong < 0) {
        encode(state->input, state->spikes);
        state->operations = 0;
        for (i = 0; i < POLICY_LAYERS - 1; i++) {
            const uint8_t *after = before + POLICY_TIME_STEPS * layers[i].fan_in;
            state->counts[i] = RUN_LAYER(&layers[i], before, (uint8_t *)after, state->events);
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
    const uint8_t *spikes = state->spikes;
    int i, size = ENCODER_NEURONS;
    for (i = 0; i < layer; i++) {
        spikes += POLICY_TIME_STEPS * size;
        size = layers[i].neurons;
    }
    return spikes[step * size + neuron];
}
"""

NEURON = """\
/* The neurons:
 *
@ABOUT@
 */
@CONSTANTS@
"""

FLOAT_STEP = """\
typedef struct {
    float fired[COLUMNS] ALIGNED, @STATE@;
} neurons@S@;

static INLINE void rest@S@(neurons@S@ *of)
{
    int j;
    for (j = 0; j < COLUMNS; j++)
        of->fired[j] = @REST@ = 0;
}

static INLINE void step@S@(neurons@S@ *of, const float *current, uint8_t *told)
{
    int j;
    for (j = 0; j < COLUMNS; j += LANES) {
@LINES@    }
}
"""

INT8_STEP = """\
/* LIF and CLIF neurons in the fixed point of Loihi 2: states of 24 bits, decays of 12, both rounded
 * towards 0; synaptic input counts 2^6. The conversion sees to it that no current overflows. */
#define STATE_LIMIT 8388607

typedef struct {
    int32_t current[COLUMNS], voltage[COLUMNS];
} neurons@S@;

static INLINE void rest@S@(neurons@S@ *of)
{
    int j;
    for (j = 0; j < COLUMNS; j++)
        of->current[j] = of->voltage[j] = 0;
}

static INLINE int32_t decayed(int32_t state, int32_t decay)
{
    int64_t product = (int64_t)state * decay;
    return (int32_t)(product < 0 ? -(-product >> 12) : product >> 12);
}

/* A sum of weights times 2^exponent, rounded down. */
static INLINE int32_t scaled(int32_t sum, int exponent)
{
    if (exponent >= 0)
        return sum * ((int32_t)1 << exponent);
    return sum < 0 ? ~(~sum >> -exponent) : sum >> -exponent;
}

static INLINE void step@S@(neurons@S@ *of, const int32_t *input, const layer *about, uint8_t *told)
{
    int j;
    for (j = 0; j < COLUMNS; j++) {
        int32_t current = decayed(of->current[j], about->current_decay)
            + scaled(input[j], about->exponent) * 64;
        int32_t voltage = decayed(of->voltage[j], about->voltage_decay) + current;
        voltage = voltage > STATE_LIMIT ? STATE_LIMIT : voltage;
        voltage = voltage < -STATE_LIMIT ? -STATE_LIMIT : voltage;
        told[j] = voltage > about->threshold;
        of->current[j] = current;
        of->voltage[j] = told[j] ? 0 : voltage;
    }
}
"""

TANH_OF_MATH = """\
static double squash(double x)
{
    return tanh(x);
}
"""

TANH_BY_TABLE = """\
/* By exp(-2 |x|), which is parted into factors of two tables and a short series. The error is at
 * most @ERROR@. */
static double squash(double x)
{
    double y = x < 0 ? -2 * x : 2 * x, rest, exponential = 0;
    if (y < @END@) {
        int whole = (int)y, part = (int)((y - whole) * @PARTS@);
        rest = y - whole - part * (1.0 / @PARTS@);
        exponential = exp_whole[whole] * exp_parts[part] * (@SERIES@);
    }
    y = (1 - exponential) / (1 + exponential);
    return x < 0 ? -y : y;
}
"""

ACTED = """\
        for (i = 0; i < POLICY_ACTIONS; i++)
            state->input[POLICY_INPUTS - POLICY_ACTIONS + i] =
                (state->action[i] - low[i]) / half_range[i] - 1;
"""
