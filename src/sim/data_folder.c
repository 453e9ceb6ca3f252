/* data_folder - a sorted list of files; see data_folder.h. */
#include "sim/data_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static int
by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Put path/name on the list if it is a regular file. */
static enum err
add(struct data_folder *list, size_t *room, const char *path, const char *name,
    struct data_error *error)
{
    char whole[DATA_PATH_BYTES_MAX];
    struct stat status;
    enum err err;
    int bytes = snprintf(whole, sizeof(whole), "%s/%s", path, name);

    if (bytes < 0 || (size_t)bytes >= sizeof(whole))
        return data_error_say(error, ERR_FULL, "%s: too long a path", path);
    if (stat(whole, &status) != 0 || !S_ISREG(status.st_mode))
        return ERR_OK;
    err = data_room(&list->paths, room, list->count, DATA_FOLDER_FILES_MAX, sizeof(list->paths[0]));
    if (err == ERR_OK && (list->paths[list->count] = strdup(whole)) == NULL)
        err = ERR_MEMORY;
    if (err != ERR_OK)
        return data_error_say(error, err, "%s: %s", path,
                              err == ERR_FULL ? "too many files" : "no memory to list it");
    list->count++;
    return ERR_OK;
}

enum err
data_folder_open(const char *folder, const char *below, struct data_error *error,
                 struct data_folder *ret_list)
{
    struct data_folder list = {NULL, 0};
    char path[DATA_PATH_BYTES_MAX];
    size_t room = 0;
    enum err err = ERR_OK;
    struct dirent *entry;
    DIR *dir;
    int bytes = snprintf(path, sizeof(path), "%s%s%s", folder, below[0] != '\0' ? "/" : "", below);

    if (bytes < 0 || (size_t)bytes >= sizeof(path))
        return data_error_say(error, ERR_FULL, "%s: too long a path", folder);
    dir = opendir(path);
    if (dir == NULL)
        return data_error_say(error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
                              "%s: cannot be opened: %s", path, strerror(errno));
    while (err == ERR_OK && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.')
            err = add(&list, &room, path, entry->d_name, error);
    }
    closedir(dir);
    if (err != ERR_OK) {
        data_folder_close(&list);
        return err;
    }
    if (list.count > 0)
        qsort(list.paths, list.count, sizeof(list.paths[0]), by_bytes);
    *ret_list = list;
    return ERR_OK;
}

void
data_folder_close(struct data_folder *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->paths[i]);
    free(list->paths);
    *list = (struct data_folder){NULL, 0};
}

struct span
data_folder_stem(const char *path)
{
    static const char *const endings[] = {".gz", ".csv", ".tsv", ".jsonl"};
    const char *slash = strrchr(path, '/');
    struct span s = span_of(slash != NULL ? slash + 1 : path);

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        size_t bytes = strlen(endings[i]);

        if (s.bytes > bytes && memcmp(s.data + s.bytes - bytes, endings[i], bytes) == 0)
            s.bytes -= bytes;
    }
    return s;
}
