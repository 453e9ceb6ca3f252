/* usage_store - one table, one statement that adds; see usage_store.h. Rows are keyed by hour, key
 * and model, so the file grows by what was used, not by requests. */
#include "io/usage_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/log.h"

#define PATH_BYTES_MAX 4096u
#define SCHEMA_VERSION 1
#define BUSY_MS        5000 /* another process has it: the one before a hand-over, or a backup */
#define SQL_BYTES_MAX  1024u
#define WHY_BYTES_MAX  256u

struct usage_store {
    char path[PATH_BYTES_MAX]; /* of the file */
    sqlite3 *db;               /* NULL: not open */
    sqlite3_stmt *add, *forget;
    uint64_t kept_from_hour; /* what was forgotten last */
    bool failing;            /* which was logged */
};

static const char schema[] =
    "CREATE TABLE usage (hour INTEGER NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,"
    " requests INTEGER NOT NULL, failed INTEGER NOT NULL, refused INTEGER NOT NULL,"
    " prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,"
    " output_tokens INTEGER NOT NULL, PRIMARY KEY (hour, key, model)) STRICT, WITHOUT ROWID;"
    "PRAGMA user_version = 1;";

static const char add_sql[] =
    "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET"
    " requests = requests + ?4, failed = failed + ?5, refused = refused + ?6,"
    " prompt_tokens = prompt_tokens + ?7, cached_tokens = cached_tokens + ?8,"
    " output_tokens = output_tokens + ?9";

static void
close_file(struct usage_store *s)
{
    sqlite3_finalize(s->add);
    sqlite3_finalize(s->forget);
    sqlite3_close(s->db); /* NULL is fine for all three */
    s->add = s->forget = NULL;
    s->db = NULL;
}

/* It did not work: say so once, and begin anew next time. */
static enum err
fail(struct usage_store *s, const char *why)
{
    if (!s->failing)
        log_error("%s: %s: usage is counted in memory until this works again", s->path, why);
    s->failing = true;
    close_file(s);
    return ERR_IO;
}

static enum err
fail_sql(struct usage_store *s)
{
    char why[WHY_BYTES_MAX];

    snprintf(why, sizeof(why), "%s",
             s->db != NULL ? sqlite3_errmsg(s->db) : sqlite3_errstr(SQLITE_NOMEM));
    return fail(s, why);
}

static void
works(struct usage_store *s)
{
    if (s->failing)
        log_info("%s: works again", s->path);
    s->failing = false;
}

/* The directories above the file, for their owner only where they are new. */
static bool
make_directories(const struct usage_store *s)
{
    char path[PATH_BYTES_MAX];

    snprintf(path, sizeof(path), "%s", s->path);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return false;
        *slash = '/';
    }
    return true;
}

/* -1: not known. */
static int
schema_version(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int version = -1;

    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return version;
}

static enum err
open_schema(struct usage_store *s)
{
    int version;

    /* Of two processes that find it empty one makes the table; the other finds it then. */
    if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return fail_sql(s);
    version = schema_version(s->db);
    if (version == 0 && sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK)
        return fail_sql(s);
    if (version != 0 && version != SCHEMA_VERSION)
        return version < 0 ? fail_sql(s) : fail(s, "was written by a later version of isochrone");
    if (sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        return fail_sql(s);
    return ERR_OK;
}

static enum err
open_file(struct usage_store *s)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    enum err err;
    int fd;

    if (s->db != NULL)
        return ERR_OK;
    if (!make_directories(s))
        return fail(s, strerror(errno));
    /* made here, so that it and the files beside it are for their owner only */
    fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail(s, strerror(errno));
    close(fd);
    if (sqlite3_open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK)
        return fail_sql(s);
    sqlite3_busy_timeout(s->db, BUSY_MS);
    if (sqlite3_exec(s->db,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                     "PRAGMA journal_size_limit = 16777216; PRAGMA trusted_schema = OFF",
                     NULL, NULL, NULL) != SQLITE_OK)
        return fail_sql(s);
    err = open_schema(s);
    if (err != ERR_OK)
        return err;
    if (sqlite3_prepare_v2(s->db, add_sql, -1, &s->add, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(s->db, "DELETE FROM usage WHERE hour < ?1", -1, &s->forget, NULL) !=
            SQLITE_OK)
        return fail_sql(s);
    return ERR_OK;
}

enum err
usage_store_new(const char *directory, struct usage_store **ret_store)
{
    struct usage_store *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return ERR_MEMORY;
    if ((size_t)snprintf(s->path, sizeof(s->path), "%s/usage.db", directory) >= sizeof(s->path)) {
        free(s);
        return ERR_ARG;
    }
    *ret_store = s;
    return ERR_OK;
}

void
usage_store_free(struct usage_store *s)
{
    if (s == NULL)
        return;
    close_file(s);
    free(s);
}

static int64_t
as_signed(uint64_t value)
{
    return value < INT64_MAX ? (int64_t)value : INT64_MAX;
}

/* Run a statement whose values are bound, to its end. */
static bool
run(sqlite3_stmt *statement)
{
    bool good = sqlite3_step(statement) == SQLITE_DONE;

    return sqlite3_reset(statement) == SQLITE_OK && good;
}

static bool
add_row(sqlite3_stmt *add, const struct usage_row *row)
{
    const struct usage_counts *c = &row->counts;
    const uint64_t counts[] = {c->requests,      c->failed,        c->refused,
                               c->prompt_tokens, c->cached_tokens, c->output_tokens};

    if (sqlite3_bind_int64(add, 1, as_signed(row->hour)) != SQLITE_OK ||
        sqlite3_bind_text(add, 2, row->key, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_bind_text(add, 3, row->model, -1, SQLITE_STATIC) != SQLITE_OK)
        return false;
    for (int i = 0; i < 6; i++) {
        if (sqlite3_bind_int64(add, 4 + i, as_signed(counts[i])) != SQLITE_OK)
            return false;
    }
    return run(add);
}

enum err
usage_store_add(struct usage_store *s, const struct usage_row *rows, size_t count,
                uint64_t keep_from_hour)
{
    enum err err = open_file(s);

    if (err != ERR_OK)
        return err;
    if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return fail_sql(s);
    for (size_t i = 0; i < count; i++) {
        if (!add_row(s->add, &rows[i]))
            return fail_sql(s); /* closing it takes all of this back */
    }
    if (keep_from_hour > s->kept_from_hour &&
        (sqlite3_bind_int64(s->forget, 1, as_signed(keep_from_hour)) != SQLITE_OK ||
         !run(s->forget)))
        return fail_sql(s);
    if (sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        return fail_sql(s);
    s->kept_from_hour = keep_from_hour;
    works(s);
    return ERR_OK;
}

/* ---- Reading. */

static void
column_text(sqlite3_stmt *statement, int column, char *text, size_t size)
{
    const char *value = (const char *)sqlite3_column_text(statement, column);

    snprintf(text, size, "%s", value != NULL ? value : "");
}

static void
row_of(sqlite3_stmt *statement, struct usage_row *row)
{
    uint64_t *const counts[] = {&row->counts.requests,      &row->counts.failed,
                                &row->counts.refused,       &row->counts.prompt_tokens,
                                &row->counts.cached_tokens, &row->counts.output_tokens};

    *row = (struct usage_row){.hour = (uint64_t)sqlite3_column_int64(statement, 0)};
    column_text(statement, 1, row->key, sizeof(row->key));
    column_text(statement, 2, row->model, sizeof(row->model));
    for (int i = 0; i < 6; i++)
        *counts[i] = (uint64_t)sqlite3_column_int64(statement, 3 + i);
}

static sqlite3_stmt *
prepare_question(struct usage_store *s, const struct usage_question *q)
{
    char sql[SQL_BYTES_MAX];
    sqlite3_stmt *statement = NULL;
    bool hour = (q->by & USAGE_BY_HOUR) != 0;

    snprintf(sql, sizeof(sql),
             "SELECT %s AS h, %s AS k, %s AS m, sum(requests), sum(failed), sum(refused),"
             " sum(prompt_tokens), sum(cached_tokens), sum(output_tokens) FROM usage"
             " WHERE hour >= ?1 %s GROUP BY h, k, m"
             " ORDER BY %s sum(prompt_tokens) + sum(output_tokens) DESC, k, m LIMIT ?3",
             hour ? "hour" : "0", (q->by & USAGE_BY_KEY) != 0 ? "key" : "''",
             (q->by & USAGE_BY_MODEL) != 0 ? "model" : "''", q->key != NULL ? "AND key = ?2" : "",
             hour ? "h," : "");
    if (sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_bind_int64(statement, 1, as_signed(q->from_hour)) != SQLITE_OK ||
        (q->key != NULL &&
         sqlite3_bind_text(statement, 2, q->key, -1, SQLITE_STATIC) != SQLITE_OK) ||
        sqlite3_bind_int64(statement, 3, (int64_t)q->rows_max + 1) != SQLITE_OK) {
        sqlite3_finalize(statement);
        return NULL;
    }
    return statement;
}

enum err
usage_store_read(struct usage_store *s, const struct usage_question *q, usage_row_fn *fn,
                 void *user, bool *ret_more)
{
    enum err err = open_file(s);
    sqlite3_stmt *statement;
    struct usage_row row;
    uint32_t count = 0;
    int result;

    if (err != ERR_OK)
        return err;
    *ret_more = false;
    statement = prepare_question(s, q);
    if (statement == NULL)
        return fail_sql(s);
    while ((result = sqlite3_step(statement)) == SQLITE_ROW && err == ERR_OK) {
        if (count++ == q->rows_max) {
            *ret_more = true;
            result = SQLITE_DONE;
            break;
        }
        row_of(statement, &row);
        if (!fn(&row, user))
            err = ERR_MEMORY;
    }
    if (err == ERR_OK && result != SQLITE_DONE) {
        sqlite3_finalize(statement);
        return fail_sql(s);
    }
    sqlite3_finalize(statement);
    return err;
}
