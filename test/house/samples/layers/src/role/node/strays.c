/* A sample: a role that looks into another. */
#include "role/gateway/gateway.h"
