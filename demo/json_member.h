#ifndef DEMO_JSON_MEMBER_H
#define DEMO_JSON_MEMBER_H
/* json_member - members of an object that others wrote, whatever they are. */
#include <cjson/cJSON.h>
#include <math.h>

/* NAN: there is no such number. */
static inline double
member_number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

/* Empty: there is no such text. */
static inline const char *
member_text(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

    return text != NULL ? text : "";
}
#endif
