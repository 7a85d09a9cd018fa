/* codec_projection: what is known of projections and read from their models, in protobuf
 * (projections.proto). Nested messages are written as they come, so that an answer of many rows
 * needs no tree of them.
 *
 * Any thread; nothing is shared. Growth failures stick in the buf. */
#ifndef DAYBOOK_SERVER_CODEC_PROJECTION_H
#define DAYBOOK_SERVER_CODEC_PROJECTION_H

#include "server/json_query.h"
#include "server/workers.h"

/* A Projection; `source` where .p is not NULL. Of a list: an entry of its ProjectionList. */
void codec_put_projection(struct buf *b, const struct projection_status *s, struct bytes source);
void codec_put_projection_entry(struct buf *b, const struct projection_status *s);
void codec_put_projection_deleted(struct buf *b, struct bytes name);

/* A QueryResult as its rows come; the caller writes the position, field
 * CODEC_RESULT_POSITION. */
#define CODEC_RESULT_POSITION 3
struct query_sink codec_rows_sink(struct buf *b);
/* A number, a flag, text or a whole message as a field; what is 0, false or empty is left out but
 * for a message. */
void codec_put_number(struct buf *b, unsigned field, uint64_t v);
void codec_put_text(struct buf *b, unsigned field, struct bytes text);
void codec_put_nested(struct buf *b, unsigned field, struct bytes message);

/* A row of reader_errors as a ProjectionError in `field`; one of documents as a Document in its
 * list. */
void codec_put_error_row(struct buf *b, unsigned field, const struct sql_value *v);
void codec_put_document(struct buf *b, struct bytes key, struct bytes document, uint64_t position);
void codec_put_document_entry(struct buf *b, struct bytes key, struct bytes document);

/* A Query; false as json_query_read. */
bool codec_read_query(struct bytes body, struct arena *arena, struct json_query *ret);

#endif
