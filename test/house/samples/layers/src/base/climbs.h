/* A ground layer that needs one above, and a name without a layer. */
#include "core/core.h"
#include "near.h"
