/* rtt_table - well-known regions by their place on the globe, for networks that nobody measured:
 * light in fibre over the great circle is wrong by some tens of milliseconds, and right about who
 * is near whom, which is what a first guess is for. Measured round trips replace it at the first
 * contact. */
#include <math.h>

#include "wire/rtt.h"

#define EARTH_RADIUS_KM  6371.0
#define FIBRE_KM_PER_MS  200.0 /* two thirds of the speed of light */
#define DETOUR           1.5   /* cables do not follow great circles */
#define EQUIPMENT_MS     2.0
#define INSIDE_REGION_MS 1.0
#define RADIANS_PER_DEG  0.017453292519943295

static const struct rtt_place places[] = {
    {"us-east", 39.04, -77.49},       /* Ashburn */
    {"us-southeast", 33.75, -84.39},  /* Atlanta */
    {"us-central", 41.26, -95.86},    /* Council Bluffs */
    {"us-south", 32.78, -96.80},      /* Dallas */
    {"us-west", 37.34, -121.89},      /* San Jose */
    {"us-northwest", 45.60, -121.18}, /* The Dalles */
    {"ca-east", 45.50, -73.57},       /* Montreal */
    {"ca-west", 51.05, -114.07},      /* Calgary */
    {"mx-central", 20.59, -100.39},   /* Queretaro */
    {"sa-north", 4.71, -74.07},       /* Bogota */
    {"sa-east", -23.55, -46.63},      /* Sao Paulo */
    {"sa-west", -33.45, -70.67},      /* Santiago */
    {"eu-west", 53.35, -6.26},        /* Dublin */
    {"uk-south", 51.51, -0.13},       /* London */
    {"eu-northwest", 52.37, 4.90},    /* Amsterdam */
    {"eu-central", 50.11, 8.68},      /* Frankfurt */
    {"eu-north", 59.33, 18.07},       /* Stockholm */
    {"eu-east", 52.23, 21.01},        /* Warsaw */
    {"eu-south", 45.46, 9.19},        /* Milan */
    {"eu-southwest", 40.42, -3.70},   /* Madrid */
    {"il-central", 32.09, 34.78},     /* Tel Aviv */
    {"me-south", 26.07, 50.56},       /* Bahrain */
    {"me-central", 25.20, 55.27},     /* Dubai */
    {"af-south", -33.92, 18.42},      /* Cape Town */
    {"af-west", 6.52, 3.38},          /* Lagos */
    {"af-east", -1.29, 36.82},        /* Nairobi */
    {"ap-south", 19.08, 72.88},       /* Mumbai */
    {"ap-southeast", 1.35, 103.82},   /* Singapore */
    {"ap-east", 22.32, 114.17},       /* Hong Kong */
    {"ap-northeast", 35.68, 139.69},  /* Tokyo */
    {"kr-central", 37.57, 126.98},    /* Seoul */
    {"cn-east", 31.23, 121.47},       /* Shanghai */
    {"cn-north", 39.90, 116.41},      /* Beijing */
    {"au-east", -33.87, 151.21},      /* Sydney */
    {"au-southeast", -37.81, 144.96}, /* Melbourne */
    {"nz-north", -36.85, 174.76},     /* Auckland */
};
#define PLACE_COUNT (sizeof(places) / sizeof(places[0]))

const struct rtt_place *
rtt_place_at(size_t index)
{
    return index < PLACE_COUNT ? &places[index] : NULL;
}

/* Haversine: exact enough for near and far points alike. */
static double
distance_km(const struct rtt_place *a, const struct rtt_place *b)
{
    double north = (b->latitude_deg - a->latitude_deg) * RADIANS_PER_DEG;
    double east = (b->longitude_deg - a->longitude_deg) * RADIANS_PER_DEG;
    double h = sin(north / 2.0) * sin(north / 2.0) + cos(a->latitude_deg * RADIANS_PER_DEG) *
                                                         cos(b->latitude_deg * RADIANS_PER_DEG) *
                                                         sin(east / 2.0) * sin(east / 2.0);

    return 2.0 * EARTH_RADIUS_KM * asin(sqrt(fmin(h, 1.0)));
}

float
rtt_great_circle_ms(const struct rtt_place *from, const struct rtt_place *to)
{
    double ms = 2.0 * DETOUR * distance_km(from, to) / FIBRE_KM_PER_MS + EQUIPMENT_MS;

    return from == to ? (float)INSIDE_REGION_MS : (float)fmax(ms, INSIDE_REGION_MS);
}

enum err
rtt_builtin(struct arena *arena, struct rtt_matrix *ret_matrix)
{
    struct span *names = arena_take(arena, PLACE_COUNT * sizeof(names[0]));
    float *ms = arena_take(arena, PLACE_COUNT * PLACE_COUNT * sizeof(ms[0]));

    if (names == NULL || ms == NULL)
        return ERR_FULL;
    for (size_t from = 0; from < PLACE_COUNT; from++) {
        names[from] = span_of(places[from].name);
        for (size_t to = 0; to < PLACE_COUNT; to++)
            ms[from * PLACE_COUNT + to] = rtt_great_circle_ms(&places[from], &places[to]);
    }
    *ret_matrix = (struct rtt_matrix){names, PLACE_COUNT, ms};
    return ERR_OK;
}
