/* The rounds that SHA-256 and SHA-512 share (FIPS 180-4, 6.2.2 and 6.4.2), in the operations of a vec*.h. Whoever
 * includes this has BIG0, BIG1, SMALL0 and SMALL1, and k and kw pointing at the constants of sixteen rounds. */

#define ROUND(a, b, c, d, e, f, g, h, kw)                 \
  do {                                                    \
    VEC t1 = ADD(ADD(h, kw), ADD(BIG1(e), CH(e, f, g)));  \
    d = ADD(d, t1);                                       \
    h = ADD(t1, ADD(BIG0(a), MAJ(a, b, c)));              \
  } while (0)
#define SIXTEEN_ROUNDS(kw)                  \
  do {                                      \
    ROUND(a, b, c, d, e, f, g, h, kw(0));   \
    ROUND(h, a, b, c, d, e, f, g, kw(1));   \
    ROUND(g, h, a, b, c, d, e, f, kw(2));   \
    ROUND(f, g, h, a, b, c, d, e, kw(3));   \
    ROUND(e, f, g, h, a, b, c, d, kw(4));   \
    ROUND(d, e, f, g, h, a, b, c, kw(5));   \
    ROUND(c, d, e, f, g, h, a, b, kw(6));   \
    ROUND(b, c, d, e, f, g, h, a, kw(7));   \
    ROUND(a, b, c, d, e, f, g, h, kw(8));   \
    ROUND(h, a, b, c, d, e, f, g, kw(9));   \
    ROUND(g, h, a, b, c, d, e, f, kw(10));  \
    ROUND(f, g, h, a, b, c, d, e, kw(11));  \
    ROUND(e, f, g, h, a, b, c, d, kw(12));  \
    ROUND(d, e, f, g, h, a, b, c, kw(13));  \
    ROUND(c, d, e, f, g, h, a, b, kw(14));  \
    ROUND(b, c, d, e, f, g, h, a, kw(15));  \
  } while (0)
#define FIRST(t) ADD(w[t], SET1(k[t]))
#define LATER(t)                                                      \
  ADD(w[t] = ADD(ADD(w[t], SMALL0(w[((t) + 1) & 15])),                \
                 ADD(w[((t) + 9) & 15], SMALL1(w[((t) + 14) & 15]))), \
      SET1(k[t]))
#define PADDING(t) SET1(kw[t])
#define ENTER(v) VEC a = v[0], b = v[1], c = v[2], d = v[3], e = v[4], f = v[5], g = v[6], h = v[7]
#define FEED_FORWARD(v)                                                                      \
  (v[0] = ADD(v[0], a), v[1] = ADD(v[1], b), v[2] = ADD(v[2], c), v[3] = ADD(v[3], d),      \
   v[4] = ADD(v[4], e), v[5] = ADD(v[5], f), v[6] = ADD(v[6], g), v[7] = ADD(v[7], h))
