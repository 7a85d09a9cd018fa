/* log: structured log lines on standard error, as logfmt or as JSON, one write(2) a line.
 *
 * Any thread. Open it once before other threads start; before that, and in tests, it writes logfmt
 * from level info on. Never payloads, never secrets; values are escaped and cut at LOG_VALUE_MAX
 * bytes. */
#ifndef DAYBOOK_SERVER_LOG_H
#define DAYBOOK_SERVER_LOG_H

#include "storage/base/bytes.h"

#define LOG_VALUE_MAX  1024
#define LOG_FIELDS_MAX 16

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

struct log_field {
    const char *name;
    bool is_number;
    struct bytes text; /* borrowed until the line is written */
    int64_t number;
};

static inline struct log_field log_bytes(const char *name, struct bytes value)
{
    return (struct log_field){.name = name, .text = value};
}

static inline struct log_field log_text(const char *name, const char *value)
{
    return log_bytes(name, bytes_of_string(value));
}

static inline struct log_field log_number(const char *name, int64_t value)
{
    return (struct log_field){.name = name, .is_number = true, .number = value};
}

/* `fd`: 2, or another in tests. */
void log_open(enum log_level level, enum log_format format, int fd);
bool log_is_on(enum log_level level);

/* log_line(LOG_LEVEL_INFO, "started", log_number("port", 7407), …): `message` says what happened,
 * in few constant words. */
#define log_line(level, message, ...)                                   \
    log_fields(level, message, (const struct log_field[]){__VA_ARGS__}, \
               sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

void log_fields(enum log_level level, const char *message, const struct log_field *fields,
                size_t n);

#endif
