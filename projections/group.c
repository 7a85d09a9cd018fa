/* group: opening, transactions, and the table of groups. */
#include "projections/group_int.h"

#include <stdlib.h>

#include "storage/base/check.h"

/* One call of groups_expire begins no further group after so many leases. */
#define EXPIRE_MAX 10000

static err_t load_definitions(struct groups *g);

/* ---- definitions ---- */

static void free_def(struct group_def *def)
{
    if (def == NULL) {
        return;
    }
    group_state_drop(def);
    group_said_done(&def->said);
    for (size_t i = 0; i < def->seen_count; i++) {
        free(def->seen[i].name);
    }
    free(def->seen);
    free(def);
}

static void free_defs(struct groups *g)
{
    for (size_t i = 0; i < g->count; i++) {
        free_def(g->defs[i]);
    }
    g->count = 0;
    map_done(&g->by_name);
    map_init(&g->by_name);
}

struct group_def *group_by_name(const struct groups *g, struct bytes name)
{
    return map_get(&g->by_name, name);
}

struct group_def *group_by_id(const struct groups *g, uint64_t id)
{
    size_t low = 0, high = g->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (g->defs[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < g->count && g->defs[low]->id == id ? g->defs[low] : NULL;
}

/* Ids are positions, which grow, so that the table is in order of them. */
err_t group_add_def(struct groups *g, struct group_def *def)
{
    CHECK(g->count == 0 || g->defs[g->count - 1]->id < def->id);
    if (g->count == g->cap) {
        size_t cap = g->cap == 0 ? 8 : g->cap * 2;
        struct group_def **defs = realloc(g->defs, cap * sizeof(struct group_def *));
        if (defs == NULL) {
            return ERR_MEMORY;
        }
        g->defs = defs;
        g->cap = cap;
    }
    err_t err = map_add(&g->by_name, bytes_of_string(def->name), def);
    if (err == ERR_OK) {
        g->defs[g->count++] = def;
    }
    return err;
}

/* The map cannot forget one entry, so it is made anew; groups are not deleted often. */
err_t group_remove_def(struct groups *g, struct group_def *def)
{
    struct map names;
    err_t err = ERR_OK;
    map_init(&names);
    for (size_t i = 0; i < g->count && err == ERR_OK; i++) {
        if (g->defs[i] != def) {
            err = map_add(&names, bytes_of_string(g->defs[i]->name), g->defs[i]);
        }
    }
    if (err != ERR_OK) {
        map_done(&names);
        return err;
    }
    map_done(&g->by_name);
    g->by_name = names;
    size_t kept = 0;
    for (size_t i = 0; i < g->count; i++) {
        if (g->defs[i] != def) {
            g->defs[kept++] = g->defs[i];
        }
    }
    g->count = kept;
    free_def(def);
    return ERR_OK;
}

static err_t load_definition(struct groups *g, uint64_t id, struct bytes value)
{
    struct group_row_definition row;
    err_t err = group_definition_get(value, &row);
    if (err != ERR_OK) {
        return err;
    }
    struct group_def *def = calloc(1, sizeof *def);
    if (def == NULL) {
        return ERR_MEMORY;
    }
    err = group_read_event(row.type, row.data, &def->said);
    if (err != ERR_OK) {
        free(def);
        return err == ERR_UNSUPPORTED ? ERR_CORRUPT : err;
    }
    struct bytes name = def->said.change.name;
    memcpy(def->name, name.p, name.n);
    def->id = id;
    def->created_us = row.created_us;
    def->revision = row.revision;
    err = group_add_def(g, def);
    if (err != ERR_OK) {
        free_def(def);
    }
    return err;
}

static err_t load_rows(struct groups *g, struct kv_txn *txn)
{
    struct group_key key;
    struct bytes folded;
    struct kv_cursor *cursor;
    struct kv_row row;
    err_t err = kv_get(txn, STATE_TABLE, group_key(GROUP_ROW_FOLDED, 0, 0, &key), &folded);
    if (err == ERR_OK && folded.n != 8) {
        return ERR_CORRUPT;
    }
    g->folded = err == ERR_OK ? bytes_get_u64le(folded.p) : 0;
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        err = kv_cursor_open(txn, STATE_TABLE, &cursor);
    }
    if (err != ERR_OK) {
        return err;
    }
    err = kv_seek(cursor, group_key(GROUP_ROW_DEFINITION, 0, 0, &key), &row);
    while (err == ERR_OK && row.key.n == GROUP_KEY_BYTES && memcmp(row.key.p, key.bytes, 2) == 0) {
        err = load_definition(g, bytes_get_u64be(row.key.p + 2), row.value);
        if (err == ERR_OK) {
            err = kv_next(cursor, &row);
        }
    }
    kv_cursor_close(cursor);
    return err == ERR_END ? ERR_OK : err;
}

static err_t load_definitions(struct groups *g)
{
    struct kv_txn *txn;
    free_defs(g);
    g->stale = true;
    err_t err = kv_begin(g->kv, false, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = load_rows(g, txn);
    kv_abort(txn);
    g->stale = err != ERR_OK;
    g->folded_dirty = false;
    return err;
}

err_t groups_open(struct state_env *env, struct groups **ret, struct err_text *et)
{
    struct groups *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return ERR_MEMORY;
    }
    g->kv = state_env_kv(env);
    map_init(&g->by_name);
    err_t err = load_definitions(g);
    if (err != ERR_OK) {
        groups_close(g);
        return err_set(et, err, "cannot read the consumer groups: %s", err_describe(err));
    }
    *ret = g;
    return ERR_OK;
}

void groups_close(struct groups *g)
{
    if (g == NULL) {
        return;
    }
    kv_abort(g->txn);
    free_defs(g);
    map_done(&g->by_name);
    free(g->defs);
    while (g->tickets != NULL) {
        struct group_ticket *ticket = g->tickets;
        g->tickets = ticket->next;
        free(ticket);
    }
    free(g);
}

/* ---- transactions ---- */

err_t group_txn(struct groups *g, struct kv_txn **ret)
{
    err_t err = g->txn == NULL ? kv_begin(g->kv, true, &g->txn) : ERR_OK;
    *ret = g->txn;
    return err;
}

err_t groups_begin(struct groups *g, struct store_view *v, int64_t now_us)
{
    CHECK(!g->open);
    if (g->stale) {
        err_t err = load_definitions(g);
        if (err != ERR_OK) {
            return err;
        }
    }
    g->view = v;
    g->now_us = now_us > g->now_us ? now_us : g->now_us;
    g->open = true;
    err_t err = group_fold(g);
    if (err != ERR_OK) {
        groups_abort(g);
    }
    return err;
}

/* Where definitions were changed all are read again; else only the groups that were used. */
void groups_abort(struct groups *g)
{
    if (!g->open) {
        return;
    }
    kv_abort(g->txn);
    g->txn = NULL;
    g->open = false;
    g->view = NULL;
    g->stale = g->stale || g->folded_dirty;
    for (size_t i = 0; i < g->count; i++) {
        struct group_state *state = g->defs[i]->state;
        if (state != NULL && (state->touched || g->stale)) {
            group_state_drop(g->defs[i]);
        }
    }
}

static err_t flush_definition(struct groups *g, struct group_def *def)
{
    struct kv_txn *txn;
    struct group_key key;
    struct event_draft draft;
    struct arena arena;
    struct buf b;
    struct group_change change = def->said.change;
    change.settings = &def->said.settings;
    arena_init(&arena, 4096, (size_t)8 << 20);
    buf_init(&b, (size_t)8 << 20);
    err_t err = group_make_event(&change, &arena, &draft);
    if (err == ERR_OK) {
        struct group_row_definition row = {.created_us = def->created_us,
                                           .revision = def->revision,
                                           .type = draft.type,
                                           .data = draft.data};
        group_definition_put(&b, &row);
        err = buf_status(&b);
    }
    if (err == ERR_OK) {
        err = group_txn(g, &txn);
    }
    if (err == ERR_OK) {
        err = kv_put(txn, STATE_TABLE, group_key(GROUP_ROW_DEFINITION, def->id, 0, &key),
                     buf_bytes(&b));
    }
    buf_done(&b);
    arena_done(&arena);
    return err;
}

static err_t flush_folded(struct groups *g)
{
    struct kv_txn *txn;
    struct group_key key;
    uint8_t value[8];
    err_t err = group_txn(g, &txn);
    if (err != ERR_OK) {
        return err;
    }
    bytes_put_u64le(value, g->folded);
    return kv_put(txn, STATE_TABLE, group_key(GROUP_ROW_FOLDED, 0, 0, &key),
                  bytes_of(value, sizeof value));
}

static err_t flush(struct groups *g)
{
    err_t err = g->folded_dirty ? flush_folded(g) : ERR_OK;
    for (size_t i = 0; i < g->count && err == ERR_OK; i++) {
        struct group_def *def = g->defs[i];
        if (def->dirty) {
            err = flush_definition(g, def);
        }
        if (err == ERR_OK && def->state != NULL && def->state->touched) {
            err = group_state_flush(g, def);
        }
    }
    return err;
}

err_t groups_commit(struct groups *g)
{
    CHECK(g->open);
    err_t err = flush(g);
    if (err == ERR_OK && g->txn != NULL) {
        err = kv_commit(g->txn);
        g->txn = NULL;
    }
    if (err != ERR_OK) {
        groups_abort(g);
        return err;
    }
    for (size_t i = 0; i < g->count; i++) {
        g->defs[i]->dirty = false;
        if (g->defs[i]->state != NULL) {
            g->defs[i]->state->touched = false;
        }
    }
    g->folded_dirty = false;
    g->open = false;
    g->view = NULL;
    return ERR_OK;
}

err_t group_use(struct groups *g, struct bytes name, struct group_def **ret)
{
    CHECK(g->open);
    struct group_def *def = group_by_name(g, name);
    if (def == NULL) {
        return ERR_NOT_FOUND;
    }
    err_t err = group_state_load(g, def);
    if (err == ERR_OK) {
        def->state->touched = true;
        *ret = def;
    }
    return err;
}

/* ---- what there is ---- */

size_t groups_count(const struct groups *g)
{
    return g->count;
}

static struct group_info info_of(const struct group_def *def)
{
    return (struct group_info){.name = def->name,
                               .id = def->id,
                               .created_us = def->created_us,
                               .settings = &def->said.settings,
                               .revision = def->revision};
}

struct group_info groups_at(const struct groups *g, size_t i)
{
    return info_of(g->defs[i]);
}

bool groups_find(const struct groups *g, struct bytes name, struct group_info *ret)
{
    const struct group_def *def = group_by_name(g, name);
    if (def != NULL) {
        *ret = info_of(def);
    }
    return def != NULL;
}

uint64_t groups_folded(const struct groups *g)
{
    return g->folded;
}

uint64_t groups_changed(const struct groups *g, struct bytes group)
{
    const struct group_def *def = group_by_name(g, group);
    return def == NULL || def->state == NULL ? 0 : def->state->changes;
}

int64_t groups_due(const struct groups *g)
{
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < g->count; i++) {
        const struct group_state *state = g->defs[i]->state;
        uint32_t node = state == NULL ? GROUP_NONE : group_set_next_due(&state->set);
        if (node != GROUP_NONE && state->set.nodes[node].due_us < due) {
            due = state->set.nodes[node].due_us;
        }
    }
    return due;
}

err_t groups_expire(struct groups *g, bool *ret_more)
{
    uint64_t expired = 0;
    CHECK(g->open);
    *ret_more = false;
    for (size_t i = 0; i < g->count; i++) {
        struct group_def *def = g->defs[i];
        uint32_t node = def->state == NULL ? GROUP_NONE : group_set_next_due(&def->state->set);
        if (node == GROUP_NONE || def->state->set.nodes[node].due_us > g->now_us) {
            continue;
        }
        if (expired >= EXPIRE_MAX) {
            *ret_more = true;
            break;
        }
        uint64_t before = def->state->record.counts.expired;
        def->state->touched = true;
        err_t err = group_expire(g, def);
        if (err != ERR_OK) {
            return err;
        }
        expired += def->state->record.counts.expired - before;
    }
    return ERR_OK;
}

/* ---- texts of leases ---- */

void group_lease_format(const struct group_lease *lease, char ret[GROUP_LEASE_TEXT])
{
    static const char DIGITS[] = "0123456789abcdef";
    uint8_t bytes[GROUP_TOKEN_BYTES + 2];
    memcpy(bytes, lease->token, GROUP_TOKEN_BYTES);
    bytes[GROUP_TOKEN_BYTES] = (uint8_t)(lease->index >> 8);
    bytes[GROUP_TOKEN_BYTES + 1] = (uint8_t)lease->index;
    for (size_t i = 0; i < sizeof bytes; i++) {
        ret[2 * i] = DIGITS[bytes[i] >> 4];
        ret[2 * i + 1] = DIGITS[bytes[i] & 15];
    }
}

static int digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool group_lease_parse(struct bytes text, struct group_lease *ret)
{
    uint8_t bytes[GROUP_TOKEN_BYTES + 2];
    if (text.n != GROUP_LEASE_TEXT) {
        return false;
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        int high = digit_of(text.p[2 * i]), low = digit_of(text.p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i] = (uint8_t)(high * 16 + low);
    }
    memcpy(ret->token, bytes, GROUP_TOKEN_BYTES);
    ret->index = (uint16_t)(bytes[GROUP_TOKEN_BYTES] << 8 | bytes[GROUP_TOKEN_BYTES + 1]);
    return true;
}
