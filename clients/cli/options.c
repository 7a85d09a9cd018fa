/* options: reads a command's arguments by its table, and prints its help from the same table. */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct cli_option *find_option(const struct cli_usage *usage, const char *name,
                                            size_t n);
static const char *dashes(const struct cli_option *option);
static int read_option(const struct cli_usage *usage, char **argv, int *at);
static bool set_option(const struct cli_option *option, const char *value);
static void print_help(const struct cli_usage *usage);
static int wrong_usage(const struct cli_usage *usage);
static bool is_help(const char *argument);

int cli_parse(int argc, char **argv, const struct cli_usage *usage, const char *ret_arguments[2])
{
    size_t arguments = 0;
    bool only_arguments = false;
    ret_arguments[0] = ret_arguments[1] = NULL;
    for (int i = 1; i < argc; i++) {
        bool is_option = !only_arguments && argv[i][0] == '-' && argv[i][1] != '\0';
        if (is_option && strcmp(argv[i], "--") == 0) {
            only_arguments = true;
        } else if (is_option && is_help(argv[i])) {
            print_help(usage);
            return CLI_OK;
        } else if (is_option) {
            int result = read_option(usage, argv, &i);
            if (result != CLI_GO_ON) {
                return result;
            }
        } else if (arguments < usage->arguments_max && arguments < 2) {
            ret_arguments[arguments++] = argv[i];
        } else {
            cli_error("one argument too many: %s", argv[i]);
            return wrong_usage(usage);
        }
    }
    if (arguments < usage->arguments_min) {
        cli_error("an argument is missing");
        return wrong_usage(usage);
    }
    return CLI_GO_ON;
}

static bool is_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

/* argv ends with a NULL, so looking one ahead is safe. */
static int read_option(const struct cli_usage *usage, char **argv, int *at)
{
    const char *given = argv[*at];
    bool is_long = given[1] == '-';
    const char *name = given + (is_long ? 2 : 1);
    const char *equals = is_long ? strchr(name, '=') : NULL;
    size_t n = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct cli_option *option = find_option(usage, name, n);
    /* A name of one letter has one dash, a longer one has two. */
    if (option == NULL || (n > 1) != is_long) {
        cli_error("unknown option: %s", given);
        return wrong_usage(usage);
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (option->kind == CLI_FLAG) {
        if (value != NULL) {
            cli_error("--%s takes no value", option->name);
            return wrong_usage(usage);
        }
    } else if (value == NULL) {
        value = argv[*at + 1];
        if (value == NULL) {
            cli_error("%s%s needs a value: %s", dashes(option), option->name, option->value);
            return wrong_usage(usage);
        }
        (*at)++;
    }
    return set_option(option, value) ? CLI_GO_ON : wrong_usage(usage);
}

static const char *dashes(const struct cli_option *option)
{
    return strlen(option->name) > 1 ? "--" : "-";
}

static const struct cli_option *find_option(const struct cli_usage *usage, const char *name,
                                            size_t n)
{
    for (size_t i = 0; i < usage->options_n; i++) {
        const struct cli_option *option = &usage->options[i];
        if (strlen(option->name) == n && memcmp(option->name, name, n) == 0) {
            return option;
        }
    }
    return NULL;
}

static bool set_option(const struct cli_option *option, const char *value)
{
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)option->ret = true;
        return true;
    case CLI_TEXT:
        *(const char **)option->ret = value;
        return true;
    case CLI_NUMBER:
        if (!cli_parse_number(value, option->ret)) {
            cli_error("%s%s must be a whole number, not %s", dashes(option), option->name, value);
            return false;
        }
        return true;
    case CLI_LIST: {
        struct cli_list *list = option->ret;
        if (list->n == CLI_LIST_MAX) {
            cli_error("--%s was given more than %d times", option->name, CLI_LIST_MAX);
            return false;
        }
        list->items[list->n++] = value;
        return true;
    }
    }
    return false;
}

bool cli_parse_number(const char *text, uint64_t *ret)
{
    uint64_t number = 0;
    for (const char *c = text; *c != '\0'; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (*c < '0' || *c > '9' || number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    if (text[0] == '\0') {
        return false;
    }
    *ret = number;
    return true;
}

static int wrong_usage(const struct cli_usage *usage)
{
    int name_n = (int)strcspn(usage->synopsis, " ");
    cli_hint("usage: daybook %s; more: daybook %.*s --help", usage->synopsis, name_n,
             usage->synopsis);
    return CLI_USAGE;
}

static void print_help(const struct cli_usage *usage)
{
    (void)printf("usage: daybook %s\n\n%s", usage->synopsis, usage->about);
    (void)printf("\noptions:\n");
    for (size_t i = 0; i < usage->options_n; i++) {
        const struct cli_option *option = &usage->options[i];
        char left[64];
        (void)snprintf(left, sizeof left, "%s%s%s%s", dashes(option), option->name,
                       option->value != NULL ? " " : "",
                       option->value != NULL ? option->value : "");
        (void)printf("  %-24s %s%s\n", left, option->help,
                     option->kind == CLI_LIST ? " (may be given again)" : "");
    }
    (void)printf("  %-24s %s\n", "--url URL",
                 "the server (else DAYBOOK_URL, else " CLI_URL_DEFAULT ")");
    (void)printf("  %-24s %s\n", "--help", "this text");
}
