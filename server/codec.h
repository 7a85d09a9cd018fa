/* codec: protobuf in and out; codec.c and codec_life.c are the only files here that know the
 * generated code.
 *
 * Any thread; nothing is shared. */
#ifndef DAYBOOK_SERVER_CODEC_H
#define DAYBOOK_SERVER_CODEC_H

#include "server/draft.h"
#include "server/wire.h"

/* Reads the body that draft_init was told of: an Append, AppendMany or Command. Decoded values live
 * in the draft's arena. False with the draft's rejection set. Field values are checked by
 * draft_check, not here. */
bool codec_read_draft(struct bytes body, struct draft *d);

/* ---- writing; growth failures stick in the buf ---- */

/* One entry of an EventBatch: the stored bytes, copied. */
void codec_put_batch_event(struct buf *b, const struct store_record *record);
/* One entry of an EventBatch's controls. */
void codec_put_batch_control(struct buf *b, const struct wire_control *control, bool of_stream);
/* One Event message. */
void codec_put_event(struct buf *b, const struct store_record *record);

void codec_put_append_result(struct buf *b, const struct command *c, size_t append);
void codec_put_append_results(struct buf *b, const struct command *c);
void codec_put_life_result(struct buf *b, const struct life_answer *a);
void codec_put_stream_info(struct buf *b, struct bytes stream,
                           const struct store_stream_info *info);
/* `after` is what the page was asked with: the `next` of an empty page. */
void codec_put_stream_list(struct buf *b, const struct store_name_list *list, struct bytes after);
void codec_put_name_counts(struct buf *b, const struct store_name_list *list, struct bytes after);

#endif
