/* group_int: what the files about consumer groups share: JSON both ways. */
#ifndef DAYBOOK_CLIENT_GROUP_INT_H
#define DAYBOOK_CLIENT_GROUP_INT_H

#include "client_int.h"
#include "scan.h"

/* ---- answers (group_json.c) ---- */

/* Each reads the body of the last answer into the handle's arena; DAYBOOK_ERR_PROTOCOL, or
 * DAYBOOK_ERR_MEMORY, with the problem set. */
enum daybook_result daybook_json_group(struct daybook *db, struct daybook_group *ret);
enum daybook_result daybook_json_groups(struct daybook *db, const struct daybook_group **ret,
                                        size_t *ret_n);
enum daybook_result daybook_json_fetched(struct daybook *db, struct daybook_fetched *ret);
enum daybook_result daybook_json_parked(struct daybook *db, struct daybook_parked_list *ret);
enum daybook_result daybook_json_appended(struct daybook *db, const struct daybook_appended **ret,
                                          size_t *ret_n);
/* A whole-number member of the last answer; 0 where there is none. */
uint64_t daybook_json_count(const struct daybook *db, const char *name);
/* The same for a time. */
int64_t daybook_json_time(const struct daybook *db, const char *name);

/* ---- events (event_json.c) ---- */

/* An event out of JSON, which must stay as long as the event. False: damaged, or no memory. */
bool daybook_event_scan(struct daybook_arena *arena, struct daybook_bytes json,
                        struct daybook_event *ret);
/* RFC 3339 in UTC, as the server writes it, in microseconds since 1970; 0: it is none. */
int64_t daybook_scan_time(struct daybook_bytes value);

/* ---- writing (rows.c, group_append.c) ---- */

/* Each adds JSON and fails for lack of memory only. A real keeps its point, whatever the locale. */
bool daybook_json_add_string(struct daybook_buffer *b, const void *text, size_t n);
bool daybook_json_add_real(struct daybook_buffer *b, double real);
/* What is in a batch (batch.c): a packed AppendMany. */
struct daybook_bytes daybook_batch_packed(const struct daybook_batch *batch);
/* A batch as the JSON of POST /v1/events. False: no memory. */
bool daybook_json_add_batch(struct daybook_buffer *b, const struct daybook_batch *batch);

#endif
