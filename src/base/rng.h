#ifndef BASE_RNG_H
#define BASE_RNG_H
/* rng - a small seeded generator (xoshiro256**, Blackman and Vigna 2018; seeded by splitmix64).
 * A plain value: copying it copies the future, which is what a dry run needs. Not for secrets. */
#include <stdint.h>

struct rng {
    uint64_t state[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);
/* Uniform in 0..bound-1 without bias; bound >= 1. */
uint64_t rng_below(struct rng *r, uint64_t bound);
/* Uniform in [0, 1), 53 bits. */
double rng_unit(struct rng *r);
/* Normal with mean 0 and deviation 1 (polar method on fmath, so it reproduces everywhere). */
double rng_normal(struct rng *r);
/* Exponential with mean 1. */
double rng_exponential(struct rng *r);
#endif
