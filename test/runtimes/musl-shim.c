/*
 * Debian's libstdc++ and libgcc are made for glibc, and ask for these functions of it that musl does not have. With
 * them a program for musl runs on Debian, well enough to be tested: `npm run test:runtimes`. Stands for
 * ld-linux-x86-64.so.2, which both libraries want loaded. No header is used, so that no package of them is needed.
 */

typedef unsigned long size_t;

extern long syscall(long number, ...);
extern size_t strftime_l(char *text, size_t size, const char *format, const void *time, void *locale);

#define SYS_GETRANDOM 318

unsigned arc4random(void) {
  unsigned value = 0;
  syscall(SYS_GETRANDOM, &value, sizeof value, 0);
  return value;
}

size_t __strftime_l(char *text, size_t size, const char *format, const void *time, void *locale) {
  return strftime_l(text, size, format, time, locale);
}

/* Objects of a thread are not destroyed at its end, which loses a little memory for each. */
int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *library) {
  (void)destroy, (void)object, (void)library;
  return 0;
}

/* "There may be threads", which is always safe. */
char __libc_single_threaded = 0;

/* "Not found": libgcc then looks for the tables of exceptions in the way that musl has too. */
int _dl_find_object(void *address, void *result) {
  (void)address, (void)result;
  return -1;
}

/* libgcc has them itself, as symbols of an old version; musl knows no versions and passes those over. */
struct { unsigned vendor, type, subtype, features; } __cpu_model;
int __cpu_indicator_init(void) { return 0; }
