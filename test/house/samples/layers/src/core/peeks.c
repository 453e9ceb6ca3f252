/* A core that looks at the engine's model of the world. */
#include "core/missing.h"
#include "engine/engine.h"
