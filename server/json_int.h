/* json_int: what json_read.c and json_check.c share: yajl's memory and its error texts. */
#ifndef DAYBOOK_SERVER_JSON_INT_H
#define DAYBOOK_SERVER_JSON_INT_H

#include "server/json.h"
#include "server/json_fields.h"

#include <yajl/yajl_parse.h>

/* Memory for one parse: it nearly always fits the stack, so that a parse allocates nothing. */
#define JSON_SPACE_BYTES 3072

struct json_memory {
    size_t used;
    yajl_alloc_funcs functions;
    _Alignas(16) uint8_t space[JSON_SPACE_BYTES];
};

/* A parser for text that is known to be UTF-8; callbacks and ctx as for yajl_alloc. */
yajl_handle json_parser_new(struct json_memory *m, const yajl_callbacks *callbacks, void *ctx);

/* Parses the whole text. */
yajl_status json_parse(yajl_handle h, struct bytes text);

/* "unexpected character at byte 17": why json_parse failed. */
void json_describe_error(yajl_handle h, struct bytes text, char detail[JSON_DETAIL_MAX]);

/* ---- json_life.c ---- */

/* Takes a scalar, null too, for a field of a stream's life; `text` is a number's, a string's, or
 * "true" or "false". False: it is no number from 1. */
bool json_take_life(struct draft_life *life, enum json_member member, enum json_kind kind,
                    struct bytes text);
#define JSON_LIFE_WANTED "must be an integer from 1, without fraction or exponent"
/* Takes the object of `custom`; true. */
bool json_take_custom(struct draft_life *life, struct bytes text);
/* Begins one of the commands. */
void json_begin_command(struct draft *d, enum json_context command);

/* ---- json_values.c ---- */

/* Decimal digits only. False leaves *ret untouched. */
bool json_parse_integer(struct bytes text, uint64_t max, uint64_t *ret);
/* A number's text, or a string's: "any", "no_stream", "stream_exists". */
bool json_parse_expectation(bool is_number, struct bytes text, struct expectation *ret);
/* Whether the surrogates among the \u escapes of a string's source come in pairs. */
bool json_surrogates_are_paired(struct bytes source);

#endif
