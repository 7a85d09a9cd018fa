/* projection_json: what the server says of projections, out of JSON. What is absent is "", 0 or
 * false; members that are not known are passed over. */
#include "document_int.h"

#include <string.h>
#include <yajl/yajl_tree.h>

/* ---- one member ---- */

static yajl_val member(yajl_val object, const char *name)
{
    const char *path[] = {name, NULL};
    return yajl_tree_get(object, path, yajl_t_any);
}

static const char *text_of(struct daybook *db, yajl_val object, const char *name)
{
    const char *text = YAJL_GET_STRING(member(object, name));
    const char *copy = text == NULL ? "" : daybook_arena_copy(&db->arena, text, strlen(text));
    return copy == NULL ? "" : copy;
}

static struct daybook_value value_of(struct daybook *db, yajl_val v)
{
    struct daybook_value value = {.kind = DAYBOOK_NULL};
    const char *text = YAJL_IS_STRING(v)   ? YAJL_GET_STRING(v)
                       : YAJL_IS_NUMBER(v) ? YAJL_GET_NUMBER(v)
                                           : NULL;
    if (text == NULL) {
        return value;
    }
    value.kind = DAYBOOK_TEXT;
    value.text.n = strlen(text);
    value.text.p = daybook_arena_copy(&db->arena, text, value.text.n);
    if (value.text.p == NULL) {
        return (struct daybook_value){.kind = DAYBOOK_NULL};
    }
    if (YAJL_IS_NUMBER(v)) {
        daybook_json_number(&value);
    }
    return value;
}

/* Absent: `none`. */
static double real_of(yajl_val object, const char *name, double none)
{
    yajl_val v = member(object, name);
    if (!YAJL_IS_NUMBER(v)) {
        return none;
    }
    struct daybook_value value = {.text = {YAJL_GET_NUMBER(v), strlen(YAJL_GET_NUMBER(v))}};
    daybook_json_number(&value);
    return value.real;
}

static uint64_t number_of(yajl_val object, const char *name)
{
    yajl_val v = member(object, name);
    if (!YAJL_IS_NUMBER(v)) {
        return 0;
    }
    struct daybook_value value = {.text = {YAJL_GET_NUMBER(v), strlen(YAJL_GET_NUMBER(v))}};
    daybook_json_number(&value);
    return value.kind == DAYBOOK_INTEGER && value.integer > 0 ? (uint64_t)value.integer : 0;
}

static bool is_true(yajl_val object, const char *name)
{
    return YAJL_IS_TRUE(member(object, name)) != 0;
}

/* The elements of an array; NULL and 0 where there is none. */
static yajl_val *elements_of(yajl_val v, size_t *ret_n)
{
    *ret_n = YAJL_IS_ARRAY(v) ? YAJL_GET_ARRAY(v)->len : 0;
    return *ret_n > 0 ? YAJL_GET_ARRAY(v)->values : NULL;
}

/* ---- one answer ---- */

/* NULL, with the problem set. */
static yajl_val parse(struct daybook *db)
{
    yajl_val tree = daybook_buffer_add_byte(&db->call.body, '\0')
                        ? yajl_tree_parse((const char *)db->call.body.p, NULL, 0)
                        : NULL;
    if (db->call.body.n > 0 && db->call.body.p[db->call.body.n - 1] == '\0') {
        db->call.body.n--;
    }
    if (tree == NULL) {
        (void)daybook_fail_protocol(db, "it is not JSON");
    }
    return tree;
}

static void *array_of(struct daybook *db, size_t n, size_t size)
{
    void *array = daybook_arena_get(&db->arena, (n + 1) * size);
    if (array == NULL) {
        (void)daybook_fail_memory(db);
    }
    return array;
}

static struct daybook_projection_version read_version(struct daybook *db, yajl_val v)
{
    yajl_val error = member(v, "error");
    return (struct daybook_projection_version){
        .version = number_of(v, "version"),
        .state = text_of(db, v, "state"),
        .position = number_of(v, "position"),
        .lag_events = number_of(v, "lag_events"),
        .lag_s = real_of(v, "lag_seconds", 0),
        .events_per_s = real_of(v, "events_per_second", 0),
        .eta_s = real_of(v, "eta_seconds", -1),
        .stalled_s = real_of(v, "stalled_seconds", 0),
        .error_position = error == NULL ? 0 : number_of(error, "position"),
        .error = error == NULL ? "" : text_of(db, error, "detail"),
    };
}

static struct daybook_projection read_projection(struct daybook *db, yajl_val v)
{
    yajl_val building = member(v, "building");
    struct daybook_projection p = {
        .name = text_of(db, v, "name"),
        .kind = text_of(db, v, "kind"),
        .deleted = is_true(v, "deleted"),
        .current = read_version(db, v),
        .building = {.state = "", .error = "", .eta_s = -1},
        .previous_version = number_of(v, "previous_version"),
        .set_aside = strcmp(text_of(db, v, "on_error"), "set_aside") == 0,
        .attempts = (unsigned)number_of(v, "attempts"),
        .defined = text_of(db, v, "defined"),
        .source = text_of(db, v, "source"),
    };
    if (building != NULL) {
        p.building = read_version(db, building);
    }
    return p;
}

enum daybook_result daybook_json_projection(struct daybook *db, struct daybook_projection *ret)
{
    yajl_val tree = parse(db);
    if (tree == NULL) {
        return db->problem.result;
    }
    struct daybook_projection p = read_projection(db, tree);
    yajl_tree_free(tree);
    if (p.name[0] == '\0') {
        return daybook_fail_protocol(db, "it says nothing of a projection");
    }
    *ret = p;
    return DAYBOOK_OK;
}

enum daybook_result daybook_json_projections(struct daybook *db,
                                             const struct daybook_projection **ret, size_t *ret_n)
{
    yajl_val tree = parse(db);
    if (tree == NULL) {
        return db->problem.result;
    }
    size_t n;
    yajl_val *items = elements_of(member(tree, "projections"), &n);
    struct daybook_projection *list = array_of(db, n, sizeof *list);
    for (size_t i = 0; list != NULL && i < n; i++) {
        list[i] = read_projection(db, items[i]);
    }
    yajl_tree_free(tree);
    if (list == NULL) {
        return db->problem.result;
    }
    *ret = list;
    *ret_n = n;
    return DAYBOOK_OK;
}

/* ---- errors ---- */

/* NULL: no memory, with the problem set. */
static const struct daybook_projection_error *read_errors(struct daybook *db, yajl_val tree,
                                                          size_t *ret_n)
{
    yajl_val *items = elements_of(member(tree, "errors"), ret_n);
    struct daybook_projection_error *errors = array_of(db, *ret_n, sizeof *errors);
    for (size_t i = 0; errors != NULL && i < *ret_n; i++) {
        errors[i] = (struct daybook_projection_error){
            .position = number_of(items[i], "position"),
            .stream = text_of(db, items[i], "stream"),
            .type = text_of(db, items[i], "type"),
            .detail = text_of(db, items[i], "detail"),
            .attempts = number_of(items[i], "attempts"),
            .skipped = is_true(items[i], "skipped"),
        };
    }
    return errors;
}

enum daybook_result daybook_json_errors(struct daybook *db, struct daybook_projection_errors *ret)
{
    yajl_val tree = parse(db);
    if (tree == NULL) {
        return db->problem.result;
    }
    struct daybook_projection_errors e = {.next = number_of(tree, "next"),
                                          .end = is_true(tree, "end")};
    e.errors = read_errors(db, tree, &e.errors_n);
    yajl_tree_free(tree);
    if (e.errors == NULL) {
        return db->problem.result;
    }
    *ret = e;
    return DAYBOOK_OK;
}

enum daybook_result daybook_json_errors_result(struct daybook *db,
                                               struct daybook_errors_result *ret)
{
    yajl_val tree = parse(db);
    if (tree == NULL) {
        return db->problem.result;
    }
    *ret = (struct daybook_errors_result){
        .retried = number_of(tree, "retried"),
        .discarded = number_of(tree, "discarded"),
        .failed = number_of(tree, "failed"),
        .next = number_of(tree, "next"),
        .end = is_true(tree, "end"),
        .detail = text_of(db, tree, "detail"),
    };
    yajl_tree_free(tree);
    return DAYBOOK_OK;
}

/* ---- the schema ---- */

static bool read_table(struct daybook *db, yajl_val v, struct daybook_table *ret)
{
    yajl_val *items = elements_of(member(v, "columns"), &ret->columns_n);
    struct daybook_column *columns = array_of(db, ret->columns_n, sizeof *columns);
    for (size_t i = 0; columns != NULL && i < ret->columns_n; i++) {
        columns[i] = (struct daybook_column){
            .name = text_of(db, items[i], "name"),
            .type = text_of(db, items[i], "type"),
            .not_null = is_true(items[i], "not_null"),
            .primary_key = is_true(items[i], "primary_key"),
        };
    }
    ret->name = text_of(db, v, "name");
    ret->kind = text_of(db, v, "kind");
    ret->columns = columns;
    return columns != NULL;
}

enum daybook_result daybook_json_schema(struct daybook *db, const struct daybook_table **ret,
                                        size_t *ret_n)
{
    yajl_val tree = parse(db);
    if (tree == NULL) {
        return db->problem.result;
    }
    size_t n;
    yajl_val *items = elements_of(member(tree, "tables"), &n);
    struct daybook_table *tables = array_of(db, n, sizeof *tables);
    bool ok = tables != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        ok = read_table(db, items[i], &tables[i]);
    }
    yajl_tree_free(tree);
    if (!ok) {
        return db->problem.result;
    }
    *ret = tables;
    *ret_n = n;
    return DAYBOOK_OK;
}

/* ---- a dry run ---- */

static bool read_sample(struct daybook *db, yajl_val v, struct daybook_rows *ret)
{
    size_t cells_n;
    yajl_val *names = elements_of(member(v, "columns"), &ret->columns_n);
    yajl_val *rows = elements_of(member(v, "rows"), &ret->rows_n);
    const char **columns = array_of(db, ret->columns_n, sizeof *columns);
    struct daybook_value *values = array_of(db, ret->columns_n * ret->rows_n, sizeof *values);
    if (columns == NULL || values == NULL) {
        return false;
    }
    for (size_t i = 0; i < ret->columns_n; i++) {
        const char *name = YAJL_GET_STRING(names[i]);
        columns[i] = name == NULL ? "" : daybook_arena_copy(&db->arena, name, strlen(name));
        columns[i] = columns[i] == NULL ? "" : columns[i];
    }
    for (size_t r = 0; r < ret->rows_n; r++) {
        yajl_val *cells = elements_of(rows[r], &cells_n);
        for (size_t i = 0; i < ret->columns_n; i++) {
            values[r * ret->columns_n + i] = value_of(db, i < cells_n ? cells[i] : NULL);
        }
    }
    ret->columns = columns;
    ret->values = values;
    return true;
}

enum daybook_result daybook_json_dry_run(struct daybook *db, struct daybook_dry_run *ret)
{
    yajl_val tree = parse(db);
    if (tree == NULL) {
        return db->problem.result;
    }
    struct daybook_dry_run d = {.events = number_of(tree, "events"),
                                .position = number_of(tree, "position")};
    yajl_val *items = elements_of(member(tree, "tables"), &d.tables_n);
    struct daybook_dry_table *tables = array_of(db, d.tables_n, sizeof *tables);
    bool ok = tables != NULL;
    for (size_t i = 0; ok && i < d.tables_n; i++) {
        tables[i] = (struct daybook_dry_table){.name = text_of(db, items[i], "name"),
                                               .count = number_of(items[i], "count")};
        ok = read_sample(db, member(items[i], "sample"), &tables[i].sample);
    }
    d.tables = tables;
    d.errors = ok ? read_errors(db, tree, &d.errors_n) : NULL;
    yajl_tree_free(tree);
    if (d.errors == NULL) {
        return db->problem.result;
    }
    *ret = d;
    return DAYBOOK_OK;
}
