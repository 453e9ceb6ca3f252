#ifndef SIM_DATA_FOLDER_H
#define SIM_DATA_FOLDER_H
/* data_folder - which files a folder of public data has, in an order that does not depend on the
 * file system, and what their names say. */
#include "sim/data_file.h"

#define DATA_FOLDER_FILES_MAX 10000u
#define DATA_PATH_BYTES_MAX   4096u

struct data_folder {
    char **paths; /* of regular files, sorted by bytes */
    size_t count;
};

/* List folder/below (below may be ""), hidden files left out, folders in it not entered.
 * ERR_NOT_FOUND: there is no such folder; ERR_FULL, ERR_MEMORY, ERR_IO. *error says why. The caller
 * closes it. */
MUST_USE enum err data_folder_open(const char *folder, const char *below, struct data_error *error,
                                   struct data_folder *ret_list);
void data_folder_close(struct data_folder *list);

/* The file's name without folders, .gz and then .csv, .tsv or .jsonl; a part of path. */
struct span data_folder_stem(const char *path);
#endif
