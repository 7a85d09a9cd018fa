/* backup: the answer of POST /v1/admin/backup as it comes, piece by piece, so that memory stays
 * small however large the store is. */
#include "client_int.h"

#define PIECE_BYTES ((size_t)1 << 20)
#define BODY_MAX    ((size_t)16 << 20)

static bool is_answered(const struct daybook_transfer *t)
{
    long status = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    return status == 200;
}

/* Hands over what there is until the exchange is over. False: `write` gave up. */
static bool hand_over(struct daybook_transfer *t, daybook_write_fn write, void *arg)
{
    while (t->running || t->body.n > 0) {
        daybook_transfer_wait(t, 0);
        if (t->body.n == 0 || !is_answered(t)) {
            if (t->running) {
                daybook_transfer_wait(t, SIZE_MAX - 1); /* what the problem is */
            }
            return true;
        }
        bool ok = write(arg, t->body.p, t->body.n);
        t->body.n = 0;
        if (!ok) {
            return false;
        }
    }
    return true;
}

enum daybook_result daybook_backup(struct daybook *db, daybook_write_fn write, void *arg)
{
    const struct daybook_bytes nothing = {NULL, 0};
    struct daybook_transfer t;
    bool ok = daybook_transfer_init(&t, db, BODY_MAX) &&
              daybook_url_begin(db, &db->url, "/v1/admin/backup") && daybook_url_end(&db->url);
    t.body_target = PIECE_BYTES;
    ok = ok && daybook_transfer_start(&t, (const char *)db->url.p, &nothing);
    enum daybook_result result = DAYBOOK_OK;
    if (!ok) {
        result = daybook_fail_memory(db);
    } else if (!hand_over(&t, write, arg)) {
        daybook_transfer_stop(&t);
        result = daybook_fail(db, DAYBOOK_ERR_ARGUMENT, "the backup was given up", "", "");
    } else if (t.outcome != CURLE_OK || t.status != 200) {
        result = daybook_fail_transfer(&t);
    }
    daybook_transfer_done(&t);
    return result;
}
