#ifndef SLOPPY
#define SLOPPY
/* A header whose guard is short and whose fields count nobody knows what. */
struct sloppy {
    unsigned timeout;
};
#endif