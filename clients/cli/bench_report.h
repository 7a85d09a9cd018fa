/* bench_report: what `daybook bench` prints: a table with a row a run, or a line of JSON a run. */
#ifndef DAYBOOK_BENCH_REPORT_H
#define DAYBOOK_BENCH_REPORT_H

#include "bench_work.h"

const char *bench_workload_name(enum bench_workload workload);

void bench_print_header(void);
void bench_print_row(const struct bench_config *config, const struct bench_stats *stats);
void bench_print_json(const struct bench_config *config, const struct bench_stats *stats);
/* To stderr: how many requests failed, how, and what the server said to the first. */
void bench_print_failures(const struct bench_stats *stats);

#endif
