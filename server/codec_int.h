/* codec_int: what codec.c and codec_life.c share. */
#ifndef DAYBOOK_SERVER_CODEC_INT_H
#define DAYBOOK_SERVER_CODEC_INT_H

#include "daybook/v1/commands.pb-c.h"
#include "server/codec.h"

/* A string field as bytes, with any NUL that it has; .p is NULL where it is absent or empty. Only
 * for messages that codec_read_draft unpacked. */
struct bytes codec_text(const char *s);
/* True, with the rejection set, where the message has a field that this server does not know. */
bool codec_has_unknown(struct draft *d, const ProtobufCMessage *message, struct draft_place place);
/* False with the rejection set. */
bool codec_read_state(struct draft *d, Daybook__V1__StreamState state, struct draft_place place,
                      struct expectation *ret);

/* Packs a message at the end of the buf. */
void codec_put_message(struct buf *b, const ProtobufCMessage *message);
/* A name as the generated structs want it; it has no NUL inside. */
char *codec_terminated(struct bytes name, char room[EVENT_NAME_MAX + 1]);

/* ---- codec_life.c: make the draft such a write; false with the rejection set ---- */

bool codec_read_metadata(struct draft *d, const Daybook__V1__SetMetadata *m, const char *root);
bool codec_read_delete(struct draft *d, const Daybook__V1__DeleteStream *m, const char *root);
bool codec_read_redact(struct draft *d, const Daybook__V1__Redact *m, const char *root);

#endif
