/* The public header of the core for C: api.h with what a C compiler needs around it. */
#ifndef PYVERIFY_H
#define PYVERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "api.h"

#endif
