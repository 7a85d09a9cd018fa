/* create: a power cut in the middle of LMDB's first writes would leave a file that is no LMDB file,
 * which nothing can tell from damage. So the environment is made in a directory of its own, with
 * all that a store needs to be opened, synced, and only then given its name. */
#include "storage/create.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/store_int.h"

static err_t refuse(struct err_text *et, const char *what, const char *path, int code)
{
    return err_set(et, err_from_errno(code), "cannot %s %s: %s", what, path, strerror(code));
}

err_t create_sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    err_t err = fsync(fd) == 0 ? ERR_OK : err_from_errno(errno);
    close(fd);
    return err;
}

/* An empty directory, whatever an earlier attempt has left there. */
static err_t clear_place(const char *path, struct err_text *et)
{
    static const char *const FILES[] = {"data.mdb", "lock.mdb"};
    for (size_t i = 0; i < sizeof FILES / sizeof FILES[0]; i++) {
        char file[PATH_MAX];
        int n = snprintf(file, sizeof file, "%s/%s", path, FILES[i]);
        if (n > 0 && (size_t)n < sizeof file && unlink(file) != 0 && errno != ENOENT) {
            return refuse(et, "remove", file, errno);
        }
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return refuse(et, "make the directory", path, errno);
    }
    return ERR_OK;
}

static err_t put_identity(struct kv_txn *txn, const struct store_options *options)
{
    err_t err = meta_put(txn, META_FORMAT, STORE_FORMAT_VERSION);
    if (err == ERR_OK) {
        err = kv_put(txn, KV_META, bytes_of_string(META_STORE_ID),
                     bytes_of(options->new_store_id, UUID_BYTES));
    }
    return err;
}

static err_t write_identity(struct kv *kv, const struct store_options *options)
{
    struct kv_txn *txn;
    err_t err = kv_begin(kv, true, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = put_identity(txn, options);
    if (err != ERR_OK) {
        kv_abort(txn);
        return err;
    }
    return kv_commit(txn);
}

static err_t make_environment(const char *path, const struct store_options *options,
                              struct err_text *et)
{
    struct kv *kv;
    err_t err = clear_place(path, et);
    if (err == ERR_OK) {
        err = kv_open(path, options->map_bytes, false, &kv, et);
    }
    if (err != ERR_OK) {
        return err;
    }
    err = write_identity(kv, options);
    kv_close(kv);
    if (err == ERR_OK) {
        err = create_sync_dir(path);
    }
    return err == ERR_OK ? ERR_OK : err_set(et, err, "cannot write to %s", path);
}

err_t create_environment(const struct store_options *options, struct err_text *et)
{
    char making[PATH_MAX], path[PATH_MAX], data[PATH_MAX];
    int n = snprintf(data, sizeof data, "%s/store/data.mdb", options->dir);
    if (n < 0 || (size_t)n >= sizeof data) {
        return err_set(et, ERR_INVALID, "the path of the data directory is too long");
    }
    if (access(data, F_OK) == 0) {
        return ERR_OK;
    }
    snprintf(path, sizeof path, "%s/store", options->dir);
    snprintf(making, sizeof making, "%s/store.new", options->dir);
    err_t err = make_environment(making, options, et);
    if (err != ERR_OK) {
        return err;
    }
    /* An empty directory, or one with a lock alone, may stand there. */
    err = clear_place(path, et);
    if (err == ERR_OK && rename(making, path) != 0) {
        return refuse(et, "rename", making, errno);
    }
    if (err == ERR_OK) {
        err = create_sync_dir(options->dir);
    }
    return err;
}
