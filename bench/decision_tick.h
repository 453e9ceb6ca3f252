#ifndef BENCH_DECISION_TICK_H
#define BENCH_DECISION_TICK_H
/* decision_tick - what a tick costs that looks after nodes and plans. Prints its figures. */
void decision_tick_measure(void);
#endif
