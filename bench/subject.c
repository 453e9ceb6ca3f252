/* subject - configurations of the three proxies, written out; see subject.h. */
#include "subject.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/must.h"
#include "child.h"
#include "load.h"
#include "wire/keys.h"

#define HAPROXY_PORT 4301u
#define NGINX_PORT   4302u
#define GATEWAY_PORT 4303u
#define PATH_BYTES   256u
#define READY_MS     60000
#define POLL_MS      100
#define ARENA_BYTES  4096u

static char directory_path[PATH_BYTES];

const char *
subject_directory(void)
{
    snprintf(directory_path, sizeof(directory_path), "/tmp/isochrone-bench-XXXXXX");
    must(mkdtemp(directory_path) != NULL);
    return directory_path;
}

static FILE *
created(const char *directory, const char *name, char ret_path[PATH_BYTES])
{
    FILE *f;

    snprintf(ret_path, PATH_BYTES, "%s/%s", directory, name);
    f = fopen(ret_path, "w");
    must(f != NULL);
    return f;
}

/* The address and port of the nth engine: 127.1.0.1 and up, 250 to a third byte. */
static const char *
engine_at(uint32_t nth)
{
    static char text[48];

    snprintf(text, sizeof(text), "127.1.%u.%u:%u", nth / 250, nth % 250 + 1, SUBJECT_ENGINE_PORT);
    return text;
}

static void
started(struct subject *s, const char *const argv[], const char *directory, int core)
{
    char log[PATH_BYTES];

    snprintf(log, sizeof(log), "%s/%s.log", directory, s->name);
    s->pid = child_exec(argv, core, log);
    child_wait_listening(s->pid, s->port, log);
}

static void
write_keys(const char *directory)
{
    struct key_entry entry = {.name = SPAN_LIT("bench"),
                              .priority = PRIORITY_NORMAL,
                              .best = PRIORITY_NORMAL,
                              .preferences = KEY_PREFERENCES_ALL};
    char path[PATH_BYTES];
    struct arena arena;
    struct span line;
    FILE *f = created(directory, "keys.yaml", path);

    arena_init(&arena, ARENA_BYTES);
    keys_sha256(span_of(SUBJECT_API_KEY), entry.sha256);
    must(keys_line(&entry, &arena, &line) == ERR_OK);
    fprintf(f, "keys:\n%.*s", (int)line.bytes, line.data);
    arena_fini(&arena);
    must(fclose(f) == 0);
}

/* Until requests pass: the engines have been asked for their models. */
static void
wait_ready(const struct subject *s)
{
    struct load_plan plan = {.port = s->port, .api_key = SUBJECT_API_KEY, .body_bytes = 2048};
    struct timespec pause = {.tv_nsec = POLL_MS * 1000000};
    unsigned status = 0;

    for (int waited_ms = 0; waited_ms < READY_MS; waited_ms += POLL_MS) {
        status = load_once(&plan);
        if (status == 200)
            return;
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "bench: %s does not answer with 200 but with %u\n", s->name, status);
    exit(1);
}

void
subject_open_gateway(const char *program, const char *directory, uint32_t engines, int core,
                     struct subject *ret_subject)
{
    char path[PATH_BYTES];
    FILE *f;

    must(engines <= SUBJECT_ENGINES_MAX);
    write_keys(directory);
    f = created(directory, "gateway.yaml", path);
    fprintf(f,
            "listen: {public: \"127.0.0.1:%u\", admin: \"127.0.0.1:%u\"}\nthreads: 1\n"
            "keys: file:%s/keys.yaml\n"
            "limits: {connections_per_address_max: 65536, buffers_bytes_max: %uMiB, "
            "buffers_bytes_per_key_max: %uMiB}\nengines:\n",
            GATEWAY_PORT, GATEWAY_PORT + 1, directory, SUBJECT_BUFFERS_MIB, SUBJECT_BUFFERS_MIB);
    for (uint32_t i = 0; i < engines; i++)
        fprintf(f, "  - {name: e%u, url: \"http://%s\", kind: openai, slots: 64}\n", i,
                engine_at(i));
    must(fclose(f) == 0);
    *ret_subject = (struct subject){.name = "isochrone", .port = GATEWAY_PORT};
    started(ret_subject, (const char *const[]){program, "gateway", "-f", path, NULL}, directory,
            core);
    wait_ready(ret_subject);
}

void
subject_open_haproxy(const char *directory, uint32_t engines, int core, struct subject *ret_subject)
{
    char path[PATH_BYTES];
    FILE *f = created(directory, "haproxy.cfg", path);

    fprintf(f,
            "global\n    nbthread 1\n    maxconn 8192\n"
            "defaults\n    mode http\n    option http-keep-alive\n    http-reuse always\n"
            "    timeout connect 2s\n    timeout client 60s\n    timeout server 120s\n"
            "frontend front\n    bind 127.0.0.1:%u\n    default_backend engines\n"
            "backend engines\n    balance leastconn\n",
            HAPROXY_PORT);
    for (uint32_t i = 0; i < engines; i++)
        fprintf(f, "    server e%u %s\n", i, engine_at(i));
    must(fclose(f) == 0);
    *ret_subject = (struct subject){.name = "haproxy", .port = HAPROXY_PORT};
    started(ret_subject, (const char *const[]){"haproxy", "-db", "-f", path, NULL}, directory,
            core);
    wait_ready(ret_subject);
}

void
subject_open_nginx(const char *directory, uint32_t engines, int core, struct subject *ret_subject)
{
    char path[PATH_BYTES];
    FILE *f = created(directory, "nginx.conf", path);

    fprintf(f,
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid %s/nginx.pid;\n"
            "error_log stderr error;\n"
            "events {\n    worker_connections 8192;\n    multi_accept on;\n}\n"
            "http {\n    access_log off;\n    keepalive_requests 1000000000;\n"
            "    client_body_buffer_size 1m;\n    client_max_body_size 64m;\n"
            "    client_body_temp_path %s/body;\n    proxy_temp_path %s/proxy;\n"
            "    fastcgi_temp_path %s/fastcgi;\n    uwsgi_temp_path %s/uwsgi;\n"
            "    scgi_temp_path %s/scgi;\n"
            "    upstream engines {\n        least_conn;\n        keepalive 64;\n"
            "        keepalive_requests 1000000000;\n",
            directory, directory, directory, directory, directory, directory);
    for (uint32_t i = 0; i < engines; i++)
        fprintf(f, "        server %s;\n", engine_at(i));
    fprintf(f,
            "    }\n    server {\n        listen 127.0.0.1:%u;\n        location / {\n"
            "            proxy_pass http://engines;\n            proxy_http_version 1.1;\n"
            "            proxy_set_header Connection \"\";\n        }\n    }\n}\n",
            NGINX_PORT);
    must(fclose(f) == 0);
    *ret_subject = (struct subject){.name = "nginx", .port = NGINX_PORT};
    started(ret_subject, (const char *const[]){"nginx", "-p", directory, "-c", path, NULL},
            directory, core);
    wait_ready(ret_subject);
}

void
subject_close(struct subject *subject)
{
    child_stop(subject->pid);
}
