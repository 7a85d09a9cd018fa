/* config: the settings of daybookd, from flags, DAYBOOK_* environment variables, a config file and
 * defaults.
 *
 * At start, one thread. A plain value; nothing owned. The first source that has a setting wins, in
 * the order above. */
#ifndef DAYBOOK_SERVER_CONFIG_H
#define DAYBOOK_SERVER_CONFIG_H

#include "storage/base/bytes.h"
#include "storage/base/err.h"

#include <stdio.h>

#define CONFIG_TEXT_MAX 1024

enum config_action {
    CONFIG_SERVE,
    CONFIG_VERIFY,
    CONFIG_REINDEX,
    CONFIG_VERIFY_BACKUP,
    CONFIG_RESTORE,
    CONFIG_VERSION,
    CONFIG_HELP,
};

struct config {
    enum config_action action;
    char backup[CONFIG_TEXT_MAX]; /* of VERIFY_BACKUP and RESTORE: the file, - is stdin */
    uint64_t to_position;         /* of RESTORE; 0: all of it */
#define CONFIG_FIELD_TEXT(name)                              char name[CONFIG_TEXT_MAX];
#define CONFIG_FIELD_NUMBER(name)                            uint64_t name;
#define CONFIG_FIELD_BYTES(name)                             uint64_t name;
#define CONFIG_FIELD_LEVEL(name)                             uint64_t name; /* enum log_level */
#define CONFIG_FIELD_FORMAT(name)                            uint64_t name; /* enum log_format */
#define CONFIG_FIELD_SWITCH(name)                            uint64_t name; /* 0 or 1 */
#define SETTING(kind, field, name, fallback, min, max, what) CONFIG_FIELD_##kind(field)
#include "server/config.def"
#undef SETTING
    /* From `listen`: */
    char host[CONFIG_TEXT_MAX];
    unsigned port;
};

/* Reads all sources. `cores`: what http-threads = 0 is made of. `environment`: as environ.
 * ERR_INVALID: `et` names the setting, where it came from and what is allowed. */
MUST_CHECK err_t config_load(int argc, char **argv, char **environment, unsigned cores,
                             struct config *ret, struct err_text *et);

/* The settings with their environment variables and defaults. */
void config_print_help(FILE *to);

#endif
