/* document_json: documents out of answers. A document is handed on as it stands there; what is
 * around it is parsed. */
#include "document_int.h"

#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_tree.h>

/* Decoded; NULL: no memory, or it is no string. */
static const char *decode(struct daybook_bytes raw, struct daybook_arena *arena)
{
    char *terminated = malloc(raw.n + 1);
    if (terminated == NULL) {
        return NULL;
    }
    memcpy(terminated, raw.p, raw.n);
    terminated[raw.n] = '\0';
    yajl_val v = yajl_tree_parse(terminated, NULL, 0);
    const char *text = YAJL_GET_STRING(v);
    const char *copy = text == NULL ? NULL : daybook_arena_copy(arena, text, strlen(text));
    yajl_tree_free(v);
    free(terminated);
    return copy;
}

static uint64_t number_in(struct daybook_bytes object, const char *name)
{
    struct daybook_bytes raw;
    uint64_t n = 0;
    if (daybook_json_raw_member(object, name, &raw)) {
        const uint8_t *p = raw.p;
        for (size_t i = 0; i < raw.n && p[i] >= '0' && p[i] <= '9'; i++) {
            n = n * 10 + (uint64_t)(p[i] - '0');
        }
    }
    return n;
}

enum daybook_result daybook_json_document(struct daybook *db, struct daybook_bytes json,
                                          struct daybook_arena *arena, struct daybook_document *ret)
{
    struct daybook_bytes key, document;
    if (!daybook_json_raw_member(json, "key", &key) ||
        !daybook_json_raw_member(json, "document", &document)) {
        return daybook_fail_protocol(db, "it is no document");
    }
    bool none = document.n == 4 && memcmp(document.p, "null", 4) == 0;
    struct daybook_document d = {.key = decode(key, arena),
                                 .position = number_in(json, "position")};
    const char *copy = daybook_arena_copy(arena, (const char *)document.p, document.n);
    if (d.key == NULL || copy == NULL) {
        return daybook_fail_memory(db);
    }
    d.json = (struct daybook_bytes){(const uint8_t *)copy, none ? 0 : document.n};
    *ret = d;
    return DAYBOOK_OK;
}

static size_t count(struct daybook_bytes array)
{
    struct daybook_bytes element;
    size_t at = 0, n = 0;
    while (daybook_json_raw_element(array, &at, &element)) {
        n++;
    }
    return n;
}

enum daybook_result daybook_json_documents(struct daybook *db, struct daybook_documents *ret)
{
    struct daybook_bytes json = daybook_json(db), array, next, end, element;
    if (!daybook_json_raw_member(json, "documents", &array) ||
        !daybook_json_raw_member(json, "next", &next) ||
        !daybook_json_raw_member(json, "end", &end)) {
        return daybook_fail_protocol(db, "it is no list of documents");
    }
    struct daybook_documents list = {.next = decode(next, &db->arena),
                                     .end = end.n == 4 && memcmp(end.p, "true", 4) == 0};
    struct daybook_document *documents =
        daybook_arena_get(&db->arena, (count(array) + 1) * sizeof *documents);
    if (documents == NULL || list.next == NULL) {
        return daybook_fail_memory(db);
    }
    for (size_t at = 0; daybook_json_raw_element(array, &at, &element);) {
        enum daybook_result result =
            daybook_json_document(db, element, &db->arena, &documents[list.documents_n]);
        if (result != DAYBOOK_OK) {
            return result;
        }
        documents[list.documents_n++].position = number_in(json, "position");
    }
    list.documents = documents;
    *ret = list;
    return DAYBOOK_OK;
}
