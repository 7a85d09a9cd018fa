/* change: see change.h. */
#include "change.h"

#include "storage/life.h"

static err_t decode_redaction(const struct event *e, struct change *ret)
{
    struct redaction r;
    err_t err = redaction_decode(e->redaction, &r);
    if (err == ERR_OK) {
        *ret = (struct change){CHANGE_REDACTED, r.stream, r.revision};
    }
    return err;
}

err_t change_decode(const struct event *e, struct change *ret)
{
    if (e->redaction.n > 0) {
        return decode_redaction(e, ret);
    }
    struct life l;
    bool deletes = bytes_equal(e->type, BYTES_LITERAL("$deleted")) ||
                   bytes_equal(e->type, BYTES_LITERAL("$tombstoned"));
    err_t err = e->life.n == 0 ? ERR_CORRUPT : life_decode(e->life, &l);
    if (err == ERR_OK) {
        *ret = (struct change){deletes ? CHANGE_DELETED : CHANGE_METADATA, l.stream, 0};
    }
    return err;
}

err_t change_read(struct store_view *v, uint64_t *from, change_each each, void *ctx)
{
    const struct store_query query = {
        .stream = CHANGE_STREAM, .from = *from, .filter.system = true};
    struct store_read *read;
    struct store_record record;
    struct store_stream_info info;
    err_t err = store_get_stream(v, CHANGE_STREAM, &info);
    if (err == ERR_NOT_FOUND || (err == ERR_OK && info.head_revision <= *from)) {
        return ERR_OK;
    }
    err = err == ERR_OK ? store_read_open(v, &query, &read) : err;
    if (err != ERR_OK) {
        return err;
    }
    while ((err = store_read_next(read, &record)) == ERR_OK || err == ERR_FULL) {
        struct event e;
        struct change c;
        if (err == ERR_FULL) {
            continue;
        }
        err = store_record_decode(&record, &e);
        err = err == ERR_OK ? change_decode(&e, &c) : err;
        err = err == ERR_OK ? each(ctx, &c, e.position) : err;
        if (err != ERR_OK) {
            break;
        }
        *from = e.revision;
    }
    store_read_close(read);
    return err == ERR_END ? ERR_OK : err;
}
