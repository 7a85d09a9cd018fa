/* api_metrics: what main.c needs of it; the handler of GET /metrics is declared by router.h. */
#ifndef DAYBOOK_SERVER_API_METRICS_H
#define DAYBOOK_SERVER_API_METRICS_H

#include "server/http.h"

/* Counts a request that is over. Its loop's thread. */
void api_metrics_count(struct http_request *rq, unsigned status);

#endif
