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

#define FIRST_PORT  4301u
#define PATH_BYTES  256u
#define READY_MS    60000
#define POLL_MS     100
#define ARENA_BYTES 4096u

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

/* A port that nobody had before. */
static uint16_t
next_port(void)
{
    static uint16_t port = FIRST_PORT;

    return port++;
}

static void
started(struct subject *s, const char *const argv[], const char *directory,
        const struct subject_options *o)
{
    char log[PATH_BYTES];

    snprintf(log, sizeof(log), "%s/%s-%u.log", directory, s->name, s->port);
    s->tls = o->tls;
    s->pid = child_exec_wide(argv, 0, o->threads > 0 ? (int)o->threads : 1, log);
    child_wait_listening(s->pid, s->port, log);
}

/* A certificate of P-256 for loopback, key and certificate also in one file, as haproxy wants it.
 */
static void
write_certificate(const char *directory)
{
    char command[4 * PATH_BYTES];

    snprintf(command, sizeof(command),
             "test -f %s/tls.pem || { openssl req -x509 -newkey ec -pkeyopt "
             "ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost -addext "
             "subjectAltName=IP:127.0.0.1 -keyout %s/tls.key -out %s/tls.crt 2>/dev/null && "
             "cat %s/tls.crt %s/tls.key > %s/tls.pem; }",
             directory, directory, directory, directory, directory, directory);
    must(system(command) == 0);
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
    struct load_plan plan = {
        .port = s->port, .tls = s->tls, .api_key = SUBJECT_API_KEY, .body_bytes = 2048};
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

static void
put_gateway(FILE *f, const char *directory, const struct subject_options *o, uint16_t port)
{
    fprintf(f, "listen: {public: \"127.0.0.1:%u\", admin: \"127.0.0.1:%u\"", port, next_port());
    if (o->tls)
        fprintf(f, ", tls: {cert: \"file:%s/tls.crt\", key: \"file:%s/tls.key\"}", directory,
                directory);
    fprintf(f,
            "}\nthreads: %u\nkeys: file:%s/keys.yaml\n"
            "limits: {connections_per_address_max: 65536, buffers_bytes_max: %uMiB, "
            "buffers_bytes_per_key_max: %uMiB}\nengines:\n",
            o->threads > 0 ? o->threads : 1, directory, SUBJECT_BUFFERS_MIB, SUBJECT_BUFFERS_MIB);
    for (uint32_t i = 0; i < o->engines; i++)
        fprintf(f, "  - {name: e%u, url: \"http://%s\", kind: openai, slots: 64}\n", i,
                engine_at(i));
    must(fclose(f) == 0);
}

void
subject_open_gateway(const char *program, const char *directory, const struct subject_options *o,
                     struct subject *ret_subject)
{
    struct subject s = {.name = "isochrone", .port = next_port()};
    char name[64], path[PATH_BYTES];

    must(o->engines <= SUBJECT_ENGINES_MAX);
    write_keys(directory);
    write_certificate(directory);
    snprintf(name, sizeof(name), "gateway-%u.yaml", s.port);
    put_gateway(created(directory, name, path), directory, o, s.port);
    started(&s, (const char *const[]){program, "gateway", "-f", path, NULL}, directory, o);
    wait_ready(&s);
    *ret_subject = s;
}

void
subject_open_haproxy(const char *directory, const struct subject_options *o,
                     struct subject *ret_subject)
{
    struct subject s = {.name = "haproxy", .port = next_port()};
    char name[64], path[PATH_BYTES];
    FILE *f;

    write_certificate(directory);
    snprintf(name, sizeof(name), "haproxy-%u.cfg", s.port);
    f = created(directory, name, path);
    fprintf(f,
            "global\n    nbthread %u\n    maxconn 8192\n    ssl-default-bind-options "
            "ssl-min-ver TLSv1.2\n"
            "defaults\n    mode http\n    option http-keep-alive\n    http-reuse always\n%s"
            "    timeout connect 2s\n    timeout client 60s\n    timeout server 120s\n"
            "frontend front\n    bind 127.0.0.1:%u",
            o->threads > 0 ? o->threads : 1, o->streams ? "    option http-no-delay\n" : "",
            s.port);
    if (o->tls)
        fprintf(f, " ssl crt %s/tls.pem alpn h2,http/1.1", directory);
    fprintf(f, "\n    default_backend engines\nbackend engines\n    balance leastconn\n");
    for (uint32_t i = 0; i < o->engines; i++)
        fprintf(f, "    server e%u %s\n", i, engine_at(i));
    must(fclose(f) == 0);
    started(&s, (const char *const[]){"haproxy", "-db", "-f", path, NULL}, directory, o);
    wait_ready(&s);
    *ret_subject = s;
}

static void
put_nginx(FILE *f, const char *directory, const struct subject_options *o, uint16_t port)
{
    fprintf(f,
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid %s/nginx-%u.pid;\n"
            "error_log stderr error;\n"
            "events {\n    worker_connections 8192;\n    multi_accept on;\n}\n"
            "http {\n    access_log off;\n    keepalive_requests 1000000000;\n"
            "    client_body_buffer_size 1m;\n    client_max_body_size 64m;\n"
            "    client_body_temp_path %s/body;\n    proxy_temp_path %s/proxy;\n"
            "    fastcgi_temp_path %s/fastcgi;\n    uwsgi_temp_path %s/uwsgi;\n"
            "    scgi_temp_path %s/scgi;\n"
            "    upstream engines {\n        least_conn;\n        keepalive 64;\n"
            "        keepalive_requests 1000000000;\n",
            directory, port, directory, directory, directory, directory, directory);
    for (uint32_t i = 0; i < o->engines; i++)
        fprintf(f, "        server %s;\n", engine_at(i));
    fprintf(f, "    }\n    server {\n        listen 127.0.0.1:%u%s;\n", port,
            o->tls ? " ssl http2" : "");
    if (o->tls)
        fprintf(f,
                "        ssl_certificate %s/tls.crt;\n        ssl_certificate_key %s/tls.key;\n"
                "        ssl_protocols TLSv1.2 TLSv1.3;\n",
                directory, directory);
    fprintf(f,
            "%s        location / {\n            proxy_pass http://engines;\n"
            "            proxy_http_version 1.1;\n"
            "            proxy_set_header Connection \"\";\n        }\n    }\n}\n",
            o->streams ? "        proxy_buffering off;\n" : "");
    must(fclose(f) == 0);
}

void
subject_open_nginx(const char *directory, const struct subject_options *o,
                   struct subject *ret_subject)
{
    struct subject s = {.name = "nginx", .port = next_port()};
    char name[64], path[PATH_BYTES];

    write_certificate(directory);
    snprintf(name, sizeof(name), "nginx-%u.conf", s.port);
    put_nginx(created(directory, name, path), directory, o, s.port);
    started(&s, (const char *const[]){"nginx", "-p", directory, "-c", path, NULL}, directory, o);
    wait_ready(&s);
    *ret_subject = s;
}

void
subject_close(struct subject *subject)
{
    child_stop(subject->pid);
}
