/* snapshots: see snapshots.h.
 *
 * A snapshot knows the log's position when it was put (its `position`); a change of its stream at a
 * later position may end it, an earlier one does not. So a change that is folded a second time,
 * after a crash before the ledger was written, does nothing.
 *
 * Rows have pages of their own: LMDB copies shared pages with what stands in their gaps, and could
 * not be wiped. */
#include "snapshots.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/change.h"

/* Where nothing else is to be written the ledger may stay behind by so many changes. */
#define FOLDED_BEHIND_MAX 1000

struct snapshots {
    struct kv *kv;
    uint64_t bytes_max;
    _Atomic uint64_t folded; /* as the last committed transaction has it */
    /* The writing thread's. */
    struct snapshot_ledger ledger; /* as the last committed transaction has it, written or not */
    uint64_t written;              /* its `folded` as it was written last */
    bool may_have_old_bytes;       /* something was replaced or deleted since the last wiping */
    bool wipe_wanted;
    uint64_t wiped_before; /* the transaction whose free pages are being wiped; 0: not begun */
    /* Of the open transaction: */
    struct kv_txn *txn;
    struct store_view *view;
    struct snapshot_ledger next;
    bool changed;    /* a row was put or deleted */
    bool saw_ending; /* a deletion or a redaction was folded */
};

static err_t read_ledger(struct snapshots *s)
{
    uint8_t room[SNAPSHOT_KEY_MAX];
    struct kv_txn *txn;
    struct bytes row;
    err_t err = kv_begin(s->kv, false, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = kv_get(txn, STATE_TABLE, snapshot_key(BYTES_NONE, room), &row);
    err = err == ERR_OK ? snapshot_ledger_decode(row, &s->ledger) : err;
    s->wipe_wanted = err == ERR_OK; /* who knows whether the last wiping was finished */
    kv_abort(txn);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

err_t snapshots_open(struct state_env *env, uint64_t bytes_max, struct snapshots **ret,
                     struct err_text *et)
{
    struct snapshots *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return ERR_MEMORY;
    }
    s->kv = state_env_kv(env);
    s->bytes_max = bytes_max;
    s->may_have_old_bytes = true;
    err_t err = read_ledger(s);
    if (err != ERR_OK) {
        free(s);
        return err_set(et, err, "cannot read what is known of snapshots: %s", err_describe(err));
    }
    s->written = s->ledger.folded;
    atomic_init(&s->folded, s->ledger.folded);
    *ret = s;
    return ERR_OK;
}

void snapshots_close(struct snapshots *s)
{
    if (s != NULL) {
        CHECK(s->txn == NULL);
        free(s);
    }
}

/* ---- what the log says ---- */

/* Whether a change at a position ends a snapshot of its stream. */
static bool ends(const struct change *c, uint64_t position, const struct snapshot *snapshot)
{
    bool reaches = c->kind == CHANGE_DELETED ||
                   (c->kind == CHANGE_REDACTED && c->revision <= snapshot->revision);
    return reaches && position > snapshot->position;
}

/* ---- writing ---- */

/* The row of a stream. A damaged one is as good as none: `*ret_bytes` is of its value all the
 * same. */
static err_t find(struct snapshots *s, struct bytes key, struct snapshot *ret, size_t *ret_bytes)
{
    struct bytes row;
    err_t err = kv_get(s->txn, STATE_TABLE, key, &row);
    *ret_bytes = err == ERR_OK ? row.n : 0;
    err = err == ERR_OK ? snapshot_row_decode(key, row, ret) : err;
    return err == ERR_CORRUPT ? ERR_NOT_FOUND : err;
}

static err_t drop(struct snapshots *s, struct bytes key, size_t bytes)
{
    err_t err = kv_delete(s->txn, STATE_TABLE, key);
    if (err == ERR_OK) {
        s->next.bytes -= bytes < s->next.bytes ? bytes : s->next.bytes;
        s->changed = true;
    }
    return err;
}

static err_t fold(void *ctx, const struct change *c, uint64_t position)
{
    struct snapshots *s = ctx;
    struct snapshot found;
    uint8_t room[SNAPSHOT_KEY_MAX];
    size_t bytes;
    if (c->kind == CHANGE_METADATA) {
        return ERR_OK;
    }
    s->saw_ending = true;
    struct bytes key = snapshot_key(c->stream, room);
    err_t err = find(s, key, &found, &bytes);
    if (err == ERR_NOT_FOUND && bytes > 0) { /* damaged: who knows what it held */
        return drop(s, key, bytes);
    }
    if (err == ERR_OK && ends(c, position, &found)) {
        return drop(s, key, bytes);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

err_t snapshots_begin(struct snapshots *s, struct store_view *v)
{
    CHECK(s->txn == NULL);
    err_t err = kv_begin(s->kv, true, &s->txn);
    if (err != ERR_OK) {
        s->txn = NULL;
        return err;
    }
    s->view = v;
    s->next = s->ledger;
    s->changed = s->saw_ending = false;
    err = change_read(v, &s->next.folded, fold, s);
    if (err != ERR_OK) {
        snapshots_abort(s);
    }
    return err;
}

/* What the log says about the stream; DONE: a snapshot may be put. */
static err_t judge_stream(struct snapshots *s, struct bytes stream, uint64_t revision,
                          struct snapshot_result *ret)
{
    struct store_stream_info info;
    err_t err = store_get_stream(s->view, stream, &info);
    *ret = (struct snapshot_result){.verdict = SNAPSHOT_DONE};
    if (err == ERR_NOT_FOUND) {
        ret->verdict = SNAPSHOT_NO_STREAM;
        return ERR_OK;
    }
    if (err == ERR_OK && info.deleted) {
        ret->verdict = SNAPSHOT_STREAM_DELETED;
    } else if (err == ERR_OK && revision > info.head_revision) {
        ret->verdict = SNAPSHOT_BEYOND_HEAD;
        ret->revision = info.head_revision;
    } else if (err == ERR_OK && revision <= info.deleted_revision) {
        ret->verdict = SNAPSHOT_OF_DELETED;
        ret->revision = info.deleted_revision;
    }
    return err;
}

/* `old`: bytes of the row that is there. */
static err_t put_row(struct snapshots *s, struct bytes key, const struct snapshot *put, size_t old,
                     struct snapshot_result *ret)
{
    size_t n = snapshot_row_bytes(put), alone = kv_value_bytes_alone(s->txn);
    uint8_t *p;
    n = n < alone ? alone : n;
    old = old < s->next.bytes ? old : (size_t)s->next.bytes;
    if (s->next.bytes - old + n > s->bytes_max) {
        ret->verdict = SNAPSHOT_NO_ROOM;
        return ERR_OK;
    }
    err_t err = kv_reserve(s->txn, STATE_TABLE, key, n, &p);
    if (err == ERR_OK) {
        snapshot_row_encode(key, put, p, n);
        s->next.bytes += n - old;
        s->next.last_time_us = put->time_us;
        s->changed = true;
        ret->time_us = put->time_us;
    }
    return err;
}

err_t snapshots_put(struct snapshots *s, struct bytes stream, const struct snapshot *put,
                    int64_t now_us, struct snapshot_result *ret)
{
    CHECK(s->txn != NULL && put->revision > 0);
    uint8_t room[SNAPSHOT_KEY_MAX];
    struct snapshot there;
    size_t bytes;
    err_t err = judge_stream(s, stream, put->revision, ret);
    if (err != ERR_OK || ret->verdict != SNAPSHOT_DONE) {
        return err;
    }
    struct bytes key = snapshot_key(stream, room);
    err = find(s, key, &there, &bytes);
    ret->existed = err == ERR_OK;
    if (err == ERR_OK && there.revision > put->revision) {
        ret->verdict = SNAPSHOT_STALE;
        ret->revision = there.revision;
    } else if (err == ERR_OK || err == ERR_NOT_FOUND) {
        struct snapshot row = *put;
        int64_t last_us = s->next.last_time_us;
        row.position = store_view_position(s->view);
        row.time_us = now_us > last_us ? now_us : last_us + 1;
        return put_row(s, key, &row, bytes, ret);
    }
    return err;
}

err_t snapshots_delete(struct snapshots *s, struct bytes stream, struct snapshot_result *ret)
{
    CHECK(s->txn != NULL);
    uint8_t room[SNAPSHOT_KEY_MAX];
    struct snapshot there;
    size_t bytes;
    err_t err = judge_stream(s, stream, UINT64_MAX, ret);
    if (ret->verdict == SNAPSHOT_BEYOND_HEAD) { /* it exists */
        ret->verdict = SNAPSHOT_DONE;
    }
    if (err != ERR_OK || ret->verdict != SNAPSHOT_DONE) {
        return err;
    }
    struct bytes key = snapshot_key(stream, room);
    err = find(s, key, &there, &bytes);
    ret->existed = bytes > 0;
    if (bytes > 0) {
        err = drop(s, key, bytes);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static err_t put_ledger(struct snapshots *s)
{
    uint8_t room[SNAPSHOT_KEY_MAX], row[SNAPSHOT_LEDGER_BYTES];
    snapshot_ledger_encode(&s->next, row);
    return kv_put(s->txn, STATE_TABLE, snapshot_key(BYTES_NONE, room), bytes_of(row, sizeof row));
}

/* Where the ledger is not written, what was folded is folded again after a restart. */
err_t snapshots_commit(struct snapshots *s)
{
    CHECK(s->txn != NULL);
    bool write = s->changed || s->next.folded - s->written > FOLDED_BEHIND_MAX;
    err_t err = write ? put_ledger(s) : ERR_OK;
    if (err != ERR_OK) {
        snapshots_abort(s);
        return err;
    }
    err = kv_commit(s->txn);
    s->txn = NULL;
    if (err == ERR_OK) {
        s->ledger = s->next;
        s->written = write ? s->next.folded : s->written;
        s->may_have_old_bytes = s->may_have_old_bytes || s->changed;
        if (s->saw_ending && s->may_have_old_bytes) {
            s->wipe_wanted = true;
            s->wiped_before = 0;
        }
        atomic_store(&s->folded, s->ledger.folded);
    }
    return err;
}

void snapshots_abort(struct snapshots *s)
{
    if (s->txn != NULL) {
        kv_abort(s->txn);
        s->txn = NULL;
    }
}

/* ---- wiping ---- */

bool snapshots_must_wipe(const struct snapshots *s)
{
    return s->wipe_wanted;
}

/* Pages that a transaction has freed are out of use only in the snapshots after the next one, so
 * one more is made. */
static err_t start_wiping(struct snapshots *s)
{
    err_t err = kv_begin(s->kv, true, &s->txn);
    if (err != ERR_OK) {
        s->txn = NULL;
        return err;
    }
    uint64_t id = kv_txn_id(s->txn);
    s->next = s->ledger;
    err = put_ledger(s);
    if (err != ERR_OK) {
        snapshots_abort(s);
        return err;
    }
    err = kv_commit(s->txn);
    s->txn = NULL;
    if (err == ERR_OK) {
        s->written = s->ledger.folded;
        s->wiped_before = id;
        s->may_have_old_bytes = false; /* from here on */
    }
    return err;
}

/* The list of free pages must not change while it is walked, and others write too: an empty
 * transaction keeps them out. */
err_t snapshots_wipe(struct snapshots *s, bool *ret_waits)
{
    CHECK(s->txn == NULL && s->wipe_wanted);
    struct kv_txn *txn;
    bool done = false, more = false;
    err_t err = s->wiped_before == 0 ? start_wiping(s) : ERR_OK;
    err = err == ERR_OK ? kv_begin(s->kv, true, &txn) : err;
    *ret_waits = false;
    if (err != ERR_OK) {
        return err;
    }
    err = kv_scrub(s->kv, s->wiped_before - 1, &done, &more);
    kv_abort(txn);
    if (err == ERR_OK && done) {
        s->wipe_wanted = false;
        s->wiped_before = 0;
    }
    *ret_waits = err == ERR_OK && !done && !more;
    return err;
}

/* ---- reading ---- */

void snapshot_read_init(struct snapshot_read *r)
{
    *r = (struct snapshot_read){.found = false};
    buf_init(&r->row, SIZE_MAX);
}

void snapshot_read_done(struct snapshot_read *r)
{
    buf_done(&r->row);
}

/* `folded` is read before the transaction begins: what it counts has had its effect in there. */
err_t snapshots_read(struct snapshots *s, struct bytes stream, struct snapshot_read *r)
{
    uint8_t room[SNAPSHOT_KEY_MAX];
    struct bytes key = snapshot_key(stream, room), row;
    struct kv_txn *txn;
    r->found = false;
    r->folded = atomic_load(&s->folded);
    err_t err = kv_begin(s->kv, false, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = kv_get(txn, STATE_TABLE, key, &row);
    if (err == ERR_OK) {
        buf_clear(&r->row);
        buf_put(&r->row, row);
        err = buf_status(&r->row);
    }
    kv_abort(txn);
    if (err == ERR_OK) {
        err = snapshot_row_decode(key, buf_bytes(&r->row), &r->snapshot);
        r->found = err == ERR_OK;
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

struct judgement {
    struct bytes stream;
    struct snapshot_read *r;
};

static err_t judge_change(void *ctx, const struct change *c, uint64_t position)
{
    const struct judgement *j = ctx;
    if (bytes_equal(c->stream, j->stream) && ends(c, position, &j->r->snapshot)) {
        j->r->found = false;
    }
    return ERR_OK;
}

err_t snapshots_judge(struct store_view *v, struct bytes stream, struct snapshot_read *r)
{
    struct store_stream_info info;
    struct judgement judgement = {stream, r};
    err_t err = store_get_stream(v, stream, &info);
    if (err != ERR_OK || info.deleted) {
        r->found = false;
        return err == ERR_OK ? ERR_GONE : err;
    }
    uint64_t from = r->folded;
    return r->found ? change_read(v, &from, judge_change, &judgement) : ERR_OK;
}
