/* sql: SQLite, fenced: connections whose statements may do only what they are trusted with. sql.c
 * is the only file that knows SQLite.
 *
 * A connection and its statements belong to one thread at a time; a writer and any number of
 * read-only connections on one file do not block each other (WAL). A commit survives the end of the
 * process; a power failure may take the last commits, whole, never a part of one: the checkpoint
 * goes with its data, so what is lost is applied again. */
#ifndef DAYBOOK_PROJECTIONS_SQL_H
#define DAYBOOK_PROJECTIONS_SQL_H

#include "storage/base/bytes.h"
#include "storage/base/err.h"

struct sql;
struct sql_statement;

/* Whose text it is, and so what it may do. Tables of ours start with "_daybook". */
enum sql_trust {
    SQL_OURS,    /* anything */
    SQL_SCHEMA,  /* CREATE TABLE, INDEX and VIEW */
    SQL_HANDLER, /* SELECT, INSERT, UPDATE, DELETE, on the script's own tables; nothing random */
    SQL_QUERY,   /* SELECT and the PRAGMAs that describe tables */
};

enum sql_kind { SQL_NULL, SQL_INTEGER, SQL_REAL, SQL_TEXT, SQL_BLOB };

struct sql_value {
    enum sql_kind kind;
    int64_t integer;
    double real;
    struct bytes bytes; /* of TEXT and BLOB */
};

/* Bytes of one value, and of one statement's text. */
#define SQL_VALUE_BYTES_MAX ((size_t)16 << 20)
#define SQL_TEXT_BYTES_MAX  ((size_t)1 << 20)

/* `path` NULL: in memory. A file that is written is made when missing. ERR_CORRUPT, ERR_IO,
 * ERR_NOT_FOUND (read_only). */
MUST_CHECK err_t sql_open(const char *path, bool read_only, struct sql **ret, struct err_text *et);
/* Its statements must be finalized before. NULL is fine. */
void sql_close(struct sql *s);

/* How many steps of SQLite's virtual machine may be taken from now on (checked every thousand);
 * 0: any number. Beyond it a step fails with ERR_LIMIT. */
void sql_set_budget(struct sql *s, uint64_t steps);
/* Asked every few thousand steps; true makes the step fail with ERR_CLOSED. NULL: never. */
void sql_set_cancel(struct sql *s, bool (*cancelled)(void *ctx), void *ctx);
/* What 'now' means to the statements of writing connections on this thread: they see no clock. */
void sql_set_now(int64_t now_us);

/* Runs all statements of `text`, which is ours; rows are dropped. */
MUST_CHECK err_t sql_run(struct sql *s, const char *text, struct err_text *et);
/* Ends a transaction, where there still is one. */
void sql_rollback(struct sql *s);

/* Prepares the first statement of `text`, which stays the caller's. *ret is NULL where only white
 * space and comments are left. *ret_used: bytes up to its end; on an error the offset of the place
 * at fault. ERR_INVALID with SQLite's words or what was not allowed. */
MUST_CHECK err_t sql_prepare(struct sql *s, enum sql_trust trust, struct bytes text,
                             struct sql_statement **ret, size_t *ret_used, struct err_text *et);
/* The same for one whole statement of ours. */
MUST_CHECK err_t sql_prepare_ours(struct sql *s, const char *text, struct sql_statement **ret,
                                  struct err_text *et);
/* Where the first statement of `text` begins, past white space, comments and semicolons. */
size_t sql_skip_blank(struct bytes text);
/* NULL is fine. */
void sql_finalize(struct sql_statement *st);

/* Parameters count from 1. A name comes with its ':', '@' or '$'; NULL: it has none. */
unsigned sql_parameters(const struct sql_statement *st);
const char *sql_parameter_name(const struct sql_statement *st, unsigned i);
/* The bytes must stay until the next sql_reset. */
void sql_bind(struct sql_statement *st, unsigned i, const struct sql_value *value);
void sql_bind_integer(struct sql_statement *st, unsigned i, uint64_t value);
void sql_bind_text(struct sql_statement *st, unsigned i, struct bytes text);

/* ERR_OK: there is a row. ERR_END: it is done. ERR_LIMIT, ERR_CLOSED: see above. ERR_INVALID: it
 * failed, `et` says how. ERR_DISK_FULL, ERR_IO, ERR_MEMORY, ERR_CORRUPT, ERR_BUSY. */
MUST_CHECK err_t sql_step(struct sql_statement *st, struct err_text *et);
/* Steps to the end and resets. */
MUST_CHECK err_t sql_finish(struct sql_statement *st, struct err_text *et);
void sql_reset(struct sql_statement *st);

/* Columns count from 0; a value is borrowed until the next step or reset. */
unsigned sql_columns(const struct sql_statement *st);
const char *sql_column_name(const struct sql_statement *st, unsigned i);
struct sql_value sql_column(struct sql_statement *st, unsigned i);
uint64_t sql_column_u64(struct sql_statement *st, unsigned i);

#endif
