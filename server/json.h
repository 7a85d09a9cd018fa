/* json: JSON in and out, with the bytes of event data kept as they came. json_read.c and
 * json_check.c are the only files that know yajl.
 *
 * Any thread; nothing is shared. */
#ifndef DAYBOOK_SERVER_JSON_H
#define DAYBOOK_SERVER_JSON_H

#include "server/draft.h"

/* How deep the arrays and objects of one value may be nested. */
#define JSON_DEPTH_MAX  128
#define JSON_DETAIL_MAX 160

/* ---- reading ---- */

/* Whether `text` is exactly one JSON value (RFC 8259), white space around it allowed; `object`: an
 * object. Where not, `detail` says why, with the byte offset. */
bool json_check(struct bytes text, bool object, char detail[JSON_DETAIL_MAX]);

/* Reads the body that draft_init was told of. Values stay where they are in `body`; what has to be
 * decoded goes to the draft's arena. False with the draft's rejection set. Field values are checked
 * by draft_check, not here. */
bool json_read_draft(struct bytes body, struct draft *d);

/* ---- writing; growth failures stick in the buf ---- */

/* One event as an object, no line break after it. */
void json_put_event(struct buf *b, const struct event *e);
/* The same as one line of NDJSON: line breaks inside data or metadata become blanks. */
void json_put_event_line(struct buf *b, const struct event *e);
/* "2026-01-01T00:00:00.000000Z", with its quotes. */
void json_put_time(struct buf *b, int64_t time_us);

/* The answer to one append, and to several: {"results":[…]}. For COMMITTED and DUPLICATE. */
void json_put_append_result(struct buf *b, const struct command *c, size_t append);
void json_put_append_results(struct buf *b, const struct command *c);

void json_put_life_result(struct buf *b, const struct life_answer *a);

/* {"max_count","max_age_s","truncate_before","custom"}, each where it is set. */
void json_put_stream_metadata(struct buf *b, const struct store_stream_info *info);
void json_put_stream_info(struct buf *b, struct bytes stream, const struct store_stream_info *info);
/* {"streams":[…],"next","end"}; `after` is what the page was asked with: the `next` of an empty
 * page. */
void json_put_stream_list(struct buf *b, const struct store_name_list *list, struct bytes after);
/* {"<key>":[{"name","events"},…],"next","end"} */
void json_put_name_counts(struct buf *b, const char *key, const struct store_name_list *list,
                          struct bytes after);

#endif
