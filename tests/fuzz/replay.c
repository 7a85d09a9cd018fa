/* replay: runs a fuzz target over a folder of inputs without libFuzzer, so that `make test` replays
 * every corpus with any compiler. Usage: replay_<parser> tests/fuzz/corpus/<parser>
 *
 * It fails when the folder holds no input: a corpus that moved must not look like one that
 * passes. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_BYTES_MAX (16u << 20)
#define PATH_BYTES_MAX  4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_folder(const char *folder, DIR *dir);
static int replay_file(const char *path);

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    DIR *dir = opendir(argv[1]);
    if (dir == NULL) {
        perror(argv[1]);
        return 1;
    }
    int status = replay_folder(argv[1], dir);
    closedir(dir);
    return status;
}

/* Returns the program's exit status. */
static int replay_folder(const char *folder, DIR *dir)
{
    unsigned count = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        char path[PATH_BYTES_MAX];
        int n = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof path || replay_file(path) != 0) {
            fprintf(stderr, "cannot replay %s/%s\n", folder, entry->d_name);
            return 1;
        }
        count++;
    }
    printf("%u inputs of %s\n", count, folder);
    return count > 0 ? 0 : 1;
}

/* Hands one file's bytes over in a block of exactly their size, so that AddressSanitizer sees any
 * overrun. */
static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return -1;
    }
    /* The name first: when the target crashes, this is the last line of the log. */
    printf("%s\n", path);
    fflush(stdout);
    static uint8_t input[INPUT_BYTES_MAX];
    size_t size = fread(input, 1, sizeof input, file);
    int failed = ferror(file);
    fclose(file);
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (failed || exact == NULL) {
        free(exact);
        return -1;
    }
    memcpy(exact, input, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}
