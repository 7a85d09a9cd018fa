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
