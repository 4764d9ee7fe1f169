#include "pyverify.h"
