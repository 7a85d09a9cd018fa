/* log: makes the line in a buffer of its own and writes it at once, so that lines of two threads
 * never mix. */
#include "server/log.h"

#include "storage/base/buf.h"
#include "storage/base/timestamp.h"

#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX ((size_t)(LOG_FIELDS_MAX + 2) * LOG_VALUE_MAX * 6)

static _Atomic int level_max = LOG_LEVEL_INFO;
static _Atomic int line_format = LOG_FORMAT_LOGFMT;
static _Atomic int line_fd = STDERR_FILENO;

static void put_time(struct buf *b);
static void put_field(struct buf *b, const struct log_field *field);
static void put_text(struct buf *b, struct bytes text);

void log_open(enum log_level level, enum log_format format, int fd)
{
    atomic_store(&level_max, (int)level);
    atomic_store(&line_format, (int)format);
    atomic_store(&line_fd, fd);
}

bool log_is_on(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&level_max, memory_order_relaxed);
}

void log_fields(enum log_level level, const char *message, const struct log_field *fields, size_t n)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if (!log_is_on(level)) {
        return;
    }
    bool json = atomic_load(&line_format) == LOG_FORMAT_JSON;
    struct buf b;
    buf_init(&b, LINE_BYTES_MAX);
    buf_put_string(&b, json ? "{\"time\":\"" : "time=");
    put_time(&b);
    buf_put_string(&b, json ? "\"" : "");
    put_field(&b, &(struct log_field){.name = "level", .text = bytes_of_string(names[level])});
    put_field(&b, &(struct log_field){.name = "message", .text = bytes_of_string(message)});
    for (size_t i = 0; i < n && i < LOG_FIELDS_MAX; i++) {
        put_field(&b, &fields[i]);
    }
    buf_put_string(&b, json ? "}\n" : "\n");
    if (buf_status(&b) == ERR_OK) {
        /* There is nobody to tell when the log cannot be written. */
        (void)!write(atomic_load(&line_fd), b.p, b.n);
    }
    buf_done(&b);
}

static void put_time(struct buf *b)
{
    struct timespec now;
    char text[TIMESTAMP_TEXT_BYTES];
    clock_gettime(CLOCK_REALTIME, &now);
    timestamp_format((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, text);
    buf_put(b, bytes_of(text, sizeof text));
}

/* logfmt needs quotes where a reader would split or unescape. */
static bool is_plain(struct bytes text)
{
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (c <= ' ' || c == '=' || c == '"' || c == '\\' || c == 0x7f) {
            return false;
        }
    }
    return text.n > 0;
}

static void put_field(struct buf *b, const struct log_field *field)
{
    bool json = atomic_load(&line_format) == LOG_FORMAT_JSON;
    buf_put_format(b, json ? ",\"%s\":" : " %s=", field->name);
    if (field->is_number) {
        buf_put_format(b, "%lld", (long long)field->number);
        return;
    }
    struct bytes text = field->text;
    text.n = text.n > LOG_VALUE_MAX ? LOG_VALUE_MAX : text.n;
    if (!json && is_plain(text) && bytes_are_utf8(text)) {
        buf_put(b, text);
    } else {
        put_text(b, text);
    }
}

/* A JSON string; what is not UTF-8 becomes question marks. */
static void put_text(struct buf *b, struct bytes text)
{
    uint8_t ascii[LOG_VALUE_MAX];
    if (!bytes_are_utf8(text)) {
        for (size_t i = 0; i < text.n; i++) {
            ascii[i] = text.p[i] < 0x80 ? text.p[i] : '?';
        }
        text.p = ascii;
    }
    buf_put_json_string(b, text);
}
