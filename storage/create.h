/* create: making the LMDB environment of a new store, whole or not at all. */
#ifndef DAYBOOK_STORAGE_CREATE_H
#define DAYBOOK_STORAGE_CREATE_H

#include "storage/store.h"

/* Makes DATA/store with the store's identity in it, durably, unless it is there already. */
MUST_CHECK err_t create_environment(const struct store_options *options, struct err_text *et);

/* Makes the names in a directory durable. */
MUST_CHECK err_t create_sync_dir(const char *path);

#endif
