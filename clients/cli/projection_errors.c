/* projection_errors: what is done about events that were set aside. */
#include "projection_int.h"
#include "text.h"

#include <inttypes.h>
#include <string.h>

static int retry_all(struct daybook *db, const char *name, uint64_t after,
                     struct daybook_errors_result *ret)
{
    char first[512] = "";
    struct daybook_errors_result all = {.next = after};
    do {
        struct daybook_errors_result r;
        if (daybook_projection_retry_errors(db, name, all.next, &r) != DAYBOOK_OK) {
            return cli_fail(db, name);
        }
        if (all.failed == 0 && r.failed > 0) {
            (void)snprintf(first, sizeof first, "%s", r.detail);
        }
        all.retried += r.retried;
        all.failed += r.failed;
        all.next = r.next;
        all.end = r.end;
    } while (!all.end);
    if (all.failed > 0) {
        cli_error("%" PRIu64 " failed again, the first: %s", all.failed, first);
    }
    all.detail = "";
    *ret = all;
    return all.failed > 0 ? CLI_FAILED : CLI_OK;
}

int projection_errors_order(struct daybook *db, const char *name,
                            const struct projection_errors_order *order)
{
    struct daybook_errors_result r = {0};
    enum daybook_result result = DAYBOOK_OK;
    int exit = CLI_OK;
    if (order->retry_all) {
        exit = retry_all(db, name, order->after, &r);
    } else if (order->retry > 0) {
        result = daybook_projection_retry_error(db, name, order->retry, &r);
    } else {
        result = daybook_projection_discard_error(db, name, order->skip, &r);
    }
    if (result != DAYBOOK_OK) {
        return cli_fail(db, name);
    }
    if (exit == CLI_OK || r.retried > 0) {
        (void)printf("%s: %" PRIu64 " event%s %s\n", name,
                     order->skip > 0 ? r.discarded : r.retried,
                     (order->skip > 0 ? r.discarded : r.retried) == 1 ? "" : "s",
                     order->skip > 0 ? "discarded" : "taken");
    }
    return exit;
}
