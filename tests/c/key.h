/* The key under which the tests let equal work be found: any number but 0. */
#ifndef PV_KEY_H
#define PV_KEY_H

#define KEY 0x5EEDF00DCAFED00Dull

#endif
