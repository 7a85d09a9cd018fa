/* api_life: what the way of every write (api_append.c) asks about writes that change a stream's
 * life.
 *
 * Loop's thread. */
#ifndef DAYBOOK_SERVER_API_LIFE_H
#define DAYBOOK_SERVER_API_LIFE_H

#include "server/draft.h"

/* Of one request; the bytes are the request's, or live in its arena. */
struct life_request {
    enum draft_body body;
    struct expectation expected; /* of the query */
    bool expected_given, tombstone;
    const char *root; /* what field paths begin with */
    struct bytes stream;
    uint64_t revision; /* redact: of the event */
};

/* Reads a write in every encoding, hands it to the writer and answers: api_append.c. */
void api_write(struct http_request *rq, struct app *app, enum draft_body body);

/* api_append.c: answers what became of an AppendMany that was a part of another body, where `root`
 * ends in a dot. */
void api_reply_refused(struct http_request *rq, struct app *app, struct command *c,
                       const char *root);

/* What query and path say. Where they are not valid it replies and returns false. */
bool life_read_place(struct http_request *rq, enum draft_body body, struct life_request *ret);
/* Puts that into the draft. False with the rejection set. */
bool life_complete(struct draft *d, const struct life_request *life);
/* Keeps of a draft what the answer needs. False, for lack of memory, with the rejection set. */
bool life_keep(struct draft *d, struct arena *arena, struct life_request *life);
/* Answers a command of a stream's life; false, without an answer, where its verdict is one that
 * appends have too. */
bool life_answer(struct http_request *rq, struct app *app, const struct command *c,
                 enum encoding encoding, const struct life_request *life);

/* api_streams.c: answers what is known of a stream; `conditional`: If-None-Match may make it
 * 304. */
void api_reply_stream(struct http_request *rq, struct app *app, struct bytes stream,
                      enum encoding encoding, bool conditional);

#endif
