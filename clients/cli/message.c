/* message: errors and hints on stderr. */
#include "cli.h"
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define MESSAGE_BYTES_MAX 4096

static void print_message(const char *label, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

void cli_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_message("daybook: ", format, arguments);
    va_end(arguments);
}

void cli_hint(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_message("hint: ", format, arguments);
    va_end(arguments);
}

/* What is in the message may come from a file or a server: made safe like everything that is. */
static void print_message(const char *label, const char *format, va_list arguments)
{
    char message[MESSAGE_BYTES_MAX];
    struct daybook_buffer line;
    int n = vsnprintf(message, sizeof message, format, arguments);
    size_t length = n < 0 ? 0 : (size_t)n < sizeof message ? (size_t)n : sizeof message - 1;
    daybook_buffer_init(&line, MESSAGE_BYTES_MAX * TEXT_SAFE_GROWTH);
    if (text_add_safe(&line, message, length)) {
        (void)fprintf(stderr, "%s%.*s\n", label, (int)line.n, (const char *)line.p);
    }
    daybook_buffer_done(&line);
}
